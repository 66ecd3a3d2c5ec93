"""What lies between a provider's messages and the chunks that are spoken."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from fakes.speech_calls import Heard
from voicecore.engines.protocols import WordMark
from voicecore.engines.tts.speech_buffer import (
    MAX_QUEUED_BYTES,
    PcmJoiner,
    SpeechBuffer,
    SpeechLimits,
    SpeechPatience,
)
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError

FAULTS = Faults("tts", "toy")


def samples(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


async def drain(buffer: SpeechBuffer) -> Heard:
    heard = Heard([])
    try:
        while (chunk := await buffer.next(0.0)) is not None:
            heard.chunks.append(chunk)
    except EngineError as error:
        heard.error = error
    return heard


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 100])
def test_bytes_split_anywhere_are_the_same_samples(step: int) -> None:
    pcm = np.arange(-50, 50, dtype=np.int16)
    data, joiner = pcm.astype("<i2").tobytes(), PcmJoiner()
    parts = [joiner.push(data[at : at + step]) for at in range(0, len(data), step)]
    assert np.array_equal(np.concatenate(parts), pcm)


async def test_chunks_come_out_as_they_came_in() -> None:
    buffer = SpeechBuffer(FAULTS)
    for values in ((1, 2, 3), (4,), (5, 6)):
        buffer.push(samples(*values))
    buffer.end()
    heard = await drain(buffer)
    assert [chunk.pcm.tolist() for chunk in heard.chunks] == [[1, 2, 3], [4], [5, 6]]
    assert heard.error is None


async def test_marks_go_with_their_sound() -> None:
    first, second = WordMark(0, 2, 1, 2), WordMark(3, 5, 4, 6)
    buffer = SpeechBuffer(FAULTS)
    buffer.mark([first, second])
    buffer.push(samples(1, 2, 3))
    buffer.push(samples(4, 5, 6))
    buffer.end()
    assert [chunk.words for chunk in (await drain(buffer)).chunks] == [(first,), (second,)]


async def test_a_mark_that_comes_late_goes_with_what_comes_next() -> None:
    late, last = WordMark(0, 2, 1, 2), WordMark(3, 5, 2, 9)
    buffer = SpeechBuffer(FAULTS)
    buffer.push(samples(1, 2))
    first = await buffer.next(0.0)
    assert first is not None
    assert first.words == ()
    buffer.mark([late])
    buffer.push(samples(3))
    second = await buffer.next(0.0)
    assert second is not None
    assert second.words == (late,)
    buffer.mark([last])
    buffer.end()
    third = await buffer.next(0.0)
    assert third is not None
    assert (len(third.pcm), third.words) == (0, (WordMark(3, 5, 2, 3),))
    assert await buffer.next(0.0) is None


async def test_no_mark_lies_behind_the_audio_or_goes_back() -> None:
    buffer = SpeechBuffer(FAULTS)
    buffer.mark([WordMark(0, 1, 2), WordMark(2, 3, 1), WordMark(4, 5, 2), WordMark(6, 7, 8)])
    buffer.push(samples(1, 2, 3))
    buffer.end()
    assert (await drain(buffer)).marks == [WordMark(0, 1, 2)]


async def test_what_came_before_an_error_is_still_heard() -> None:
    buffer = SpeechBuffer(FAULTS)
    buffer.push(samples(1))
    buffer.fail(FAULTS.error("closed", "gone"))
    buffer.push(samples(2))
    heard = await drain(buffer)
    assert heard.pcm.tolist() == [1]
    assert heard.error is not None
    assert heard.error.code == "tts_closed"


async def test_more_than_anyone_says_fails() -> None:
    buffer = SpeechBuffer(FAULTS)
    block = bytes(MAX_QUEUED_BYTES // 4)
    for _ in range(5):
        buffer.push(block)
    heard = await drain(buffer)
    assert heard.pcm.nbytes == MAX_QUEUED_BYTES
    assert heard.error is not None
    assert heard.error.code == "tts_backlog"


async def test_who_waits_is_woken() -> None:
    buffer = SpeechBuffer(FAULTS)
    waiting = asyncio.ensure_future(buffer.next(5.0))
    await asyncio.sleep(0)
    buffer.push(samples(7))
    chunk = await waiting
    assert chunk is not None
    assert chunk.pcm.tolist() == [7]
    with pytest.raises(TimeoutError):
        await buffer.next(0.0)


def test_patience_is_for_waiting_alone() -> None:
    patience = SpeechPatience(SpeechLimits(first_byte_s=2.0, next_byte_s=1.0))
    assert patience.left_s(0.0) == 2.0
    patience.waited(0.5)
    assert patience.left_s(0.0) == 1.5
    patience.heard()
    assert patience.left_s(0.1) == 1.0
    patience.waited(0.6)
    # Half a second behind real time; what comes faster than it is said makes up for that.
    assert patience.left_s(0.1) == pytest.approx(0.5)
    assert patience.left_s(5.0) == 1.0
    patience.waited(9.0)
    assert patience.left_s(0.2) == 0.0
    assert patience.error(FAULTS).code == "tts_timeout"
