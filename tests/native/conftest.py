"""Fixtures for the kernels: a printed seed, speech-like audio, and libopus by two other ways."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import random
import sys
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from voicecore._native.libs import find_libopus

Pcm = NDArray[np.int16]


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator whose seed is printed; set VOICECORE_SEED to repeat a run."""
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    return np.random.default_rng(seed)


def voiced(rate_hz: int, seconds: float, pitch_hz: float = 120.0) -> Pcm:
    """Harmonics under a slow envelope: enough like a vowel for codecs and pitch searches."""
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    wave = sum(
        np.sin(2 * np.pi * pitch_hz * k * t + k) / k
        for k in range(1, int(3400 // pitch_hz))
        if pitch_hz * k < rate_hz * 0.45
    )
    return (4000 * (0.7 + 0.3 * np.sin(2 * np.pi * 3 * t)) * wave).astype(np.int16)


@pytest.fixture
def speech_like():
    """``speech_like(rate_hz, seconds, pitch_hz=120)`` -> int16."""
    return voiced


@pytest.fixture(scope="session")
def c_opus() -> ctypes.CDLL:
    """The same libopus through plain ctypes."""
    library = ctypes.CDLL(str(find_libopus()))
    library.opus_decoder_create.restype = ctypes.c_void_p
    library.opus_encoder_create.restype = ctypes.c_void_p
    library.opus_get_version_string.restype = ctypes.c_char_p
    return library


@pytest.fixture(scope="session")
def opuslib() -> ModuleType:
    """The opuslib package on the same libopus.

    Its import asks ctypes.util for the system's library and raises without one.
    """
    patch = pytest.MonkeyPatch()
    original = ctypes.util.find_library
    path = str(find_libopus())
    patch.setattr(ctypes.util, "find_library", lambda n: path if n == "opus" else original(n))
    try:
        module = pytest.importorskip("opuslib", exc_type=ImportError)
    finally:
        patch.undo()
    assert "opuslib" in sys.modules
    return module
