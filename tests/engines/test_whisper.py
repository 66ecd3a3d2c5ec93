"""Whisper as a recogniser: its settings, its worker's rules, and real speech where a model is."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from engines.local_voices import whisper_directory
from engines.test_pocketsphinx import recognise, speech, with_silence
from engines.worker_kit import children
from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import SttEngine
from voicecore.engines.stt.whisper import FILES, WhisperStt
from voicecore.engines.stt.whisper_worker import MAX_BYTES, Recogniser, WhisperUtterance
from voicecore.engines.stt.worker_utterance import Understood
from voicecore.errors import EngineError, MissingLibraryError, MisuseError


@pytest.fixture
def package():
    return pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")


@pytest.mark.parametrize("lacking", FILES)
async def test_each_file_is_missed_by_name(tmp_path, lacking):
    for name in FILES:
        if name != lacking:
            (tmp_path / name).touch()
    assert f"lacks {lacking}" in WhisperStt.missing(model=tmp_path)[0]
    with pytest.raises(MissingLibraryError, match=rf"whisper\.model.*lacks {lacking}"):
        await WhisperStt(model=tmp_path).start()
    assert children() == []


async def test_a_name_of_a_model_is_no_directory():
    with pytest.raises(MissingLibraryError, match=r"whisper\.model = tiny\.en.*local directory"):
        await WhisperStt(model="tiny.en").start()


@pytest.mark.parametrize(
    "wrong",
    [{"partial_s": -1}, {"beam_size": 0}, {"threads": 17}, {"nice": -1}, {"finish_timeout_s": 0}],
)
def test_bad_arguments_are_refused(tmp_path, wrong):
    with pytest.raises(MisuseError):
        WhisperStt(model=tmp_path, **wrong)


async def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "faster_whisper.py").write_text("raise ImportError('no such package')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in FILES:
        (tmp_path / name).touch()
    with pytest.raises(MissingLibraryError, match=r'pip install "voicecore\[whisper\]"'):
        await WhisperStt(model=tmp_path).start()


class Listener:
    """In place of the model: writes down how much it was given."""

    next_partial_s = 0.0

    def __init__(self):
        self.heard = []

    def text(self, pcm):
        self.heard.append(len(pcm))
        return str(len(pcm))

    def understand(self, pcm, first_sample):
        return Understood("all", (SpokenWord("all", first_sample // 16, first_sample // 16),))


class Stream:
    """In place of the reporter."""

    cancelled = False
    waited_for = False

    def __init__(self):
        self.texts = []

    def partial(self, text):
        self.texts.append(text())


def second():
    return bytes(32_000)


def test_a_partial_comes_after_so_much_speech_and_not_before():
    listener, stream = Listener(), Stream()
    utterance = WhisperUtterance(listener, 1.0, stream)
    for _ in range(45):
        utterance.push(bytes(1600))
    listener.next_partial_s = 0.0  # as if time had passed
    for _ in range(15):
        utterance.push(bytes(1600))
    assert listener.heard == [16_000, 36_800]


def test_no_partial_while_others_wait_nor_when_none_is_wanted():
    listener, stream = Listener(), Stream()
    stream.waited_for = True
    WhisperUtterance(listener, 1.0, stream).push(second() * 3)
    WhisperUtterance(listener, 0.0, Stream()).push(second() * 3)
    assert listener.heard == []


def test_no_partial_in_a_pause_when_the_final_text_is_about_to_be_asked_for():
    listener = Listener()
    utterance = WhisperUtterance(listener, 1.0, Stream())
    loud = np.full(12_800, 3000, "<i2").tobytes()
    utterance.push(loud)
    for _ in range(6):
        utterance.push(bytes(1600))
    assert listener.heard == []
    utterance.push(loud)
    assert listener.heard == [30_400]


def test_the_last_minute_is_kept_and_times_stay_those_of_the_stream():
    utterance = WhisperUtterance(Listener(), 0.0, Stream())
    for _ in range(70):
        utterance.push(second())
    understood = utterance.finish()
    assert understood.dropped_samples == 70 * 16_000 - MAX_BYTES // 2
    assert understood.words[0].start_ms == 10_000


def test_a_cancelled_utterance_is_not_decoded():
    stream = Stream()
    stream.cancelled = True
    assert WhisperUtterance(Listener(), 0.0, stream).finish() == Understood("")


def fake_package(segments):
    """A module whose model knows one answer; what it was asked is in ``asked``."""
    asked = []

    class WhisperModel:
        def __init__(self, model_size_or_path, **given):
            asked.append(given)

        def transcribe(self, audio, **given):
            asked.append({"samples": len(audio), **given})
            return iter(segments), None

    return SimpleNamespace(WhisperModel=WhisperModel, asked=asked)


SETTINGS = {
    "model": "/somewhere",
    "language": "",
    "beam_size": 1,
    "device": "cpu",
    "compute_type": "int8",
    "threads": 1,
}


def test_the_hub_is_shut_and_silence_is_not_asked_about(monkeypatch):
    package = fake_package([])
    monkeypatch.setitem(__import__("sys").modules, "faster_whisper", package)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    recogniser = Recogniser(SETTINGS)
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert package.asked[0]["local_files_only"] is True
    tried = len(package.asked)
    quiet = np.full(16_000, 60, np.int16)
    assert recogniser.text(quiet) == ""
    assert recogniser.understand(quiet[:0], 0) == Understood("")
    assert len(package.asked) == tried


def test_words_lie_within_what_was_said(monkeypatch):
    def word(text, start, end):
        return SimpleNamespace(word=text, start=start, end=end, probability=0.87654)

    segments = [
        SimpleNamespace(text=" One,", words=[word(" One,", 0.0, 0.5)]),
        SimpleNamespace(text=" two.", words=[word(" two.", 0.9, 1.5)]),
    ]
    monkeypatch.setitem(__import__("sys").modules, "faster_whisper", fake_package(segments))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    understood = Recogniser(SETTINGS).understand(np.full(16_000, 900, np.int16), 8_000)
    assert understood.text == "One, two."
    assert understood.words == (
        SpokenWord("One,", 500, 1000, 0.877),
        SpokenWord("two.", 1400, 1500, 0.877),
    )


def test_the_package_has_what_is_called(package):
    made = set(inspect.signature(package.WhisperModel.__init__).parameters)
    assert {"device", "compute_type", "cpu_threads", "num_workers", "local_files_only"} <= made
    asked = set(inspect.signature(package.WhisperModel.transcribe).parameters)
    assert {
        "language",
        "beam_size",
        "temperature",
        "condition_on_previous_text",
        "word_timestamps",
        "max_new_tokens",
    } <= asked
    from faster_whisper.transcribe import Segment, Word

    fields = getattr(Segment, "__dataclass_fields__", None) or Segment._fields
    assert {"text", "words"} <= set(fields)
    fields = getattr(Word, "__dataclass_fields__", None) or Word._fields
    assert {"word", "start", "end", "probability"} <= set(fields)


async def test_speech_is_understood_with_its_words(package):
    engine = WhisperStt(model=whisper_directory())
    assert isinstance(engine, SttEngine)
    await engine.start()
    pcm = with_silence(speech("speech_livekit/weather_question.wav"))
    text, _ = await recognise(engine, pcm)
    assert isinstance(text, Transcript)
    assert "weather" in text.lower()
    assert text.endswith("?")
    assert [word.text for word in text.words] == text.split()
    for before, after in zip(text.words, text.words[1:], strict=False):
        assert before.start_ms <= before.end_ms <= after.end_ms
    assert text.words[-1].end_ms <= len(pcm) // 16
    assert await recognise(engine, np.zeros(16_000, np.int16)) == ("", [])
    assert await recognise(engine, pcm[:0]) == ("", [])
    await engine.close()
    assert children() == []


async def test_utterances_side_by_side_and_a_cancelled_one(package):
    engine = WhisperStt(model=whisper_directory(), workers=1, streams=3, language="en")
    await engine.start()
    weather = with_silence(speech("speech_livekit/weather_question.wav"))
    hello = with_silence(speech("speech_livekit/hello_world.wav"))
    partials = []
    first, second, third = [await engine.open(take) for take in (str, str, partials.append)]
    for at in range(0, max(len(weather), len(hello)), 1600):
        for stream, pcm in ((first, weather), (second, hello), (third, weather)):
            stream.push(pcm[at : at + 1600])
    third_finish = asyncio.create_task(third.finish())
    await asyncio.sleep(0)
    await third.cancel()
    told = len(partials)
    texts = await asyncio.gather(first.finish(), second.finish(), third_finish)
    assert "weather" in texts[0].lower()
    assert "hello" in texts[1].lower()
    assert texts[2] == ""
    assert len(partials) == told
    await engine.close()


async def test_a_killed_worker_costs_its_utterances(package):
    engine = WhisperStt(model=whisper_directory())
    await engine.start()
    stream = await engine.open(str)
    os.kill(engine.pool.workers[0].pid, signal.SIGKILL)
    with pytest.raises(EngineError) as caught:
        await stream.finish()
    assert caught.value.code == "worker_lost"
    await engine.close()


async def test_files_that_are_no_model_are_an_engine_error(package, tmp_path):
    for name in FILES:
        (tmp_path / name).write_text("{}")
    with pytest.raises(EngineError, match=r"whisper\.model") as caught:
        await WhisperStt(model=tmp_path).start()
    assert caught.value.code == "stt_bad_model"
    assert children() == []
