"""One utterance on its way from the caller's ring into a recogniser."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from voicecore._native.chunks import Chunks
from voicecore._native.ring import AudioRing
from voicecore.engines.protocols import SttEngine, SttSession, SttStream
from voicecore.errors import EngineError
from voicecore.transport.tasks import let_go

_LOG = logging.getLogger(__name__)

_OPEN_TIMEOUT_S = 5.0
_FINISH_TIMEOUT_S = 12.0
"""Longer than the embedded recogniser's own: whoever knows more speaks first."""


_MOST_WAITING_MS = 10_000
"""More than a ring's four seconds and all of ``_OPEN_TIMEOUT_S`` together."""


class Utterance:
    """Feeds one recogniser stream; its task ends in exactly one of the outcomes.

    The ring holds a few seconds, a recogniser may take longer to open: until then
    chunks wait here, ten seconds of them at most. Beyond, the oldest is dropped
    and counted in ``dropped``: what was said last matters more to the answer.

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
    ) -> None:
        self._engine = engine
        self._ring = ring
        self._chunks = Chunks(ring, chunk_ms, max(from_sample, ring.position - ring.capacity, 0))
        self._on_partial = on_partial
        self._on_final = on_final
        self._on_failed = on_failed
        self._stream: SttStream | None = None
        self._end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._over = False
        self._waiting: deque[NDArray[Any]] = deque(maxlen=_MOST_WAITING_MS // chunk_ms)
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
        if self._stream is None:
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
        while self._waiting:
            stream.push(self._waiting.popleft())
        self._stream = stream

    def _take_chunks(self) -> None:
        while (chunk := self._chunks.next()) is not None:
            self._hand_on(chunk)

    def _take(self, end: int) -> None:
        self._take_chunks()
        rest = self._chunks.rest(end)
        if len(rest):
            self._hand_on(rest)
        self._complete = True

    def _hand_on(self, chunk: NDArray[Any]) -> None:
        if self._stream is not None:
            self._stream.push(chunk)
            return
        self.dropped += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(chunk)

    def _take_partial(self, text: str) -> None:
        if not self._over:
            self._on_partial(text)

    def _fail(self, code: str) -> None:
        self._over = True
        self._on_failed(code)


def _code(error: Exception) -> str:
    if isinstance(error, EngineError):
        return error.code
    _LOG.error("the recogniser raised", exc_info=error)
    return "stt_raised"
