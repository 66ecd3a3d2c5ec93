"""One utterance on a line: the stream that a streaming recogniser hands out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence

import numpy as np

from voicecore.core.transcript import Transcript
from voicecore.engines.protocols import EncodedPacket, Pcm
from voicecore.engines.stt.assembly import Assembly
from voicecore.engines.stt.dialect import Alive, Final, Finalised, Interim
from voicecore.engines.stt.line import Line
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError, MisuseError

_LONGEST_PIECE_MS = 200
_TAIL_MS = 50
"""A final that ends this much before our end covers all: no word is as short, and
providers count in frames (Deepgram's from_finalize ended 20 ms early in a recorded one)."""

_INT16 = np.dtype(np.int16)
_IS_LITTLE = sys.byteorder == "little"


class Utterance:
    """See :class:`~voicecore.engines.protocols.RemoteSttStream`. Made by a session.

    ``dropped_samples``: what could not be held until the connection stood.
    """

    def __init__(
        self,
        line: Line,
        faults: Faults,
        on_partial: Callable[[str], None],
        *,
        rate_hz: int,
        finalise_timeout_s: float,
        on_over: Callable[[], None],
    ) -> None:
        self.settled = Transcript("")
        self.settled_samples = 0
        self.progress = 0
        self.confirmed = False
        self.dropped_samples = 0
        loop = asyncio.get_running_loop()
        self.failure: asyncio.Future[EngineError] = loop.create_future()
        self._line = line
        self._faults = faults
        self._on_partial = on_partial
        self._rate_hz = rate_hz
        self._longest = rate_hz * _LONGEST_PIECE_MS // 1000
        self._finalise_timeout_s = finalise_timeout_s
        self._on_over = on_over
        self._begin_ms = self._heard_ms = round(line.sent_ms)
        self._text = Assembly(self._begin_ms)
        self._told = ""
        self._pushed = 0
        self._lead_samples = 0
        self._covered_ms = -1
        self._end: asyncio.Future[None] = loop.create_future()
        self._finishing = False
        self._heard = False
        self._over = False
        line.attach(self)

    @property
    def heard_samples(self) -> int:
        """See :class:`~voicecore.engines.protocols.RemoteSttStream`."""
        told_ms = min(self._heard_ms, self._line.sent_ms) - self._begin_ms
        return self.dropped_samples + round(told_ms * self._rate_hz / 1000)

    def push(self, pcm: Pcm) -> None:
        """Take int16 samples at the engine's rate; longer ones than 200 ms are parted."""
        # numpy makes this type but once, so that there is mostly nothing to compare.
        if pcm.dtype is not _INT16 or pcm.ndim != 1:
            _check(pcm)
        if self._over or self._finishing or self.failure.done():
            return
        longest = self._longest
        for start in range(0, len(pcm), longest):
            piece = pcm if len(pcm) <= longest else pcm[start : start + longest]
            data = piece.tobytes() if _IS_LITTLE else piece.byteswap().tobytes()
            self._send(data, len(piece), len(piece) * 1000 / self._rate_hz)

    async def finish(self) -> Transcript:
        """End the utterance and return its text.

        Raises EngineError: what ``failure`` has, or ``stt_timeout`` if the provider
        gave no sign of hearing it at all. One that is late with the last words costs
        only what it didn't tell: the text then ends in what was not final.
        """
        try:
            if self._pushed and not self._over and not self.failure.done():
                self._finishing = True
                self.confirmed = self._is_covered()
                if not self.confirmed:
                    self._line.finalise()
                    await self._wait()
            if self.failure.done():
                raise self.failure.result()
            if self._pushed and not self._over and not self._heard:
                raise self._faults.timed_out("nothing was heard", self._finalise_timeout_s)
            return self._text.whole
        finally:
            self._leave()

    async def cancel(self) -> None:
        """Give it up at once, without waiting; the connection is free for the next.

        A ``finish()`` under way in another task returns what there is.
        """
        if self._over:
            return
        if self._pushed and not self._finishing and not self.failure.done():
            # The provider closes its segment, so that the next utterance has its own.
            self._line.finalise()
        self._leave()

    def condemn(self, error: EngineError) -> None:
        """See :class:`~voicecore.engines.protocols.RemoteSttStream`."""
        self._line.condemn(error)

    def hear(self, heard: Interim | Final | Finalised | Alive) -> None:
        """From the line."""
        if isinstance(heard, Interim):
            mine = self._text.take_interim(heard)
        elif isinstance(heard, Final):
            mine = self._text.take_final(heard)
            if mine:
                self._settle(heard.end_ms)
        elif isinstance(heard, Finalised):
            mine = heard.end_ms is None or self._is_of_this(heard.end_ms)
        else:
            mine = True
        if not mine:
            return
        self._heard = True
        self.progress += 1
        if self._finishing and (isinstance(heard, Finalised) or self._is_covered()):
            self.confirmed = True
            self._finish_waiting()
        if isinstance(heard, Interim | Final):
            self._heard_ms = max(self._heard_ms, heard.end_ms)
            self._tell()

    def lost(self, error: EngineError) -> None:
        """From the line: it is dead."""
        if not self._over and not self.failure.done():
            self.failure.set_result(error)
            self._finish_waiting()

    def _send(
        self, audio: bytes | Sequence[EncodedPacket], samples: int, duration_ms: float
    ) -> None:
        self._pushed += samples
        if self._line.tells_late:
            self.progress += 1
        dropped_ms = self._line.send(audio, duration_ms)
        if dropped_ms:
            self.dropped_samples += round(dropped_ms * self._rate_hz / 1000)
            skipped_ms = self.dropped_samples * 1000 // self._rate_hz
            # Nothing has gone out yet, so nothing has been heard.
            self._text = Assembly(self._begin_ms, skipped_ms)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._finalise_timeout_s):
                await self._end
        except TimeoutError:
            pass

    def _finish_waiting(self) -> None:
        if not self._end.done():
            self._end.set_result(None)

    def _is_of_this(self, end_ms: int) -> bool:
        """Whether all up to there is of us, or of the one before, which ended about our begin."""
        length_ms = self._line.sent_ms - self._begin_ms
        return end_ms - self._begin_ms > min(length_ms / 2, _TAIL_MS)

    def _is_covered(self) -> bool:
        return self._covered_ms >= 0 and self._covered_ms + _TAIL_MS >= self._line.sent_ms

    def _settle(self, end_ms: int) -> None:
        self._covered_ms = max(self._covered_ms, end_ms)
        self.settled = self._text.settled
        samples = self._text.settled_ms * self._rate_hz // 1000 - self._lead_samples
        self.settled_samples = max(self.settled_samples, min(samples, self._pushed))

    def _tell(self) -> None:
        text = self._text.whole
        if text and text != self._told:
            self._told = text
            self._on_partial(text)

    def _leave(self) -> None:
        if not self._over:
            self._over = True
            self._finish_waiting()
            self._line.detach()
            self._on_over()


class EncodedUtterance(Utterance):
    """An utterance of the caller's own packets."""

    def push(self, pcm: Pcm) -> None:
        """Samples in which no packet ended: they only count the time."""
        self.push_encoded(pcm, ())

    def push_encoded(self, pcm: Pcm, packets: Sequence[EncodedPacket]) -> None:
        """Send ``packets``, which ended within ``pcm``."""
        _check(pcm)
        if self._over or self._finishing or self.failure.done():
            return
        if packets and not self._lead_samples:
            # The first may have begun before the first sample: what a final covers of
            # the packets is less than that of the samples, by that much at most.
            self._lead_samples = round(packets[0].duration_ms * self._rate_hz / 1000)
        if packets:
            self._send(packets, len(pcm), sum(packet.duration_ms for packet in packets))
        else:
            self._pushed += len(pcm)


def _check(pcm: Pcm) -> None:
    if pcm.dtype != _INT16 or pcm.ndim != 1:
        raise MisuseError(f"pcm must be int16, 1-D; got {pcm.dtype}, {pcm.ndim}-D")
