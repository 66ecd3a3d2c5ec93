"""Sample arithmetic against plain NumPy, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from voicecore._native.pcm import (
    apply_gain,
    block_power,
    mean_square,
    meter,
    mix,
    peak,
    rms_dbfs,
    to_float32,
    to_int16,
)
from voicecore.errors import MisuseError

LENGTHS = [*range(71), 160, 320, 441, 960, 4096, 4097, 5001]
HARD = [np.nan, -np.nan, np.inf, -np.inf, 1e30, -1e30, 65536.0, -65536.0, 1.0, -1.0, 1e-40]


def random_pcm(rng, n):
    """Random samples that don't begin at an aligned address, some at both ends of the scale."""
    pcm = rng.integers(-32768, 32768, n + 8).astype(np.int16)
    pcm[rng.random(n + 8) < 0.05] = -32768
    pcm[rng.random(n + 8) < 0.05] = 32767
    start = int(rng.integers(0, 9))
    return pcm[start : start + n]


def gained(pcm, gain, end_gain):
    """The documented ramp, in NumPy's float32."""
    n = len(pcm)
    gain, end_gain = np.float32(gain), np.float32(end_gain)
    step = (end_gain - gain) / np.float32(n) if n else np.float32(0)
    factors = np.arange(n, dtype=np.float32) * step + gain
    return np.clip(np.rint(pcm.astype(np.float32) * factors), -32768, 32767).astype(int)


def test_to_float32_equals_numpy(rng):
    for n in LENGTHS:
        pcm = random_pcm(rng, n)
        out = np.empty(n, np.float32)
        assert to_float32(pcm, out) is out
        np.testing.assert_array_equal(out, pcm.astype(np.float32) / 32768)
        np.testing.assert_array_equal(to_float32(pcm), out)


def test_to_int16_rounds_to_even_clips_and_makes_nan_zero(rng):
    for n in LENGTHS:
        samples = rng.uniform(-1.2, 1.2, n).astype(np.float32)
        if n % 2:
            hard = rng.random(n) < 0.1
            samples[hard] = rng.choice(HARD, int(hard.sum()))
        halves = rng.random(n) < 0.2
        samples[halves] = (rng.integers(-30000, 30000, int(halves.sum())) + 0.5) / 32768
        wide = np.nan_to_num(samples.astype(float), nan=0.0, posinf=9.0, neginf=-9.0) * 32768
        expected = np.clip(np.rint(wide), -32768, 32767).astype(np.int16)
        out = np.empty(n, np.int16)
        assert to_int16(samples, out=out) is out
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(to_int16(samples), expected)


def test_there_and_back_is_exact():
    every = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(to_int16(to_float32(every)), every)


def test_gain_and_mix_equal_numpy(rng):
    for n in LENGTHS:
        a, b = random_pcm(rng, n), random_pcm(rng, n)
        gain, end_gain = rng.uniform(-2, 2, 2)
        louder = gained(b, gain, end_gain)
        mixed = np.clip(a + louder, -32768, 32767)
        np.testing.assert_array_equal(apply_gain(b, gain, end_gain), louder)
        np.testing.assert_array_equal(mix(a, b, gain, end_gain), mixed)
        np.testing.assert_array_equal(apply_gain(b, gain), gained(b, gain, gain))
        own = a.copy()
        assert mix(own, b, gain, end_gain, out=own) is own
        np.testing.assert_array_equal(own, mixed)
        own = b.copy()
        np.testing.assert_array_equal(mix(a, own, gain, end_gain, out=own), mixed)
        own = b.copy()
        assert apply_gain(own, gain, end_gain, out=own) is own
        np.testing.assert_array_equal(own, louder)


def test_a_ramp_over_blocks_has_no_step():
    pcm = np.full(960, 20_000, np.int16)
    ducked = np.concatenate(
        (apply_gain(pcm, 1.0), apply_gain(pcm, 1.0, 0.25), apply_gain(pcm, 0.25))
    )
    assert ducked[0] == 20_000
    assert ducked[-1] == 5_000
    assert np.abs(np.diff(ducked.astype(int))).max() <= 17  # 15,000 over 960 samples


def test_no_gain_is_no_change_and_a_negative_one_clips(rng):
    pcm = random_pcm(rng, 500)
    np.testing.assert_array_equal(apply_gain(pcm, 1.0), pcm)
    np.testing.assert_array_equal(mix(pcm, pcm, 0.0), pcm)
    assert apply_gain(np.array([-32768], np.int16), -1.0)[0] == 32767


def test_meter_equals_numpy(rng):
    for n in LENGTHS:
        pcm = random_pcm(rng, n) >> int(rng.integers(0, 15))
        wide = pcm.astype(np.int64)
        crossings = int(np.count_nonzero(np.diff(wide < 0))) if n else 0
        expected = (int(np.abs(wide).max()) if n else 0, int((wide**2).sum()), crossings)
        assert meter(pcm) == expected
        assert peak(pcm) == expected[0]


def test_zero_counts_as_positive_in_a_crossing():
    assert meter(np.array([5, 0, 5, 0, 0], np.int16)) == (5, 50, 0)
    assert meter(np.array([-1, 0, -1, 0], np.int16)) == (1, 2, 3)


def test_meter_of_a_long_loud_block_is_exact():
    loud = np.tile(np.array([-32768, 32767], np.int16), 1_200_000)
    energy = 1_200_000 * (32768**2 + 32767**2)
    assert meter(loud) == (32768, energy, len(loud) - 1)


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


def test_wrong_arrays_and_gains_are_refused():
    pcm, samples = np.zeros(8, np.int16), np.zeros(8, np.float32)
    for call in (
        lambda: to_float32(samples),
        lambda: to_int16(pcm),
        lambda: to_int16(samples.astype(np.float64)),
        lambda: mix(pcm, samples),
        lambda: apply_gain(pcm[::2], 1.0),
        lambda: meter(pcm.reshape(2, 4)),
        lambda: meter(pcm.astype(">i2")),
        lambda: to_float32(pcm, out=pcm),
        lambda: to_float32(pcm, out=bytearray(32)),
        lambda: apply_gain(pcm, 1.0, out=np.zeros(16, np.int16)[::2]),
    ):
        with pytest.raises(TypeError, match=r"must be a contiguous"):
            call()
    locked = np.zeros(8, np.int16)
    locked.flags.writeable = False
    with pytest.raises(TypeError, match="writable"):
        apply_gain(pcm, 1.0, out=locked)
    with pytest.raises(MisuseError, match="must have 8 samples, it has 7"):
        mix(pcm, pcm, out=np.zeros(7, np.int16))
    with pytest.raises(MisuseError, match="8 and 7"):
        mix(pcm, pcm[:7])
    for gain in (math.nan, math.inf, 1001.0, -1001.0):
        with pytest.raises(MisuseError, match="gain"):
            apply_gain(pcm, gain)
        with pytest.raises(MisuseError, match="end_gain"):
            mix(pcm, pcm, 1.0, gain)


def test_out_that_overlaps_an_input_is_refused():
    block = np.zeros(40, np.int16)
    pcm, shifted = block[:20], block[1:21]
    for call in (
        lambda: apply_gain(pcm, 1.0, out=shifted),
        lambda: mix(shifted, pcm, out=shifted),
        lambda: mix(pcm, shifted, out=shifted),
        lambda: to_float32(pcm, out=block.view(np.float32)[:20]),
        lambda: to_int16(block.view(np.float32), out=pcm),
    ):
        with pytest.raises(MisuseError, match="shares memory"):
            call()


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
