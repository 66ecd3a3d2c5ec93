"""Log-mel features in float64 NumPy, written from their definition.

Sources: the mel scales from M. Slaney, "Auditory Toolbox", Technical Report 1998-010, and from
"The HTK Book", section 5.4; frames and scaling from the description of Whisper's input (A.
Radford et al., 2022, section 2.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mel_of(hz: Floats, scale: str) -> Floats:
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    above = 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4)
    return np.where(hz < 1000, hz * 3 / 200, above)


def hz_of(mel: Floats, scale: str) -> Floats:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def filters(
    rate_hz: int,
    n_fft: int,
    n_mels: int,
    scale: str = "slaney",
    norm: str | None = "slaney",
    min_hz: float = 0.0,
    max_hz: float | None = None,
) -> Floats:
    """Weights, (n_mels, n_fft // 2 + 1)."""
    ends = mel_of(np.array([min_hz, max_hz or rate_hz / 2]), scale)
    edges = hz_of(np.linspace(ends[0], ends[1], n_mels + 2), scale)
    hz = np.arange(n_fft // 2 + 1) * rate_hz / n_fft
    bank = np.zeros((n_mels, len(hz)))
    for m in range(n_mels):
        left, middle, right = edges[m : m + 3]
        bank[m] = np.clip(
            np.minimum((hz - left) / (middle - left), (right - hz) / (right - middle)), 0, None
        )
        if norm:
            bank[m] *= 2 / (right - left)
    return bank


def framed(pcm: Floats, window: int, hop: int) -> Floats:
    """All whole windows of ``pcm``, (frames, window)."""
    if len(pcm) < window:
        return np.zeros((0, window))
    return np.lib.stride_tricks.sliding_window_view(pcm, window)[::hop]


def log_mel(frames: Floats, bank: Floats, n_fft: int) -> Floats:
    """(frames, n_mels), before any scaling of the clip."""
    window = frames.shape[1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * hann, n_fft)) ** 2
    return np.log10(np.maximum(power @ bank.T, 1e-10))


def whole_clip(pcm: Floats, n_mels: int = 80) -> Floats:
    """A clip at 16 kHz as Whisper sees it before scaling: both ends mirrored, last frame off."""
    padded = np.pad(pcm, 200, mode="reflect")
    return log_mel(framed(padded, 400, 160)[:-1], filters(16_000, 400, n_mels), 400)


def scaled(features: Floats) -> Floats:
    return (np.maximum(features, features.max() - 8) + 4) / 4
