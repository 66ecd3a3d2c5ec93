"""The speech of one text on its way from a synthesiser's worker to its speaker."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import numpy as np

from voicecore.engines.framing import Frame, Kind
from voicecore.engines.pool import WorkerPool
from voicecore.engines.protocols import Pcm, SpeechChunk, WordMark
from voicecore.errors import EngineError

# Six minutes at 22050 Hz. A synthesiser is far faster than speech, so a text's
# audio waits here; a text that makes more than this is not meant to be spoken.
MAX_QUEUED_BYTES: Final = 16 << 20


class SpeechQueue:
    """A stream handler that turns a worker's frames into speech chunks.

    EVENT frames with ``words`` go with the audio that follows them. Beyond
    ``MAX_QUEUED_BYTES`` unread the stream fails with EngineError.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._chunks: deque[SpeechChunk] = deque()
        self._words: list[WordMark] = []
        self._bytes = 0
        self._changed = asyncio.Event()
        self._error: EngineError | None = None
        self._ended = False

    def handle_frame(self, frame: Frame) -> None:
        """Take words, audio or the end from the worker."""
        if frame.kind is Kind.EVENT:
            self._words += [WordMark(*word) for word in frame.json()["words"]]
        elif frame.kind is Kind.AUDIO:
            self._add(np.frombuffer(frame.payload, "<i2").astype(np.int16))
        elif frame.kind is Kind.ERROR:
            self.handle_lost(self._failure("synthesis failed", "engine_failed"))
        elif frame.kind is Kind.END:
            if self._words:
                self._add(np.zeros(0, np.int16))
            self._ended = True
        self._changed.set()

    def handle_lost(self, error: EngineError) -> None:
        """The worker is gone: what came is still spoken, then ``error`` is raised."""
        self._error = error
        self._changed.set()

    async def next(self, timeout_s: float) -> SpeechChunk | None:
        """The next chunk, or None at the end; TimeoutError when the worker is silent."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._changed.clear()
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        chunk = self._chunks.popleft()
        self._bytes -= chunk.pcm.nbytes
        return chunk

    def _add(self, pcm: Pcm) -> None:
        if self._bytes + pcm.nbytes > MAX_QUEUED_BYTES:
            self._error = self._failure("the text makes too much speech", "text_too_long")
            return
        self._chunks.append(SpeechChunk(pcm, tuple(self._words)))
        self._words.clear()
        self._bytes += pcm.nbytes

    def _failure(self, message: str, code: str) -> EngineError:
        return EngineError(f"{self._engine}: {message}", engine=self._engine, code=code)


async def speak_by_worker(
    pool: WorkerPool, parameters: Mapping[str, Any], *, engine: str, timeout_s: float
) -> AsyncGenerator[SpeechChunk, None]:
    """Yield what a worker of ``pool`` makes of ``parameters``.

    Closing the iterator stops the worker in the middle; a worker that sends
    nothing for ``timeout_s`` seconds is killed and EngineError ``tts_timeout``
    raised.
    """
    queue = SpeechQueue(engine)
    channel = await pool.open(parameters, queue)
    patience_s = 3.0
    try:
        while (chunk := await queue.next(timeout_s)) is not None:
            yield chunk
    except TimeoutError:
        patience_s = 0.0
        raise EngineError(
            f"{engine}: no speech in time", engine=engine, code="tts_timeout"
        ) from None
    finally:
        channel.abandon(patience_s)
