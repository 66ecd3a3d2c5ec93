"""The stub engines: fixed, instant, and shaped like real ones."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from voicecore.core.conversation import Conversation
from voicecore.engines.llm.stub import LlmStub
from voicecore.engines.protocols import LlmEngine, SttEngine, TtsEngine
from voicecore.engines.stt.stub import SttStub
from voicecore.engines.tts.stub import PEAK, TtsStub
from voicecore.errors import MisuseError


def run_without_loop(coroutine):
    """Drive a coroutine that never suspends; fail if it does."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine suspended")


async def collect(iterator):
    return [item async for item in iterator]


def test_stubs_are_engines():
    assert isinstance(SttStub(), SttEngine)
    assert isinstance(LlmStub(), LlmEngine)
    assert isinstance(TtsStub(), TtsEngine)


def test_stt_finishes_without_a_task_switch():
    stream = run_without_loop(SttStub("good morning").open(lambda text: None))
    stream.push(np.zeros(320, np.int16))
    assert run_without_loop(stream.finish()) == "good morning"


def test_llm_yields_three_tokens_without_a_task_switch():
    tokens = run_without_loop(collect(LlmStub().reply(Conversation())))
    assert len(tokens) == 3
    assert "".join(tokens) == "This is a stub answer."


def test_llm_delay_stands_before_each_token():
    async def first_two():
        reply = LlmStub(("a", "b"), token_delay_ms=1.0).reply(Conversation())
        return [token async for token in reply]

    before = time.monotonic()
    assert asyncio.run(first_two()) == ["a", "b"]
    assert time.monotonic() - before >= 0.002


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("lead_ms", [0, 37.5, 250])
def test_tts_tone_follows_its_lead(rate_hz, lead_ms):
    chunks = run_without_loop(collect(TtsStub(0.55, lead_ms, rate_hz=rate_hz).speak("one two")))
    assert {len(chunk.pcm) for chunk in chunks[:-1]} == {rate_hz // 10}
    pcm = np.concatenate([chunk.pcm for chunk in chunks])
    lead = round(lead_ms * rate_hz / 1000)
    assert len(pcm) == lead + round(0.55 * rate_hz)
    assert not pcm[:lead].any()
    tone = pcm[lead:].astype(float)
    middle = tone[len(tone) // 4 : 3 * len(tone) // 4]
    assert abs(20 * np.log10(np.abs(middle).max() / 32767) + 12) < 0.1
    steps = np.abs(np.diff(tone)).max()
    assert steps <= PEAK * 2 * np.pi * 440 / rate_hz * 1.05  # no click at a chunk's edge
    assert abs(tone[0]) <= 1
    assert abs(tone[-1]) <= PEAK * 0.05
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    assert abs(np.argmax(spectrum) * rate_hz / len(tone) - 440) < rate_hz / len(tone)


def test_tts_marks_are_even_and_come_with_their_chunk():
    text = "  Hé là, one — two!"
    chunks = run_without_loop(collect(TtsStub(1.0, 100).speak(text)))
    marks = [mark for chunk in chunks for mark in chunk.words]
    assert [text[m.char_start : m.char_end] for m in marks] == text.split()
    assert [m.sample for m in marks] == [2400, 7200, 12000, 16800, 21600]
    position = 0
    for chunk in chunks:
        assert all(position <= m.sample < position + len(chunk.pcm) for m in chunk.words)
        position += len(chunk.pcm)


def test_tts_chunks_belong_to_the_receiver():
    engine = TtsStub(0.2)
    first = run_without_loop(collect(engine.speak("x")))
    first[0].pcm[:] = 0
    again = run_without_loop(collect(engine.speak("x")))
    assert again[0].pcm.any()


def test_tts_of_nothing_is_silent_of_words():
    assert run_without_loop(collect(TtsStub(0.0).speak("x"))) == []
    chunks = run_without_loop(collect(TtsStub(0.1).speak("   ")))
    assert chunks[0].words == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: SttStub(rate_hz=100),
        lambda: LlmStub(token_delay_ms=-1),
        lambda: TtsStub(-1),
        lambda: TtsStub(lead_ms=-1),
        lambda: TtsStub(rate_hz=1),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(MisuseError):
        make()
