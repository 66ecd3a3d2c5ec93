r"""A voice-activity detector made of loudness alone.

For machines without onnxruntime or the Silero model, and for quiet rooms. It
compares each frame's level with a floor that follows the background. It can't
tell speech from other sounds: music, a keyboard or a door are "speech" to it,
and a whisper near the background is not.

::

    level  ____/‾‾\_/‾\_______      quick to fall: a pause between words shows the floor
    floor  ____________..------     slow to rise: a sentence hardly lifts it
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecore._native.pcm import mean_square
from voicecore.engines.vad.frames import CONTEXT_SAMPLES, check_batch
from voicecore.errors import MisuseError

_QUIETEST_DBFS = -65.0
_LOUDEST_DBFS = -30.0
_START_DBFS = -55.0
_FALL = 0.3
_RISE_DB = 0.06
"""Per 32 ms frame, so about 2 dB a second."""
_MIDDLE_DB = 10.0
_SLOPE_DB = 2.5


class EnergyStream:
    """One caller's background level, ``floor_dbfs`` in -65..-30."""

    __slots__ = ("floor_dbfs",)

    def __init__(self) -> None:
        self.floor_dbfs = _START_DBFS

    def reset(self) -> None:
        """Forget the background, as at the start of a call."""
        self.floor_dbfs = _START_DBFS


class EnergyVad:
    """Voice activity by level over the tracked background.

    A frame 10 dB over the background scores 0.5, 15 dB over it 0.88. About 1 µs
    a frame, nothing shared between streams: any thread may score, each stream in
    one thread at a time.
    """

    def __init__(self) -> None:
        self.name = "energy"

    async def start(self) -> None:
        """Nothing to load."""

    def stream(self) -> EnergyStream:
        """A fresh background estimate, owned by the caller."""
        return EnergyStream()

    def score(self, batch: list[tuple[Any, NDArray[np.float32]]]) -> list[float]:
        """Pseudo-probabilities 0..1 for ``(stream, frame)`` pairs, in order.

        Frames are float32 ``(576,)`` in [-1, 1), read and not kept. Raises
        TypeError or MisuseError for a batch that breaks the rules (a sample that
        is not finite among them) and then has changed no stream.
        """
        check_batch(batch, EnergyStream)
        levels: list[float] = []
        for _, frame in batch:
            try:
                power = mean_square(frame, CONTEXT_SAMPLES)
            except TypeError:  # a view with a stride
                power = mean_square(np.ascontiguousarray(frame), CONTEXT_SAMPLES)
            if not math.isfinite(power):
                raise MisuseError(f"batch[{len(levels)}] holds a sample that is not finite")
            levels.append(10.0 * math.log10(power + 1e-10))
        scores: list[float] = []
        for stream, _ in batch:
            scores.append(_step(stream, levels[len(scores)]))
        return scores

    async def close(self) -> None:
        """Nothing to free."""


def _step(stream: EnergyStream, level_dbfs: float) -> float:
    floor_dbfs = stream.floor_dbfs
    excess_db = level_dbfs - floor_dbfs
    if excess_db < 0.0:
        floor_dbfs += _FALL * excess_db
    elif excess_db < _RISE_DB:
        floor_dbfs += excess_db
    else:
        floor_dbfs += _RISE_DB
    # min and max would be calls.
    if floor_dbfs < _QUIETEST_DBFS:
        floor_dbfs = _QUIETEST_DBFS
    elif floor_dbfs > _LOUDEST_DBFS:
        floor_dbfs = _LOUDEST_DBFS
    stream.floor_dbfs = floor_dbfs
    return 1.0 / (1.0 + math.exp((_MIDDLE_DB - excess_db) / _SLOPE_DB))
