"""Text to speech by the system's flite: a clearer voice than espeak, English alone."""

from __future__ import annotations

import ctypes
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

from voicecore.engines.options import Option
from voicecore.engines.pool import WorkerPool
from voicecore.engines.protocols import SpeechChunk
from voicecore.engines.tts.speakable import speakable
from voicecore.engines.tts.worker_stream import speak_by_worker
from voicecore.errors import EngineError, MisuseError

RATE_HZ: Final = 16_000
VOICES: Final = ("slt", "rms", "awb", "kal16")


class FliteTts:
    """flite in ``workers`` processes, each speaking one text at a time.

    No word marks: the library tells none. It speaks some ten times faster than
    real time and gives a sentence when it is whole, so the first sound of a
    sentence of two seconds comes after 50 to 200 ms. Up to 64 texts wait in
    line, 10 s at most, then EngineError ``tts_busy``.
    """

    name = "flite"
    rate_hz = RATE_HZ

    def __init__(
        self,
        voice: Annotated[str, Option("slt, rms, awb or kal16")] = "slt",
        *,
        workers: Annotated[int, Option("processes, 1 to 16")] = 1,
        timeout_s: Annotated[float, Option("a process silent for so long is replaced")] = 10.0,
    ) -> None:
        """Make the pool; nothing is started.

        ``voice``: one of ``slt``, ``rms``, ``awb``, ``kal16``; ``workers``:
        1..16; ``timeout_s``: a worker silent for longer is killed.
        """
        if voice not in VOICES:
            raise MisuseError(f"voice must be one of {', '.join(VOICES)}, got {voice!r}")
        if not 1 <= workers <= 16:
            raise MisuseError(f"workers must be 1..16, got {workers}")
        if timeout_s <= 0:
            raise MisuseError(f"timeout_s must be positive, got {timeout_s}")
        self._timeout_s = timeout_s
        self.pool = WorkerPool(
            "voicecore.engines.tts.flite_worker",
            {"voice": voice},
            engine=self.name,
            workers=workers,
            max_waiting=64,
            wait_s=10.0,
            busy_code="tts_busy",
        )

    @staticmethod
    def missing(voice: str = "slt", **options: object) -> list[str]:
        """A sentence if the system has no flite, or not this voice."""
        try:
            for name in ("libflite.so.1", f"libflite_cmu_us_{voice}.so.1"):
                ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            return [f"there is no flite, or not its voice {voice!r}: apt-get install libflite1"]
        return []

    async def start(self) -> None:
        """Start the workers; MissingLibraryError, naming the package, without flite."""
        await self.pool.start()
        rate_hz = self.pool.workers[0].info["rate_hz"]
        if rate_hz != RATE_HZ:
            await self.close()
            raise EngineError(f"flite: speaks at {rate_hz} Hz, not {RATE_HZ}", engine=self.name)

    async def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        """Yield the speech of ``text`` in chunks of up to half a second.

        A text without letters or digits yields nothing. Raises EngineError
        (``tts_busy``, ``tts_timeout``, ``worker_lost``, ``text_too_long``).
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

    async def close(self) -> None:
        """End the workers; texts being spoken get EngineError."""
        await self.pool.close()
