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

_FLOAT32 = np.dtype(np.float32)


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
    shape = (samples,)
    for stream, frame in batch:
        # What nearly every batch passes; `type` and `is` cost a fraction of what the
        # general questions do.
        if (
            type(stream) is not stream_type
            or type(frame) is not np.ndarray
            or frame.dtype is not _FLOAT32
            or frame.shape != shape
        ):
            break
    else:
        if len(batch) == 1 or len({id(stream) for stream, _ in batch}) == len(batch):
            return
    _find_fault(batch, stream_type, shape)


def _find_fault(batch: Sequence[tuple[Any, Any]], stream_type: type, shape: tuple[int]) -> None:
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
        if frame.dtype != _FLOAT32 or frame.shape != shape:
            raise MisuseError(
                f"batch[{index}] has a {frame.dtype} frame of shape {frame.shape}, "
                f"wanted float32 {shape}"
            )
        if id(stream) in seen:
            raise MisuseError(
                f"batch[{index}] repeats a stream: give each stream one frame in a batch"
            )
        seen.add(id(stream))
