"""sherpa-onnx as a recogniser: its files, its words, and whole utterances of a model of tones."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal

import numpy as np
import pytest

from engines.tone_transducer import HIGH_HZ, LOW_HZ, silence, tone, write_transducer
from engines.worker_kit import children
from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import SttEngine
from voicecore.engines.stt.sherpa import SherpaStt
from voicecore.engines.stt.sherpa_files import find_files
from voicecore.engines.stt.sherpa_worker import TOKEN_MS, words_of
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

EPOCH = "epoch-99-avg-1"


@pytest.fixture
def package():
    return pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed")


def folder(tmp_path, *names):
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


def chosen(found):
    return {part: path.rpartition("/")[2] for part, path in found.arguments.items()}


def test_a_transducer_is_known_by_its_joiner_and_taken_quantised_but_for_its_decoder(tmp_path):
    parts = [
        f"{p}-{EPOCH}{q}.onnx" for p in ("encoder", "decoder", "joiner") for q in ("", ".int8")
    ]
    found = find_files(folder(tmp_path, "tokens.txt", "README.md", *parts), "auto")
    assert found.family == "transducer"
    assert chosen(found) == {
        "tokens": "tokens.txt",
        "encoder": f"encoder-{EPOCH}.int8.onnx",
        "decoder": f"decoder-{EPOCH}.onnx",
        "joiner": f"joiner-{EPOCH}.int8.onnx",
    }


def test_what_there_is_in_one_precision_is_taken_in_that(tmp_path):
    names = ("tokens.txt", "encoder.onnx", "decoder.int8.onnx", "joiner.onnx")
    found = find_files(folder(tmp_path, *names), "auto")
    assert chosen(found)["encoder"] == "encoder.onnx"
    assert chosen(found)["decoder"] == "decoder.int8.onnx"


def test_other_families(tmp_path):
    found = find_files(folder(tmp_path, "tokens.txt", "encoder.onnx", "decoder.onnx"), "auto")
    assert found.family == "paraformer"
    assert set(found.arguments) == {"tokens", "encoder", "decoder"}


def test_a_ctc_model_wants_to_be_called_by_its_kind(tmp_path):
    folder(tmp_path, "tokens.txt", "model.onnx", "model.int8.onnx")
    with pytest.raises(MisuseError, match=r"sherpa\.family.*zipformer2_ctc"):
        find_files(tmp_path, "auto")
    found = find_files(tmp_path, "nemo_ctc")
    assert (found.family, chosen(found)["model"]) == ("nemo_ctc", "model.int8.onnx")


@pytest.mark.parametrize(
    ("names", "family", "error", "told"),
    [
        ((), "auto", MissingLibraryError, "lacks tokens.txt"),
        (("tokens.txt",), "auto", MissingLibraryError, "lacks any .onnx"),
        (("tokens.txt", "encoder.onnx"), "transducer", MissingLibraryError, "lacks decoder"),
        (
            ("tokens.txt", "encoder-a.onnx", "encoder-b.onnx", "decoder.onnx", "joiner.onnx"),
            "auto",
            MisuseError,
            "encoder-a.onnx, encoder-b.onnx; keep one",
        ),
        ((), "whisper", MisuseError, "must be one of auto, transducer"),
    ],
)
def test_what_is_wrong_with_a_directory_is_said(tmp_path, names, family, error, told):
    with pytest.raises(error, match=told) as caught:
        find_files(folder(tmp_path, *names), family)
    assert "sherpa." in str(caught.value)


def test_what_is_missing_can_be_asked_before(tmp_path):
    assert "isn't there" in SherpaStt.missing(model=tmp_path / "nowhere")[0]
    assert SherpaStt.missing(model=write_transducer(tmp_path / "tones"), threads=2) == []


async def test_a_directory_that_is_not_there_is_refused_at_start(tmp_path):
    with pytest.raises(MissingLibraryError, match=r"sherpa\.model.*tokens\.txt"):
        await SherpaStt(model=tmp_path / "nowhere").start()
    assert children() == []


async def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    blocker = tmp_path / "path"
    blocker.mkdir()
    (blocker / "sherpa_onnx.py").write_text("raise ImportError('no such package')")
    monkeypatch.setenv("PYTHONPATH", str(blocker))
    model = folder(tmp_path, "tokens.txt", "encoder.onnx", "decoder.onnx", "joiner.onnx")
    with pytest.raises(MissingLibraryError, match=r'pip install "voicecore\[sherpa\]"'):
        await SherpaStt(model=model).start()


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"nice": 20}, {"workers": 0}, {"streams": 65}])
def test_bad_arguments_are_refused(tmp_path, wrong):
    with pytest.raises(MisuseError):
        SherpaStt(model=tmp_path, **wrong)


def test_words_are_put_together_from_tokens():
    tokens = [" THE", " WEA", "THER", "▁TODAY"]
    words = list(words_of(tokens, [0.2, 0.4, 0.56, 0.64], [-0.1, -0.2, -0.4, 0.0], 2000))
    assert words == [
        SpokenWord("THE", 200, 200 + TOKEN_MS, 0.905),
        SpokenWord("WEATHER", 400, 640, 0.741),
        SpokenWord("TODAY", 640, 640 + TOKEN_MS, 1.0),
    ]


def test_words_of_other_alphabets_and_of_single_letters():
    assert [w.text for w in words_of(["你", "好", " OK"], [0, 0.1, 0.2], [], 900)] == [
        "你",
        "好",
        "OK",
    ]
    letters = list(words_of(["д", "а", " ", "н", "у"], [0.1, 0.2, 0.3, 0.4, 0.5], [], 550))
    assert [(w.text, w.start_ms, w.end_ms) for w in letters] == [
        ("да", 100, 300),
        ("ну", 400, 550),
    ]


def test_tokens_without_times_make_no_words():
    assert list(words_of([" a", " b"], [], [], 1000)) == []
    assert list(words_of([], [], [], 0)) == []


def test_no_word_outlasts_what_was_said():
    (word,) = words_of([" late"], [1.4], [], 1000)
    assert (word.start_ms, word.end_ms) == (1000, 1000)


def test_the_package_has_what_is_called(package):
    online = package.OnlineRecognizer
    for family, wanted in {
        "transducer": {"tokens", "encoder", "decoder", "joiner"},
        "paraformer": {"tokens", "encoder", "decoder"},
        "zipformer2_ctc": {"tokens", "model"},
        "nemo_ctc": {"tokens", "model"},
        "wenet_ctc": {"tokens", "model"},
    }.items():
        parameters = inspect.signature(getattr(online, f"from_{family}")).parameters
        assert wanted | {"num_threads", "provider"} <= set(parameters), family
    for method in ("create_stream", "is_ready", "decode_stream", "get_result_all"):
        assert callable(getattr(online, method))


async def recognise(engine, pcm, chunk=800):
    partials = []
    stream = await engine.open(partials.append)
    for start in range(0, len(pcm), chunk):
        stream.push(pcm[start : start + chunk])
    return await stream.finish(), partials


async def test_tones_are_heard_as_words_at_their_times(package, tmp_path):
    engine = SherpaStt(model=write_transducer(tmp_path))
    assert isinstance(engine, SttEngine)
    await engine.start()
    said = [silence(300), tone(LOW_HZ, 400), silence(300), tone(HIGH_HZ, 400), silence(200)]
    pcm = np.concatenate(said)
    text, partials = await recognise(engine, pcm)
    whole, _ = await recognise(engine, pcm, len(pcm))
    assert isinstance(text, Transcript)
    assert (text, whole) == ("lower high", text)
    assert partials[0] in ("low", "lower")  # 200 ms apart on the clock, and all was said at once
    assert [word.text for word in text.words] == ["lower", "high"]
    assert abs(text.words[0].start_ms - 300) <= 80
    assert abs(text.words[1].start_ms - 1000) <= 80
    assert text.words == whole.words
    assert await recognise(engine, pcm[:0]) == ("", [])
    await engine.close()
    assert children() == []


async def test_utterances_side_by_side_share_a_worker_and_nothing_else(package, tmp_path):
    engine = SherpaStt(model=write_transducer(tmp_path), workers=1, streams=3)
    await engine.start()
    partials = []
    low, high, given_up = [await engine.open(take) for take in (str, str, partials.append)]
    for _ in range(10):
        low.push(tone(LOW_HZ, 50))
        high.push(tone(HIGH_HZ, 50))
    given_up.push(tone(LOW_HZ, 50))
    await given_up.cancel()
    assert await asyncio.gather(low.finish(), high.finish()) == ["lower", "high"]
    assert partials == []
    await engine.close()


async def test_a_killed_worker_costs_its_utterances(package, tmp_path):
    engine = SherpaStt(model=write_transducer(tmp_path))
    await engine.start()
    stream = await engine.open(str)
    os.kill(engine.pool.workers[0].pid, signal.SIGKILL)
    with pytest.raises(EngineError) as caught:
        await stream.finish()
    assert caught.value.code == "worker_lost"
    await engine.close()


@pytest.mark.parametrize("spoilt", [b"not a network", None], ids=["no network", "another kind"])
async def test_a_model_that_does_not_load_is_an_engine_error(package, tmp_path, spoilt):
    directory = write_transducer(tmp_path)
    # A joiner has none of an encoder's metadata.
    other = (directory / "joiner-tones.onnx").read_bytes()
    (directory / "encoder-tones.onnx").write_bytes(other if spoilt is None else spoilt)
    with pytest.raises(EngineError, match=r"sherpa\.model.* transducer") as caught:
        await SherpaStt(model=directory).start()
    assert caught.value.code == "stt_bad_model"
    assert children() == []
