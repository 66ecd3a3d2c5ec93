"""One utterance on its way from the caller's ring into a recogniser."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from voicecore._native.chunks import Chunks
from voicecore._native.packet_tap import PacketTap, TappedPacket
from voicecore._native.ring import AudioRing
from voicecore.engines.protocols import (
    EncodedPacket,
    EncodedSttStream,
    SttEngine,
    SttSession,
    SttStream,
)
from voicecore.errors import EngineError
from voicecore.transport.tasks import let_go

_LOG = logging.getLogger(__name__)

_OPEN_TIMEOUT_S = 5.0
_FINISH_TIMEOUT_S = 12.0
"""Longer than the embedded recogniser's own: whoever knows more speaks first."""


_MOST_WAITING_MS = 10_000
"""More than a ring's four seconds and all of ``_OPEN_TIMEOUT_S`` together."""

_Piece = tuple[NDArray[Any], Sequence[TappedPacket]]
_Push = Callable[[NDArray[Any], Sequence[TappedPacket]], None]


class Utterance:
    """Feeds one recogniser stream; its task ends in exactly one of the outcomes.

    The ring holds a few seconds, a recogniser may take longer to open: until then
    chunks wait here, ten seconds of them at most. Beyond, the oldest is dropped
    and counted in ``dropped``: what was said last matters more to the answer.

    With a ``tap`` a stream that takes them is given the caller's packets beside the
    samples: with each chunk those that ended within it, with the last one also the
    packet that covers the end (then ``pcm`` may be empty). The first is the one that
    covers ``from_sample``, so they may begin up to its length before the samples do.

    ``on_final(text)`` after :meth:`finish`, or ``on_failed(code)`` if the
    engine fails at any time. :meth:`cancel` ends it with neither.
    """

    def __init__(
        self,
        engine: SttSession | SttEngine,
        ring: AudioRing,
        *,
        from_sample: int,
        chunk_ms: int,
        on_partial: Callable[[str], None],
        on_final: Callable[[str], None],
        on_failed: Callable[[str], None],
        tap: PacketTap | None = None,
    ) -> None:
        self._engine = engine
        self._ring = ring
        start = max(from_sample, ring.position - ring.capacity, 0)
        self._chunks = Chunks(ring, chunk_ms, start)
        self._packets = None if tap is None else tap.reader(start)
        self._foreign = 0 if tap is None else tap.foreign
        self._on_partial = on_partial
        self._on_final = on_final
        self._on_failed = on_failed
        self._push: _Push | None = None
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._over = False
        self._waiting: deque[tuple[NDArray[Any], Sequence[TappedPacket]]] = deque(
            maxlen=_MOST_WAITING_MS // chunk_ms
        )
        self._complete = False
        self.dropped = 0
        self.task = asyncio.get_running_loop().create_task(self._run(), name="utterance")
        self.task.add_done_callback(let_go)

    def pump(self) -> None:
        """Take every whole chunk that has arrived."""
        if not self._over and not self._end.done():
            self._take_chunks()

    @property
    def due(self) -> int | None:
        """The ring's position at which the next chunk is whole; None: no more are wanted."""
        if self._end.done() or self._over:
            return None
        return self._chunks.reader.position + self._chunks.chunk_samples

    def finish(self, to_sample: int) -> None:
        """The utterance ends at ``to_sample``: push the rest, ask for the text."""
        if self._end.done():
            return
        end = min(to_sample, self._ring.position)
        if self._push is None:
            # Until it is open the ring may have gone on.
            self._take(end)
        self._end.set_result(end)

    def cancel(self) -> None:
        """Give it up; the owner awaits :attr:`task`."""
        self._over = True
        self.task.cancel()

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT_S):
                stream = await self._engine.open(self._take_partial)
        except TimeoutError:
            self._fail("stt_timeout")
            return
        except Exception as error:
            self._fail(_code(error))
            return
        try:
            self._begin(stream)
            end = await self._end
            if not self._complete:
                self._take(end)
            async with asyncio.timeout(_FINISH_TIMEOUT_S):
                text = await stream.finish()
        except TimeoutError:
            await stream.cancel()
            self._fail("stt_timeout")
        except Exception as error:
            self._fail(_code(error))
        except asyncio.CancelledError:
            await stream.cancel()
            raise
        else:
            self._over = True
            self._on_final(text)

    def _begin(self, stream: SttStream) -> None:
        """Push what has waited; what comes goes straight to ``stream`` from here on."""
        self.pump()
        if self.dropped:
            _LOG.warning("a recogniser opened too late: %d chunks dropped", self.dropped)
        push = _push_packets(stream) if self._packets is not None else _push_samples(stream)
        while self._waiting:
            push(*self._waiting.popleft())
        self._push = push

    def _take_chunks(self) -> None:
        while (chunk := self._chunks.next()) is not None:
            packets = self._packets
            self._hand_on(chunk, packets.read(self._chunks.position) if packets else ())

    def _take(self, end: int) -> None:
        self._take_chunks()
        rest = self._chunks.rest(end)
        packets = self._packets.rest(end) if self._packets else ()
        if len(rest) or packets:
            self._hand_on(rest, packets)
        self._complete = True
        if self._packets is not None and (foreign := self._packets.tap.foreign - self._foreign):
            _LOG.warning("%d packets of a codec that the recogniser wasn't told of", foreign)

    def _hand_on(self, pcm: NDArray[Any], packets: Sequence[TappedPacket]) -> None:
        if self._push is not None:
            self._push(pcm, packets)
            return
        self.dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append((pcm, packets))

    def _take_partial(self, text: str) -> None:
        if not self._over:
            self._on_partial(text)

    def _fail(self, code: str) -> None:
        self._over = True
        self._on_failed(code)


def _push_samples(stream: SttStream) -> _Push:
    def push(pcm: NDArray[Any], packets: Sequence[TappedPacket]) -> None:
        if len(pcm):
            stream.push(pcm)

    return push


def _push_packets(stream: SttStream) -> _Push:
    # Of a chain of engines one may take packets and another not.
    if not isinstance(stream, EncodedSttStream):
        return _push_samples(stream)

    def push(pcm: NDArray[Any], packets: Sequence[TappedPacket]) -> None:
        stream.push_encoded(pcm, [EncodedPacket(p.payload, p.duration_ms) for p in packets])

    return push


def _code(error: Exception) -> str:
    if isinstance(error, EngineError):
        return error.code
    _LOG.error("the recogniser raised", exc_info=error)
    return "stt_raised"
