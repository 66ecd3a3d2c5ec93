"""The server's end of a recogniser that lives in worker processes.

What such engines share: a pool, streams that hand samples over and get texts back,
and limits on every wait. ``worker_utterance`` is the other end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.framing import MAX_PAYLOAD, Frame, Kind
from voicecore.engines.pool import WorkerPool
from voicecore.engines.protocols import Pcm, SttStream
from voicecore.engines.worker import Channel
from voicecore.errors import EngineError, MisuseError

RATE_HZ: Final = 16_000


class WorkerStt:
    """A recogniser in a pool of workers: all of an engine but its settings.

    ``open()`` waits ``wait_s`` seconds at most for a worker that has room, in a line
    of twice as many callers as can be served; then EngineError ``stt_busy``.
    """

    name = ""
    rate_hz = RATE_HZ

    def __init__(
        self,
        module: str,
        settings: Mapping[str, Any],
        *,
        workers: int,
        streams: int = 1,
        finish_timeout_s: float,
        wait_s: float,
        ready_timeout_s: float = 30.0,
        piece_limit_s: float = 3.0,
        clean: Callable[[str], str] = str,
    ) -> None:
        """Make the pool; nothing is started.

        ``module`` is run in each of 1..64 ``workers`` with ``settings``, and serves
        up to ``streams`` utterances at once (1..64). ``finish_timeout_s``: how long
        ``finish()`` waits. ``piece_limit_s``: a worker that doesn't confirm a cancelled
        utterance within this time hangs, and is killed. ``clean`` makes a text of what
        the worker says.
        """
        for label, value in (("workers", workers), ("streams", streams)):
            if not 1 <= value <= 64:
                raise MisuseError(f"{label} must be 1..64, got {value}")
        if finish_timeout_s <= 0 or wait_s <= 0:
            raise MisuseError("time-outs must be positive")
        self._finish_timeout_s = finish_timeout_s
        self._piece_limit_s = piece_limit_s
        self._clean = clean
        self.pool = WorkerPool(
            module,
            settings,
            engine=self.name,
            workers=workers,
            streams=streams,
            max_waiting=2 * workers * streams,
            wait_s=wait_s,
            busy_code="stt_busy",
            ready_timeout_s=ready_timeout_s,
        )

    async def start(self) -> None:
        """Load the model in all workers; MissingLibraryError without the library."""
        await self.pool.start()

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """Begin an utterance.

        Raises MisuseError before :meth:`start`, EngineError (``stt_busy``,
        ``worker_lost``).
        """
        stream = WorkerSttStream(
            self.name, on_partial, self._finish_timeout_s, self._piece_limit_s, self._clean
        )
        stream.attach(await self.pool.open({}, stream))
        return stream

    async def close(self) -> None:
        """End all workers; open streams get EngineError."""
        await self.pool.close()


class WorkerSttStream:
    """One utterance in a worker. Belongs to the event loop that opened it."""

    def __init__(
        self,
        engine: str,
        on_partial: Callable[[str], None],
        finish_timeout_s: float,
        piece_limit_s: float,
        clean: Callable[[str], str],
    ) -> None:
        """Made by :meth:`WorkerStt.open`."""
        self._engine = engine
        self._on_partial = on_partial
        self._finish_timeout_s = finish_timeout_s
        self._piece_limit_s = piece_limit_s
        self._clean = clean
        self._channel: Channel | None = None
        self._final: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._final.add_done_callback(_look_at_error)
        self._ended = False
        self.dropped_samples = 0

    def attach(self, channel: Channel) -> None:
        """Take the channel to the worker; called once, by the engine."""
        self._channel = channel

    def push(self, pcm: Pcm) -> None:
        """Take int16 samples at 16 kHz, any number; copies them.

        The worker holds a minute at most; what is older is dropped and counted
        in ``dropped_samples`` (known after ``finish()``).
        """
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise MisuseError(f"pcm must be int16, 1-D; got {pcm.dtype}, {pcm.ndim}-D")
        if self._ended or self._channel is None:
            return
        data = memoryview(pcm.astype("<i2", order="C").tobytes())
        for start in range(0, len(data), MAX_PAYLOAD):
            self._channel.send(Kind.AUDIO, data[start : start + MAX_PAYLOAD])

    async def finish(self) -> str:
        """End the utterance and return its text; EngineError if the worker died or hangs."""
        if self._channel is not None and not self._ended:
            self._ended = True
            self._channel.send(Kind.FINISH)
        try:
            async with asyncio.timeout(self._finish_timeout_s):
                return await asyncio.shield(self._final)
        except TimeoutError:
            await self.cancel()
            raise self._error("no final text in time", "stt_timeout") from None
        except asyncio.CancelledError:
            await self.cancel()
            raise

    async def cancel(self) -> None:
        """Give the utterance up, without waiting; harmless when it is over.

        A ``finish()`` under way in another task returns ``""``.
        """
        # A worker that is merely slow confirms within a piece; one that hangs is killed.
        self._ended = True
        if self._channel is not None:
            self._channel.abandon(self._piece_limit_s)
        if not self._final.done():
            self._final.set_result("")

    def handle_frame(self, frame: Frame) -> None:
        """Worker to stream: a partial, the final text, or a failure."""
        if frame.kind is Kind.EVENT:
            self._on_partial(self._clean(frame.json()["text"]))
        elif frame.kind is Kind.END and not self._final.done():
            answer = frame.json()
            self.dropped_samples = int(answer["dropped"])
            words = tuple(SpokenWord(*word) for word in answer.get("words", ()))
            self._final.set_result(Transcript(self._clean(answer["text"]), words))
        elif frame.kind is Kind.ERROR:
            self.handle_lost(self._error("recognition failed", "engine_failed"))

    def handle_lost(self, error: EngineError) -> None:
        """The worker is gone: ``finish()`` raises ``error``."""
        self._ended = True
        if not self._final.done():
            self._final.set_exception(error)

    def _error(self, message: str, code: str) -> EngineError:
        return EngineError(f"{self._engine}: {message}", engine=self._engine, code=code)


def _look_at_error(future: asyncio.Future[str]) -> None:
    # Nobody may come for it: a caller who hung up never calls finish().
    if not future.cancelled():
        future.exception()
