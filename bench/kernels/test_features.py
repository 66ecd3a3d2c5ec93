"""Log-mel frames, a model's input made of them, and the energy VAD.

The peers are what one writes without a native kernel: a real FFT, a matrix of filters, a
logarithm, in NumPy or with SciPy's short-time FFT.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import ShortTimeFFT

from kernels.compiled import SIMD, compiled
from kernels.conftest import Race
from native.mel_oracle import filters
from voicecore._native import simd
from voicecore._native.features import FeatureStream
from voicecore.engines.vad.energy import EnergyVad

RATE_HZ, WINDOW, HOP, MELS = 16_000, 400, 160, 80
HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)
SPEECH = np.random.default_rng(1).normal(0, 3000, 8 * RATE_HZ).clip(-32768, 32767).astype(np.int16)
FRAMES_IN_C = 1000

Step = Callable[[], object]
FILTERS = filters(RATE_HZ, WINDOW, MELS).astype(np.float32)


def _ours(samples: int) -> Step:
    stream = FeatureStream()
    block = SPEECH[:samples]
    return lambda: stream.push(block)


def _numpy(samples: int) -> Step:
    history = np.zeros(WINDOW - HOP + samples, np.float32)

    def step() -> object:
        history[:-samples] = history[samples:]
        history[-samples:] = SPEECH[:samples]
        history[-samples:] *= 1 / 32768
        frames = np.lib.stride_tricks.as_strided(
            history, (samples // HOP, WINDOW), (4 * HOP, 4), writeable=False
        )
        spectrum = np.fft.rfft(frames * HANN)
        power = spectrum.real**2 + spectrum.imag**2
        return np.log10(np.maximum(power @ FILTERS.T, 1e-10))

    return step


def _scipy(samples: int) -> Step:
    stft = ShortTimeFFT(HANN, HOP, RATE_HZ, fft_mode="onesided", mfft=WINDOW, phase_shift=None)
    history = np.zeros(WINDOW - HOP + samples, np.float32)
    first = -(-(WINDOW // 2) // HOP)

    def step() -> object:
        history[:-samples] = history[samples:]
        history[-samples:] = SPEECH[:samples]
        history[-samples:] *= 1 / 32768
        power = stft.spectrogram(history, p0=first, p1=first + samples // HOP)
        return np.log10(np.maximum(FILTERS @ power, 1e-10))

    return step


@pytest.mark.parametrize(("samples", "what"), [(160, "a 10 ms frame"), (320, "a 20 ms block")])
@pytest.mark.parametrize(("who", "make"), [("ours", _ours), ("NumPy", _numpy), ("SciPy", _scipy)])
def test_log_mel(
    race: Race, who: str, make: Callable[[int], Step], samples: int, what: str
) -> None:
    race(f"log-mel: {what} from Python", who, make(samples))


@functools.cache
def _library() -> ctypes.CDLL:
    return compiled("features", *SIMD, "features_plan.c", "fft_plan.c")


@pytest.mark.parametrize("isa", simd.available())
def test_log_mel_in_c(race: Race, isa: str) -> None:
    index = simd.available().index(isa)
    assert _library().features_frames(index, 1) == 0
    race(
        f"log-mel: a 10 ms frame in C, {isa}",
        "ours",
        lambda: _library().features_frames(index, FRAMES_IN_C),
        per_call=FRAMES_IN_C,
        isa=isa,
    )


def _our_clip() -> Step:
    stream = FeatureStream()
    stream.push(SPEECH)
    return lambda: stream.clip(800)


def _numpy_clip() -> Step:
    rows = np.random.default_rng(1).normal(-3, 2, (800, MELS)).astype(np.float32)

    def step() -> object:
        return (np.maximum(np.ascontiguousarray(rows.T), rows.max() - 8) + 4) / 4

    return step


@pytest.mark.parametrize(("who", "make"), [("ours", _our_clip), ("NumPy", _numpy_clip)])
def test_clip(race: Race, who: str, make: Callable[[], Step]) -> None:
    race("log-mel: the last 8 s as a model's input", who, make())


STREAMS = 32
VAD_FRAMES = np.random.default_rng(1).normal(0, 0.1, (STREAMS, 576)).astype(np.float32)


def _our_vad() -> Step:
    vad = EnergyVad()
    batch = [(vad.stream(), frame) for frame in VAD_FRAMES]
    return lambda: vad.score(batch)


def _numpy_levels() -> Step:
    """The levels alone, without the floor that follows them."""

    def step() -> object:
        return [
            10 * math.log10(float(np.dot(frame[64:], frame[64:])) / 512 + 1e-10)
            for frame in VAD_FRAMES
        ]

    return step


@pytest.mark.parametrize(("who", "make"), [("ours", _our_vad), ("NumPy's levels", _numpy_levels)])
def test_energy_vad(race: Race, who: str, make: Callable[[], Step]) -> None:
    race("energy VAD: a 32 ms frame, 32 streams", who, make(), per_call=STREAMS)
