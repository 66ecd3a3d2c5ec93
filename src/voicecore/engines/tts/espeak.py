"""Text to speech offline: espeak-ng from its wheel, with the time of each word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

import numpy as np

from voicecore.engines.options import Option
from voicecore.engines.pool import WorkerPool
from voicecore.engines.protocols import SpeechChunk
from voicecore.engines.tts.speakable import speakable
from voicecore.engines.tts.worker_stream import speak_by_worker
from voicecore.errors import EngineError, MisuseError

RATE_HZ: Final = 22_050


class EspeakTts:
    """espeak-ng in ``workers`` processes, each speaking one text at a time.

    Texts are served in the order of asking; up to 64 wait, 5 s at most, then
    EngineError ``tts_busy``. As a second of speech takes some 3 ms, one worker
    serves a hundred callers.
    """

    name = "espeak"
    rate_hz = RATE_HZ

    def __init__(
        self,
        voice: Annotated[str, Option("a voice of espeak-ng, its language first")] = "en-us",
        *,
        speed_wpm: Annotated[int, Option("words a minute, 80 to 450")] = 170,
        pitch: Annotated[int, Option("height of the voice, 0 to 99")] = 50,
        pause_ms: Annotated[float, Option("silence after each text, 0 to 2000")] = 150.0,
        workers: Annotated[int, Option("processes, 1 to 16")] = 1,
        timeout_s: Annotated[float, Option("a process silent for so long is replaced")] = 5.0,
    ) -> None:
        """Make the pool; nothing is started.

        ``voice``: an espeak-ng voice name; ``speed_wpm``: 80..450 words a minute;
        ``pitch``: 0..99; ``pause_ms``: 0..2000 of silence after each text, since
        espeak makes none and the next text may follow at once; ``workers``:
        1..16; ``timeout_s``: a worker silent for longer is killed.
        """
        for label, value, low, high in (
            ("speed_wpm", speed_wpm, 80, 450),
            ("pitch", pitch, 0, 99),
            ("pause_ms", pause_ms, 0, 2000),
            ("workers", workers, 1, 16),
        ):
            if not low <= value <= high:
                raise MisuseError(f"{label} must be {low}..{high}, got {value}")
        if timeout_s <= 0:
            raise MisuseError(f"timeout_s must be positive, got {timeout_s}")
        self._timeout_s = timeout_s
        self._pause_samples = round(pause_ms * RATE_HZ / 1000.0)
        self.pool = WorkerPool(
            "voicecore.engines.tts.espeak_worker",
            {"voice": voice, "speed_wpm": speed_wpm, "pitch": pitch},
            engine=self.name,
            workers=workers,
            max_waiting=64,
            wait_s=5.0,
            busy_code="tts_busy",
        )

    async def start(self) -> None:
        """Start the workers.

        Raises MissingLibraryError without espeakng-loader, EngineError
        ``unknown_voice``.
        """
        await self.pool.start()
        rate_hz = self.pool.workers[0].info["rate_hz"]
        if rate_hz != RATE_HZ:
            await self.close()
            raise EngineError(f"espeak: speaks at {rate_hz} Hz, not {RATE_HZ}", engine=self.name)

    async def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        """Yield the speech of ``text``, a word or a few at a time, with a mark for each word.

        A text without letters or digits yields nothing. Raises EngineError
        (``tts_busy``, ``tts_timeout``, ``worker_lost``; ``text_too_long`` beyond
        5000 characters).
        """
        spoken = speakable(text, self.name)
        if not spoken:
            return
        speech = speak_by_worker(
            self.pool, {"text": spoken}, engine=self.name, timeout_s=self._timeout_s
        )
        async with aclosing(speech):
            async for chunk in speech:
                yield chunk
        if self._pause_samples:
            yield SpeechChunk(np.zeros(self._pause_samples, np.int16))

    async def close(self) -> None:
        """End the workers; texts being spoken get EngineError."""
        await self.pool.close()
