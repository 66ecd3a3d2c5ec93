"""Speech to text on this machine: streaming models by sherpa-onnx.

Words come while the caller speaks, and little is left to do when he ends. Which
directories are understood: :mod:`voicecore.engines.stt.sherpa_files`. Nothing is ever
downloaded.
"""

from __future__ import annotations

import asyncio
from os import PathLike
from pathlib import Path
from typing import Annotated

from voicecore.engines.options import LocalPath, Option
from voicecore.engines.stt.sherpa_files import OPTION, Family, find_files
from voicecore.engines.stt.worker_stream import WorkerStt
from voicecore.errors import EngineError, MisuseError, VoicecoreError


class SherpaStt(WorkerStt):
    """One model in ``workers`` processes, each serving ``streams`` utterances at once.

    Partial texts come about every 200 ms while they change; the final text has the
    time of each word where the model tells it, 40 ms or so exact at a word's
    beginning. What a model with capital letters alone writes is made small.
    """

    name = "sherpa"

    def __init__(
        self,
        *,
        model: Annotated[Path, LocalPath("directory of a streaming model")],
        family: Annotated[Family, Option("kind of model; auto: by its files")] = "auto",
        threads: Annotated[int, Option("threads of a worker, 1..16")] = 1,
        workers: Annotated[int, Option("processes, each with the model in memory, 1..64")] = 1,
        streams: Annotated[int, Option("utterances a worker takes at once, 1..64")] = 16,
        nice: Annotated[int, Option("by how much workers give way to other processes, 0..19")] = 5,
        finish_timeout_s: Annotated[float, Option("wait for the final text so long")] = 10.0,
        wait_s: Annotated[float, Option("wait for a worker with room so long")] = 3.0,
    ) -> None:
        """Make the pool; nothing is started, ``model`` isn't looked at.

        ``finish_timeout_s``: how long ``finish()`` waits. ``wait_s``: how long
        ``open()`` waits for a worker with room.
        """
        if not 1 <= threads <= 16:
            raise MisuseError(f"sherpa.threads must be 1..16, got {threads}")
        if not 0 <= nice <= 19:
            raise MisuseError(f"sherpa.nice must be 0..19, got {nice}")
        self._model = Path(model)
        self._family = family
        super().__init__(
            "voicecore.engines.stt.sherpa_worker",
            {"model": str(model), "family": family, "threads": threads, "nice": nice},
            workers=workers,
            streams=streams,
            finish_timeout_s=finish_timeout_s,
            wait_s=wait_s,
            ready_timeout_s=120.0,
        )

    @staticmethod
    def missing(model: str | PathLike[str] = "", family: str = "auto", **_: object) -> list[str]:
        """What is wrong with the model's directory, if anything."""
        try:
            find_files(Path(model), family)
        except VoicecoreError as error:
            return [str(error)]
        return []

    async def start(self) -> None:
        """Load the model in all workers; twice is fine.

        Raises MissingLibraryError without sherpa-onnx or without the model's files,
        MisuseError where it isn't clear which are meant, EngineError
        (``stt_bad_model``).
        """
        found = await asyncio.to_thread(find_files, self._model, self._family)
        try:
            await super().start()
        except EngineError as error:
            if error.code != "worker_lost":
                raise
            # What it doesn't find in a model's metadata, the library answers by exit().
            raise EngineError(
                f"sherpa: the library gave the model up, its reason is on standard error: check "
                f"that {OPTION} holds a streaming {found.family}, and sherpa.family",
                engine=self.name,
                code="stt_bad_model",
            ) from error
