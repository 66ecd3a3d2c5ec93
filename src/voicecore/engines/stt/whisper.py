"""Speech to text on this machine: Whisper models by faster-whisper (CTranslate2).

Such a model hears an utterance as a whole: it is decoded when the caller pauses. What
it costs hardly depends on the length, since its encoder always works on 30 s. The
directory is never looked for anywhere else, and nothing is downloaded.
"""

from __future__ import annotations

import asyncio
from os import PathLike
from pathlib import Path
from typing import Annotated, Final, Literal

from voicecore.engines.local_model import model_directory, need_files
from voicecore.engines.options import LocalPath, Option
from voicecore.engines.stt.worker_stream import WorkerStt
from voicecore.errors import MisuseError, VoicecoreError

OPTION: Final = "whisper.model"
# Without a tokenizer of its own faster-whisper would fetch one.
FILES: Final = ("model.bin", "config.json", "tokenizer.json")


class WhisperStt(WorkerStt):
    """One model in ``workers`` processes, each holding ``streams`` utterances at once.

    They are decoded one after the other, so ``workers`` times what a decode takes
    bounds how many callers can end their turns in a second. Texts have capitals and
    punctuation; the final one has the time of each word. What is quieter than
    -54 dBFS throughout is taken for silence, in which Whisper likes to hear words.
    """

    name = "whisper"

    def __init__(
        self,
        *,
        model: Annotated[Path, LocalPath("directory of a converted model (model.bin)")],
        language: Annotated[str, Option("code as en or de; empty: told by the sound")] = "",
        partial_s: Annotated[
            float, Option("a partial text per so many seconds of speech, 0: none")
        ] = 1.0,
        beam_size: Annotated[int, Option("1..10: more is slower and a little better")] = 1,
        device: Annotated[Literal["cpu", "cuda"], Option("where it runs")] = "cpu",
        compute_type: Annotated[str, Option("CTranslate2's: int8, float32, float16")] = "int8",
        threads: Annotated[int, Option("threads of a worker, 1..16")] = 1,
        workers: Annotated[int, Option("processes, each with the model in memory, 1..64")] = 1,
        streams: Annotated[int, Option("utterances a worker holds at once, 1..64")] = 16,
        nice: Annotated[int, Option("by how much workers give way to other processes, 0..19")] = 5,
        finish_timeout_s: Annotated[float, Option("wait for the final text so long")] = 15.0,
        wait_s: Annotated[float, Option("wait for a worker with room so long")] = 3.0,
    ) -> None:
        """Make the pool; nothing is started, ``model`` isn't looked at.

        Partials decode all that was said so far once more: they are at least
        ``partial_s`` of speech apart, take at most a quarter of a worker's time, and
        are left out while anything else waits, and in pauses. ``finish_timeout_s``: how long
        ``finish()`` waits. ``wait_s``: how long ``open()`` waits for a worker with room.
        """
        for label, value, low, high in (
            ("partial_s", partial_s, 0.0, 30.0),
            ("beam_size", beam_size, 1, 10),
            ("threads", threads, 1, 16),
            ("nice", nice, 0, 19),
        ):
            if not low <= value <= high:
                raise MisuseError(f"whisper.{label} must be {low}..{high}, got {value}")
        self._model = Path(model)
        super().__init__(
            "voicecore.engines.stt.whisper_worker",
            {
                "model": str(model),
                "language": language,
                "partial_s": partial_s,
                "beam_size": beam_size,
                "device": device,
                "compute_type": compute_type,
                "threads": threads,
                "nice": nice,
            },
            workers=workers,
            streams=streams,
            finish_timeout_s=finish_timeout_s,
            wait_s=wait_s,
            ready_timeout_s=120.0,
            # A decode can't be interrupted.
            piece_limit_s=finish_timeout_s,
        )

    @staticmethod
    def missing(model: str | PathLike[str] = "", **_: object) -> list[str]:
        """What is wrong with the model's directory, if anything."""
        try:
            _check(Path(model))
        except VoicecoreError as error:
            return [str(error)]
        return []

    async def start(self) -> None:
        """Load the model in all workers; twice is fine.

        Raises MissingLibraryError without faster-whisper or without the model's files,
        EngineError (``stt_bad_model``).
        """
        await asyncio.to_thread(_check, self._model)
        await super().start()


def _check(directory: Path) -> None:
    model_directory(OPTION, directory, ", ".join(FILES))
    need_files(OPTION, directory, FILES)
