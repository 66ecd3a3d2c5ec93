"""What the resampler's filters let pass, hold back and add, for every pair and profile."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

from native.impulse import PAIRS, PROFILES, prototype, ratio, response_db
from voicecore._native.resample import Resampler

DOWN = [pair for pair in PAIRS if pair[0] > pair[1]]
UP = [pair for pair in PAIRS if pair[0] < pair[1]]
RIPPLE_DB = {"voice": 0.06, "hq": 1e-5}
REJECTION_DB = {"voice": 70, "hq": 100}
LONGEST_MS = {"voice": 2.7, "hq": 5.6}

every = pytest.mark.parametrize(
    ("from_hz", "to_hz", "profile"), [(*pair, profile) for pair in PAIRS for profile in PROFILES]
)


def edge(from_hz, to_hz):
    """End of the pass band, of the lower Nyquist frequency."""
    return 0.84 if min(from_hz, to_hz) == 8000 else 0.9


@functools.cache
def taps_of(from_hz, to_hz, profile):
    return prototype(from_hz, to_hz, profile)


def through(from_hz, to_hz, profile, frequency_hz, dtype="float32", amplitude=0.9):
    """A tone's output, without its beginning, and the ideal one."""
    resampler = Resampler(from_hz, to_hz, profile=profile, dtype=dtype)
    t = np.arange(from_hz // 8) / from_hz
    tone = amplitude * np.sin(2 * np.pi * frequency_hz * t)
    tone = np.rint(tone) if dtype == "int16" else tone
    out = resampler.process(tone.astype(dtype)).astype(float)
    late = np.arange(len(out)) / to_hz - resampler.delay_ms / 1000
    ideal = amplitude * np.sin(2 * np.pi * frequency_hz * late)
    begin = round(to_hz * 2 * resampler.delay_ms / 1000) + 1
    return out[begin:], ideal[begin:]


def power_db(signal, of):
    return 10 * math.log10(np.mean(np.square(signal)) / np.mean(np.square(of)) + 1e-30)


@every
def test_the_delay_is_exact_and_short(from_hz, to_hz, profile):
    taps = taps_of(from_hz, to_hz, profile)
    # Symmetric but for the rounding between two stages.
    np.testing.assert_allclose(taps, taps[::-1], rtol=0, atol=1e-7)
    assert 0 < Resampler(from_hz, to_hz, profile=profile).delay_ms < LONGEST_MS[profile]


def test_delays_at_the_rates_of_a_call():
    assert Resampler(48000, 16000).delay_ms == 1.875
    assert Resampler(48000, 16000, profile="hq").delay_ms == 3.75
    assert Resampler(8000, 16000).delay_ms == 2.375
    assert Resampler(48000, 8000).delay_ms == 2.625


@every
def test_the_response_is_flat_and_then_gone(from_hz, to_hz, profile):
    """The taps' rate is L times the input's: what lies beyond are both aliases and images."""
    up, _ = ratio(from_hz, to_hz)
    response = response_db(taps_of(from_hz, to_hz, profile))
    share = np.linspace(0, up * from_hz / min(from_hz, to_hz), len(response))
    passed = response[share <= edge(from_hz, to_hz)]
    assert np.abs(passed).max() < RIPPLE_DB[profile]
    assert response[share >= 1.02].max() < -REJECTION_DB[profile]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("from_hz", "to_hz"), DOWN)
def test_tones_that_would_alias_are_gone(from_hz, to_hz, profile):
    for frequency_hz in np.linspace(1.02 * to_hz / 2, 0.98 * from_hz / 2, 7):
        out, ideal = through(from_hz, to_hz, profile, frequency_hz)
        assert power_db(out, ideal) < -REJECTION_DB[profile]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("from_hz", "to_hz"), UP)
def test_all_images_of_a_tone_together_are_gone(from_hz, to_hz, profile):
    for share in (0.08, 0.5, 0.97):
        out, ideal = through(from_hz, to_hz, profile, share * from_hz / 2)
        # What of the output isn't the tone, however that was changed.
        t = np.arange(len(out)) * 2 * np.pi * share * from_hz / 2 / to_hz
        tone = np.stack([np.cos(t), np.sin(t)], axis=1)
        rest = out - tone @ np.linalg.lstsq(tone, out, rcond=None)[0]
        assert power_db(rest, ideal) < -REJECTION_DB[profile]


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_hq_differs_from_the_ideal_by_less_than_120_db_in_its_band(from_hz, to_hz):
    nyquist_hz = min(from_hz, to_hz) / 2
    for share in (0.05, 0.33, 0.61, 0.99 * edge(from_hz, to_hz)):
        out, ideal = through(from_hz, to_hz, "hq", share * nyquist_hz)
        window = np.hanning(len(out))
        in_band = np.fft.rfftfreq(len(out), 1 / to_hz) < nyquist_hz
        error = np.abs(np.fft.rfft((out - ideal) * window))[in_band]
        tone = np.abs(np.fft.rfft(ideal * window))[in_band]
        assert 10 * math.log10(np.sum(tone**2) / np.sum(error**2)) > 120


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48000, 16000), (8000, 16000), (44100, 16000)])
def test_int16_adds_its_rounding_only(from_hz, to_hz):
    out, ideal = through(from_hz, to_hz, "hq", 1234.0, "int16", 30000.0)
    # Both roundings, of the tone and of the output, each a twelfth of a step.
    assert np.mean((out - ideal) ** 2) < 1.2 * 2 / 12


@every
def test_a_constant_stays_that_constant(from_hz, to_hz, profile):
    resampler = Resampler(from_hz, to_hz, profile=profile)
    out = resampler.process(np.full(from_hz // 20, 12345, np.int16))
    # Its images are as faint as any.
    assert np.abs(out[len(out) // 2 :] - 12345.0).max() <= (5 if profile == "voice" else 1)
