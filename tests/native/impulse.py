"""What a resampler does, read off its answers to single samples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler

PAIRS = [
    (8000, 16000),
    (8000, 24000),
    (8000, 48000),
    (8000, 12000),
    (16000, 8000),
    (16000, 24000),
    (16000, 48000),
    (22050, 16000),
    (22050, 24000),
    (22050, 48000),
    (24000, 8000),
    (24000, 16000),
    (24000, 48000),
    (32000, 8000),
    (44100, 16000),
    (44100, 48000),
    (48000, 8000),
    (48000, 16000),
    (48000, 22050),
    (48000, 24000),
]
PROFILES = ["voice", "hq"]


def ratio(from_hz: int, to_hz: int) -> tuple[int, int]:
    """L and M."""
    common = math.gcd(from_hz, to_hz)
    return to_hz // common, from_hz // common


def prototype(from_hz: int, to_hz: int, profile: str) -> NDArray[np.float64]:
    """The filter's taps g at L times the input rate: out[k] = sum over i of g[kM - iL] in[i].

    A single sample at i = 0 .. M-1 shows every M-th of them.
    """
    up, down = ratio(from_hz, to_hz)
    resampler = Resampler(from_hz, to_hz, profile=profile, dtype="float32")
    length = 2 * round(resampler.delay_ms * from_hz * up / 1000) + 1
    taps = np.zeros(length)
    for at in range(down):
        alone = np.zeros(at + (length - 1) // up + 1, np.float32)
        alone[at] = 1.0
        out = resampler.process(alone)
        resampler.reset()
        index = np.arange(len(out)) * down - at * up
        inside = (index >= 0) & (index < length)
        assert not out[~inside].any()
        taps[index[inside]] = out[inside]
    return taps


def convolved(
    pcm: NDArray[np.generic], taps: NDArray[np.float64], up: int, down: int
) -> NDArray[np.float64]:
    """All ceil(N L / M) outputs for N inputs, in double precision."""
    count = -(-len(pcm) * up // down)
    longest = -(-len(taps) // up)
    branches = np.zeros((up, longest))
    for branch in range(up):
        own = taps[branch::up]
        branches[branch, : len(own)] = own
    before = np.concatenate([np.zeros(longest - 1), pcm])
    windows = np.lib.stride_tricks.sliding_window_view(before, longest)[:, ::-1]
    due = np.arange(count) * down
    return np.einsum("kj,kj->k", windows[due // up], branches[due % up])


def response_db(taps: NDArray[np.float64], points: int = 1 << 16) -> NDArray[np.float64]:
    """Magnitude from 0 to half the rate of the taps, in dB over that of a constant."""
    spectrum = np.abs(np.fft.rfft(taps, points))
    return 20 * np.log10(spectrum / spectrum[0] + 1e-12)
