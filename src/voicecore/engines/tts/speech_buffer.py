"""From a provider's bytes to speech chunks: whole samples, marks with their sound, deadlines.

Chunks are handed on as they came, never cut or joined.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from voicecore.engines.protocols import Pcm, SpeechChunk, WordMark
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError

MAX_QUEUED_BYTES: Final = 16 << 20
"""Some six minutes at 24 kHz: a text that makes more unheard is not meant to be spoken."""


@dataclass(frozen=True, slots=True)
class SpeechLimits:
    """Seconds that a synthesiser may take.

    ``connect_s``: until its connection stands; ``first_byte_s``: from the text to its
    first sound; ``next_byte_s``: between two pieces of it, and by so much it may fall
    behind real time in all, so that a drip is no speech either.
    """

    connect_s: float = 3.0
    first_byte_s: float = 2.0
    next_byte_s: float = 2.0


class SpeechPatience:
    """How much longer the next piece of one text's speech may be waited for.

    Only waiting counts: a speaker who takes his time with what is there already costs
    the provider nothing.
    """

    def __init__(self, limits: SpeechLimits) -> None:
        self._limits = limits
        self._waited_s = 0.0
        self._heard = False

    def left_s(self, received_s: float) -> float:
        """Seconds to wait at most now that ``received_s`` of speech are there."""
        if not self._heard:
            return max(self._limits.first_byte_s - self._waited_s, 0.0)
        behind_s = self._waited_s - received_s
        return max(self._limits.next_byte_s - max(behind_s, 0.0), 0.0)

    def waited(self, seconds: float) -> None:
        """So long it took, with or without success."""
        self._waited_s += seconds

    def heard(self) -> None:
        """Sound has come."""
        if not self._heard:
            self._heard, self._waited_s = True, 0.0

    def error(self, faults: Faults) -> EngineError:
        """``tts_timeout``, in the words of what was waited for."""
        if self._heard:
            return faults.timed_out("no further speech", self._limits.next_byte_s)
        return faults.timed_out("no speech", self._limits.first_byte_s)


class PcmJoiner:
    """Little-endian int16 out of bytes that may be split within a sample."""

    def __init__(self) -> None:
        self._odd = b""

    def push(self, data: bytes) -> Pcm:
        """The samples that ``data`` completes, perhaps none; the caller's to keep."""
        if self._odd:
            data = self._odd + data
        even = len(data) & ~1
        self._odd = data[even:]
        return np.frombuffer(data, "<i2", even // 2).astype(np.int16)


class SpeechBuffer:
    """What came of one text and was not taken yet. Belongs to the event loop.

    Marks go out with the chunk in which their word begins, or with the next one if
    they come later than it; those behind the end of the audio never do. Beyond
    ``MAX_QUEUED_BYTES`` unread it fails with EngineError ``tts_backlog``.
    ``samples``: all that came so far. ``is_over``: nothing more will come.
    """

    def __init__(self, faults: Faults) -> None:
        self.samples = 0
        self.is_over = False
        self._faults = faults
        self._joiner = PcmJoiner()
        self._chunks: deque[Pcm] = deque()
        self._marks: deque[WordMark] = deque()
        self._latest_mark = -1
        self._taken = 0
        self._bytes = 0
        self._error: EngineError | None = None
        self._changed = asyncio.Event()

    def push(self, data: bytes) -> None:
        """Take what was synthesised next."""
        pcm = self._joiner.push(data)
        if self.is_over or not len(pcm):
            return
        if self._bytes + pcm.nbytes > MAX_QUEUED_BYTES:
            self.fail(self._faults.error("backlog", "the text makes too much speech"))
            return
        self._chunks.append(pcm)
        self._bytes += pcm.nbytes
        self.samples += len(pcm)
        self._changed.set()

    def mark(self, marks: Iterable[WordMark]) -> None:
        """Take marks in the order of the text; one that goes back in time is ignored."""
        for mark in marks:
            if mark.sample > self._latest_mark:
                self._latest_mark = mark.sample
                self._marks.append(mark)

    def end(self) -> None:
        """All has come."""
        self.is_over = True
        self._changed.set()

    def fail(self, error: EngineError) -> None:
        """What came is still spoken, then ``error`` is raised. Nothing once it is over."""
        if not self.is_over:
            self._error = error
            self.end()

    async def next(self, timeout_s: float) -> SpeechChunk | None:
        """The next chunk, None at the end; TimeoutError if nothing comes."""
        while not self._chunks:
            if self.is_over:
                late = self._marks_before(self.samples)
                if self._error is not None and not late:
                    raise self._error
                return SpeechChunk(np.zeros(0, np.int16), late) if late else None
            self._changed.clear()
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        pcm = self._chunks.popleft()
        self._bytes -= pcm.nbytes
        self._taken += len(pcm)
        return SpeechChunk(pcm, self._marks_before(self._taken))

    def _marks_before(self, end: int) -> tuple[WordMark, ...]:
        marks = []
        while self._marks and self._marks[0].sample < end:
            mark = self._marks.popleft()
            if self.is_over and mark.end is not None:
                mark = mark._replace(end=min(mark.end, self.samples))
            marks.append(mark)
        return tuple(marks)
