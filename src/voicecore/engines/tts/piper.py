"""Text to speech on this machine: piper with a voice file of one's own.

piper is under the GPL: it runs in its own process, and comes by an extra of its own.
The voice is a local file; nothing is downloaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from os import PathLike
from pathlib import Path
from typing import Annotated

from voicecore.engines.options import LocalPath, Option
from voicecore.engines.pool import WorkerPool
from voicecore.engines.protocols import SpeechChunk
from voicecore.engines.tts.piper_voice import read_voice
from voicecore.engines.tts.speakable import speakable
from voicecore.engines.tts.worker_stream import speak_by_worker
from voicecore.errors import MisuseError, VoicecoreError


class PiperTts:
    """A voice in ``workers`` processes, each speaking one text at a time.

    A sentence comes when it is whole; with a voice of medium quality and one thread it
    takes a tenth of the time it sounds, or less. Words have marks where the network
    tells how long each phoneme is, as those that piper trains do. Up to 64 texts wait
    in line, 10 s at most, then EngineError ``tts_busy``.
    """

    name = "piper"

    def __init__(
        self,
        *,
        model: Annotated[Path, LocalPath("a voice's .onnx file, its .onnx.json beside it")],
        speaker: Annotated[str, Option("name or number, where a voice has several")] = "",
        speed: Annotated[float, Option("0.25..4: 2 is twice as fast as the voice's own")] = 1.0,
        threads: Annotated[int, Option("threads of a worker, 1..16")] = 1,
        workers: Annotated[int, Option("processes, each with the voice in memory, 1..16")] = 1,
        nice: Annotated[int, Option("by how much workers give way to other processes, 0..19")] = 5,
        timeout_s: Annotated[float, Option("a process silent for so long is replaced")] = 10.0,
    ) -> None:
        """Make the pool; nothing is started, ``model`` isn't looked at.

        ``timeout_s``: a worker silent for longer is killed. ``rate_hz`` is the
        voice's from :meth:`start` on.
        """
        for label, value, low, high in (
            ("speed", speed, 0.25, 4.0),
            ("threads", threads, 1, 16),
            ("workers", workers, 1, 16),
            ("nice", nice, 0, 19),
        ):
            if not low <= value <= high:
                raise MisuseError(f"piper.{label} must be {low}..{high}, got {value}")
        if timeout_s <= 0:
            raise MisuseError(f"timeout_s must be positive, got {timeout_s}")
        self.rate_hz = 22_050
        self._model = Path(model)
        self._speaker = speaker
        self._timeout_s = timeout_s
        self.pool = WorkerPool(
            "voicecore.engines.tts.piper_worker",
            {
                "model": str(model),
                "speaker": speaker,
                "speed": speed,
                "threads": threads,
                "nice": nice,
            },
            engine=self.name,
            workers=workers,
            max_waiting=64,
            wait_s=10.0,
            busy_code="tts_busy",
            ready_timeout_s=120.0,
        )

    @staticmethod
    def missing(model: str | PathLike[str] = "", speaker: str = "", **_: object) -> list[str]:
        """What is wrong with the voice's files, if anything."""
        try:
            read_voice(Path(model), speaker)
        except VoicecoreError as error:
            return [str(error)]
        return []

    async def start(self) -> None:
        """Load the voice in all workers; twice is fine.

        Raises MissingLibraryError without piper or without the voice's files,
        MisuseError for what is no voice or an unknown speaker, EngineError
        (``tts_bad_model``).
        """
        voice = await asyncio.to_thread(read_voice, self._model, self._speaker)
        self.rate_hz = voice.rate_hz
        await self.pool.start()

    async def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        """Yield the speech of ``text`` in chunks of up to half a second.

        A text without letters or digits yields nothing. Raises MisuseError before
        :meth:`start`, EngineError (``tts_busy``, ``tts_timeout``, ``worker_lost``;
        ``text_too_long`` beyond 5000 characters).
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
