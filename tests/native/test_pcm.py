"""Levels against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from voicecore._native.pcm import block_power, mean_square, peak, rms_dbfs
from voicecore.errors import MisuseError


def test_block_power_equals_numpy(rng):
    frame = rng.uniform(-1, 1, 576).astype(np.float32)
    for block in (1, 64, 100, 576, 1000):
        expected = [np.mean(frame[i : i + block].astype(float) ** 2) for i in range(0, 576, block)]
        assert block_power(frame, block) == pytest.approx(expected)
    assert block_power(frame[:0], 64) == ()


def test_peak_and_rms_equal_numpy(rng):
    for _ in range(50):
        pcm = rng.integers(-32768, 32768, rng.integers(1, 900)).astype(np.int16)
        pcm = (pcm * rng.uniform()).astype(np.int16)
        wide = pcm.astype(float)
        assert peak(pcm) == np.abs(wide).max()
        power = np.mean(wide**2)
        expected = 10 * math.log10(power / 32768**2) if power else -120.0
        assert rms_dbfs(pcm) == pytest.approx(expected)


def test_the_ends_of_the_scale():
    assert peak(np.array([-32768, 32767], np.int16)) == 32768
    assert peak(np.zeros(0, np.int16)) == 0
    assert rms_dbfs(np.full(100_000, -32768, np.int16)) == pytest.approx(0.0)
    assert rms_dbfs(np.zeros(10, np.int16)) == -120.0
    assert rms_dbfs(np.zeros(0, np.int16)) == -120.0


def test_wrong_input_is_named():
    with pytest.raises(TypeError, match="float32"):
        block_power(np.zeros(4), 2)
    with pytest.raises(MisuseError, match="block"):
        block_power(np.zeros(4, np.float32), 0)
    with pytest.raises(TypeError, match="int16"):
        peak(np.zeros(4, np.int64))
    with pytest.raises(TypeError, match="list"):
        rms_dbfs([1, 2])


def test_mean_square_equals_numpy(rng):
    for n in (1, 15, 64, 512, 576):
        frame = rng.uniform(-1, 1, n).astype(np.float32)
        for skip in {0, n // 9, n - 1}:
            exact = np.mean(frame[skip:].astype(float) ** 2)
            assert mean_square(frame, skip) == pytest.approx(exact, rel=1e-5)
    assert not np.isfinite(mean_square(np.full(576, np.nan, np.float32)))
    for skip in (-1, 576):
        with pytest.raises(MisuseError, match="skip"):
            mean_square(np.zeros(576, np.float32), skip)
    with pytest.raises(MisuseError, match="skip"):
        mean_square(np.zeros(0, np.float32))
    with pytest.raises(TypeError, match="float32"):
        mean_square(np.zeros(576))
