"""piper as a voice: its files, the network's second output, and real speech where a voice is."""

from __future__ import annotations

import inspect
import json
import os
import signal

import numpy as np
import pytest

from engines import onnx_bytes as b
from engines.local_voices import piper_voice
from engines.worker_kit import children
from voicecore.engines.protocols import TtsEngine
from voicecore.engines.tts.piper import PiperTts
from voicecore.engines.tts.piper_voice import Voice, read_voice
from voicecore.engines.tts.piper_worker import with_durations
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

PLAIN = {"audio": {"sample_rate": 16_000}, "num_speakers": 1, "phoneme_type": "espeak"}
MANY = {**PLAIN, "num_speakers": 3, "speaker_id_map": {"ann": 0, "bob": 2}}


@pytest.fixture
def package():
    return pytest.importorskip("piper", reason="piper-tts is not installed")


def write_voice(tmp_path, config):
    model = tmp_path / "voice.onnx"
    model.write_bytes(b"")
    (tmp_path / "voice.onnx.json").write_text(
        config if isinstance(config, str) else json.dumps(config)
    )
    return model


def test_a_voice_tells_its_rate_and_speakers(tmp_path):
    assert read_voice(write_voice(tmp_path, PLAIN), "") == Voice(16_000, None)
    model = write_voice(tmp_path, MANY)
    assert PiperTts.missing(model=model, speaker="bob", speed=2.0) == []
    assert "one of: ann, bob" in PiperTts.missing(model=model, speaker="eve")[0]
    assert [read_voice(model, wanted).speaker for wanted in ("", "bob", "1")] == [0, 2, 1]


@pytest.mark.parametrize(
    ("config", "speaker", "told"),
    [
        (MANY, "eve", "0..2 or one of: ann, bob"),
        (MANY, "3", "0..2"),
        ("not json", "", "describes no voice"),
        ("[]", "", "describes no voice"),
        ({}, "", "describes no voice"),
        ({**PLAIN, "audio": {"sample_rate": 96_000}}, "", "96000 Hz"),
        ({**PLAIN, "phoneme_type": "pinyin"}, "", "downloads"),
    ],
)
async def test_what_is_no_voice_is_refused_at_start(tmp_path, config, speaker, told):
    with pytest.raises(MisuseError, match=told) as caught:
        await PiperTts(model=write_voice(tmp_path, config), speaker=speaker).start()
    assert "piper." in str(caught.value)
    assert children() == []


@pytest.mark.parametrize("missing", ["voice.onnx", "voice.onnx.json"])
async def test_a_missing_file_is_named(tmp_path, missing):
    model = write_voice(tmp_path, PLAIN)
    (tmp_path / missing).unlink()
    with pytest.raises(MissingLibraryError, match=rf"piper\.model.*{missing} isn't there"):
        await PiperTts(model=model).start()


async def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    blocker = tmp_path / "path"
    blocker.mkdir()
    (blocker / "piper.py").write_text("raise ImportError('no such package')")
    monkeypatch.setenv("PYTHONPATH", str(blocker))
    with pytest.raises(MissingLibraryError, match=r'pip install "voicecore\[piper\]"'):
        await PiperTts(model=write_voice(tmp_path, PLAIN)).start()


@pytest.mark.parametrize("wrong", [{"speed": 5}, {"threads": 0}, {"nice": 20}, {"timeout_s": 0}])
def test_bad_arguments_are_refused(tmp_path, wrong):
    with pytest.raises(MisuseError):
        PiperTts(model=tmp_path / "voice.onnx", **wrong)


def network(*ceils):
    nodes = [b.node("Ceil", ["x"], [name]) for name in ceils] + [b.node("Neg", ["x"], ["out"])]
    graph = b.graph(nodes, [], [b.value("x", 1, [3])]) + b.part(2, "g")
    graph += b.part(12, b.value("out", 1, [3]))
    return b.model(graph) + b.part(8, b.part(1, "") + b.number(2, 13))


@pytest.mark.parametrize("model", [network(), network("one", "two"), b"no network", b""])
def test_a_network_of_another_kind_is_left_as_it_is(model):
    assert with_durations(model) == model


def test_the_runtime_takes_the_network_with_one_output_more():
    onnxruntime = pytest.importorskip("onnxruntime")
    name = "frames_of_a_phoneme/with_a_rather_long_name" * 4
    told = with_durations(network(name))
    assert with_durations(told) == told
    session = onnxruntime.InferenceSession(told, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["out", name]
    audio, lengths = session.run(None, {"x": np.array([0.5, 1.0, -2.5], np.float32)})
    assert audio.tolist() == [-0.5, -1.0, 2.5]
    assert lengths.tolist() == [1.0, 1.0, -2.0]


def test_the_package_has_what_is_called(package):
    from piper.config import PiperConfig
    from piper.voice import AudioChunk, PhonemeAlignment

    asked = inspect.signature(package.PiperVoice.synthesize).parameters
    assert list(asked)[1:3] == ["text", "syn_config"]
    assert "include_alignments" in asked
    assert {"session", "config"} <= set(inspect.signature(package.PiperVoice).parameters)
    assert {"speaker_id", "length_scale"} <= set(
        inspect.signature(package.SynthesisConfig).parameters
    )
    assert callable(PiperConfig.from_dict)
    assert "length_scale" in PiperConfig.__dataclass_fields__
    assert {"phonemes", "phoneme_alignments"} <= set(AudioChunk.__dataclass_fields__)
    assert isinstance(AudioChunk.audio_int16_array, property)
    assert {"phoneme", "num_samples"} <= set(PhonemeAlignment.__dataclass_fields__)


async def speak(engine, text):
    chunks = [chunk async for chunk in engine.speak(text)]
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    return pcm, [mark for chunk in chunks for mark in chunk.words]


async def test_a_voice_speaks_with_a_mark_for_each_word(package):
    engine = PiperTts(model=piper_voice())
    assert isinstance(engine, TtsEngine)
    await engine.start()
    text = "The end of the day is at 42 Main Street. Isn't it?"
    pcm, marks = await speak(engine, text)
    assert [text[m.char_start : m.char_end] for m in marks] == text.split()
    assert 1.5 < len(pcm) / engine.rate_hz < 6.0
    position = -1
    for mark in marks:
        assert position < mark.sample < mark.end <= len(pcm)
        position = mark.sample
        level = np.abs(pcm[mark.sample : mark.end].astype(int)).max()
        assert level > 500, text[mark.char_start : mark.char_end]
    assert [chunk async for chunk in engine.speak(" ... ")] == []
    await engine.close()
    assert children() == []


async def test_speed_shortens_and_phonemes_in_brackets_are_not_taken(package):
    text = "This is a sentence of some length."
    seconds = []
    for speed in (1.0, 2.0):
        engine = PiperTts(model=piper_voice(), speed=speed)
        await engine.start()
        pcm, _ = await speak(engine, text)
        seconds.append(len(pcm) / engine.rate_hz)
        bracketed, marks = await speak(engine, "Say [[hello]] now.")
        assert len(marks) == 3
        assert len(bracketed)
        await engine.close()
    assert 0.4 < seconds[1] / seconds[0] < 0.7


async def test_an_iterator_that_is_closed_stops_the_worker(package):
    engine = PiperTts(model=piper_voice())
    await engine.start()
    speech = engine.speak("One sentence. " * 100)
    async for _ in speech:
        break
    await speech.aclose()
    pcm, _ = await speak(engine, "Hello.")
    assert len(pcm) / engine.rate_hz < 2.0
    pid = engine.pool.workers[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await engine.close()
    assert children() == []


async def test_a_file_that_is_no_network_is_an_engine_error(package, tmp_path):
    config = {**PLAIN, "num_symbols": 1, "espeak": {"voice": "en-us"}, "phoneme_id_map": {}}
    with pytest.raises(EngineError, match=r"piper\.model") as caught:
        await PiperTts(model=write_voice(tmp_path, config)).start()
    assert caught.value.code == "tts_bad_model"
    assert children() == []
