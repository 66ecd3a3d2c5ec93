"""The shape of a VAD frame, and the checks every VAD engine makes on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from voicecore.errors import MisuseError

RATE_HZ = 16_000
"""Sample rate of every frame, unless an engine was made for another one."""

CONTEXT_SAMPLES = 64
"""Samples repeated from the end of the frame before."""

NEW_SAMPLES = 512
"""New samples in a frame: 32 ms."""

FRAME_SAMPLES = CONTEXT_SAMPLES + NEW_SAMPLES
"""Samples in a frame: context first, then the new ones."""


def frame_samples(rate_hz: int) -> int:
    """Samples in a frame at 16000 or 8000 Hz (576 or 288): 4 ms of context and 32 new."""
    return FRAME_SAMPLES * rate_hz // RATE_HZ


def check_batch(
    batch: Sequence[tuple[Any, Any]], stream_type: type, samples: int = FRAME_SAMPLES
) -> None:
    """Check types, shapes and that each stream comes once.

    Raises TypeError for a stream of another engine or something that is no
    array, :class:`~voicecore.errors.MisuseError` for a wrong dtype, a shape other
    than ``(samples,)`` or a stream given twice. Samples are not looked at.
    """
    seen: set[int] = set()
    for index, (stream, frame) in enumerate(batch):
        if not isinstance(stream, stream_type):
            raise TypeError(
                f"batch[{index}] holds a {type(stream).__name__}, wanted a "
                f"{stream_type.__name__} from this engine's stream()"
            )
        if not isinstance(frame, np.ndarray):
            raise TypeError(
                f"batch[{index}] holds a {type(frame).__name__}, wanted a float32 array"
            )
        if frame.dtype != np.float32 or frame.shape != (samples,):
            raise MisuseError(
                f"batch[{index}] has a {frame.dtype} frame of shape {frame.shape}, "
                f"wanted float32 ({samples},)"
            )
        if id(stream) in seen:
            raise MisuseError(
                f"batch[{index}] repeats a stream: give each stream one frame in a batch"
            )
        seen.add(id(stream))
