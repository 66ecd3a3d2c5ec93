"""What an ONNX turn-detection model wants to hear, and how it is made of the audio.

===========================  ==================================================
the model's only input       is given
===========================  ==================================================
float [1, n]                 the waveform at 16 kHz, full scale 1
float [1, mels, frames]      log-mel frames as Whisper's: 25 ms windows every
float [1, frames, mels]      10 ms, 40, 64, 80 or 128 mels; the waveform is
                             brought to mean 0 and variance 1 before
===========================  ==================================================

The batch may be open or 1. Where the length is fixed (0.1 to 30 s), audio is
padded with silence in front, and of a longer turn the end is taken; where it is
open, the audio is given at its own length, 0.1 s at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecore._native.features import FeatureStream

RATE_HZ = 16_000
HOP_SAMPLES = 160
MELS = (40, 64, 80, 128)
SHORTEST_S = 0.1
LONGEST_S = 30

Floats = NDArray[np.float32]


class UnknownInputError(Exception):
    """The model wants something else; the text says what."""


@dataclass(frozen=True, slots=True)
class ModelInput:
    """The one input of a model. ``samples`` is its fixed length, None for an open one."""

    name: str
    samples: int | None
    mels: int | None
    """None for a waveform."""
    frames_first: bool = False

    def prepare(self, pcm: NDArray[np.int16], unit_variance: bool) -> Floats:
        """The model's input for ``pcm``, a fresh array."""
        wave = _fit(pcm.astype(np.float32) / np.float32(32768), self.samples)
        if unit_variance:
            wave = ((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)).astype(np.float32)
        if self.mels is None:
            return wave[None]
        frames = _whisper_frames(wave, self.mels)
        return np.ascontiguousarray(frames if self.frames_first else frames.T)[None]


def read_input(inputs: list[Any]) -> ModelInput:
    """Know the input of an onnxruntime session. Raises UnknownInputError."""
    if len(inputs) != 1:
        names = ", ".join(node.name for node in inputs) or "none"
        raise UnknownInputError(f"it must have one input, the audio, and has: {names}")
    node = inputs[0]
    shape = [size if isinstance(size, int) else None for size in node.shape]
    if node.type != "tensor(float)":
        raise UnknownInputError(f"its input is {node.type}, not tensor(float)")
    if len(shape) not in (2, 3) or shape[0] not in (1, None):
        raise UnknownInputError(
            f"its input has the shape {node.shape}, neither [1, samples] nor log-mel [1, {MELS}, n]"
        )
    if len(shape) == 2:
        return ModelInput(node.name, _checked(shape[1]), None)
    return _log_mel_input(node.name, shape[1], shape[2])


def _log_mel_input(name: str, first: int | None, second: int | None) -> ModelInput:
    frames_first = first not in MELS
    frames, mels = (first, second) if frames_first else (second, first)
    if mels not in MELS:
        raise UnknownInputError(f"no axis of its input has {MELS} mels")
    samples = None if frames is None else _checked(frames * HOP_SAMPLES)
    return ModelInput(name, samples, mels, frames_first)


def _checked(samples: int | None) -> int | None:
    if samples is not None and not SHORTEST_S <= samples / RATE_HZ <= LONGEST_S:
        raise UnknownInputError(
            f"its input lasts {samples / RATE_HZ:g} s, not {SHORTEST_S} to {LONGEST_S} s"
        )
    return samples


def _fit(wave: Floats, samples: int | None) -> Floats:
    wanted = max(len(wave), round(SHORTEST_S * RATE_HZ)) if samples is None else samples
    wave = wave[-wanted:]
    return np.concatenate([np.zeros(wanted - len(wave), np.float32), wave])


def _whisper_frames(wave: Floats, mels: int) -> Floats:
    """Log-mel frames [frames, mels] of all of ``wave``, scaled as Whisper scales a clip."""
    stream = FeatureStream(RATE_HZ, n_mels=mels, history_s=LONGEST_S)
    stream.push(wave)
    stream.flush()
    frames = stream.log_mel(0, stream.frames)
    scaled: Floats = (np.maximum(frames, frames.max() - 8) + 4) / 4
    return scaled
