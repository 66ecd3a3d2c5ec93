"""The resampler against direct summation, and by count, split, flatness and rejection."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from voicecore._native.resample import Resampler
from voicecore.errors import MisuseError

PAIRS = [
    (8000, 16000),
    (8000, 24000),
    (8000, 48000),
    (16000, 8000),
    (16000, 24000),
    (16000, 48000),
    (22050, 16000),
    (22050, 24000),
    (22050, 48000),
    (24000, 8000),
    (24000, 16000),
    (24000, 48000),
    (44100, 16000),
    (44100, 48000),
    (48000, 8000),
    (48000, 16000),
    (48000, 22050),
    (48000, 24000),
    (16000, 16000),
]
DOWN = [pair for pair in PAIRS if pair[0] > pair[1]]


def tone(rate_hz, frequency_hz, seconds=0.2, amplitude=30000.0, at_s=0.0):
    t = np.arange(int(rate_hz * seconds)) / rate_hz - at_s
    return np.round(amplitude * np.sin(2 * np.pi * frequency_hz * t)).astype(np.int16)


def middle(pcm):
    return pcm[len(pcm) // 4 : -len(pcm) // 8].astype(float)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_any_split_is_bit_identical_and_the_count_exact(rng, from_hz, to_hz):
    pcm = rng.integers(-32768, 32768, 3000).astype(np.int16)
    whole = Resampler(from_hz, to_hz)
    expected = np.concatenate((whole.process(pcm), whole.flush()))
    for longest in (5, 90, 1500):
        split = Resampler(from_hz, to_hz)
        parts, taken, given = [], 0, 0
        while taken < len(pcm):
            n = int(rng.integers(0, longest + 1))
            parts.append(split.process(pcm[taken : taken + n]))
            taken = min(taken + n, len(pcm))
            given += len(parts[-1])
            assert given == -(-taken * to_hz // from_hz)
        parts.append(split.flush())
        np.testing.assert_array_equal(np.concatenate(parts), expected)
    held = round(whole.delay_ms * from_hz / 1000)
    assert len(expected) == -(-(len(pcm) + held) * to_hz // from_hz)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_twenty_ms_in_is_twenty_ms_out(from_hz, to_hz):
    resampler = Resampler(from_hz, to_hz)
    if from_hz % 50 == 0 and to_hz % 50 == 0:
        for _ in range(5):
            block = np.zeros(from_hz // 50, np.int16)
            assert len(resampler.process(block)) == to_hz // 50


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_a_tone_comes_out_at_its_level_exactly_delay_ms_later(from_hz, to_hz):
    nyquist = min(from_hz, to_hz) / 2
    for share in (0.05, 0.31, 0.55, 0.75):
        resampler = Resampler(from_hz, to_hz)
        assert 0 < resampler.delay_ms <= 2.6
        out = resampler.process(tone(from_hz, share * nyquist))
        ideal = 30000.0 * np.sin(
            2 * np.pi * share * nyquist * (np.arange(len(out)) / to_hz - resampler.delay_ms / 1000)
        )
        noise = np.mean((middle(out) - middle(ideal)) ** 2)
        assert 10 * math.log10(np.mean(middle(ideal) ** 2) / noise) > 68


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_the_pass_band_is_flat(from_hz, to_hz):
    edge = 0.79 if min(from_hz, to_hz) == 8000 else 0.9
    for share in np.linspace(0.05, edge, 7):
        out = Resampler(from_hz, to_hz).process(tone(from_hz, share * min(from_hz, to_hz) / 2))
        level_db = 10 * math.log10(2 * np.mean(middle(out) ** 2) / 30000.0**2)
        assert abs(level_db) < 0.06


@pytest.mark.parametrize(("from_hz", "to_hz"), DOWN)
def test_what_would_alias_is_gone(from_hz, to_hz):
    for frequency in np.linspace(1.02 * to_hz / 2, 0.98 * from_hz / 2, 12):
        out = Resampler(from_hz, to_hz).process(tone(from_hz, frequency))
        assert 10 * math.log10(2 * np.mean(middle(out) ** 2) / 30000.0**2 + 1e-15) < -70


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8000, 16000), (16000, 48000), (22050, 24000)])
def test_images_are_gone(from_hz, to_hz):
    """Of a tone below the pass-band edge nothing is left but the tone."""
    out = Resampler(from_hz, to_hz).process(tone(from_hz, 0.4 * from_hz, 1.0))
    window = np.hanning(len(middle(out)))
    spectrum = np.abs(np.fft.rfft(middle(out) * window))
    frequencies = np.fft.rfftfreq(len(window), 1 / to_hz)
    images = spectrum[frequencies > 1.02 * from_hz / 2]
    assert 20 * math.log10(images.max() / spectrum.max()) < -70


def test_full_scale_clips_and_does_not_wrap():
    square = np.repeat(np.array([32767, -32768] * 100, np.int16), 60)
    out = Resampler(16000, 48000).process(square).astype(int)
    assert out.max() == 32767
    assert out.min() == -32768
    # Plateaus are 180 samples long and come 120 late.
    assert np.all(out[180 * 4 + 160 : 180 * 5 + 80] > 20000)
    assert np.all(out[180 * 5 + 160 : 180 * 6 + 80] < -20000)


def test_a_constant_stays_that_constant():
    for from_hz, to_hz in PAIRS:
        out = Resampler(from_hz, to_hz).process(np.full(from_hz // 10, 12345, np.int16))
        assert np.all(out[len(out) // 2 :] == 12345)


def test_reset_and_flush_start_anew(rng):
    pcm = rng.integers(-9000, 9000, 1000).astype(np.int16)
    resampler = Resampler(48000, 16000)
    first = resampler.process(pcm)
    resampler.flush()
    np.testing.assert_array_equal(resampler.process(pcm), first)
    resampler.reset()
    np.testing.assert_array_equal(resampler.process(pcm), first)


def test_an_impulse_at_the_very_end_is_heard_after_flush():
    pcm = np.zeros(500, np.int16)
    pcm[-1] = 30000
    resampler = Resampler(8000, 16000)
    resampler.process(pcm)
    assert resampler.flush().max() > 20000


def test_misuse_is_refused():
    for pair in ((0, 8000), (8000, 300000), (48000, 44101), (16000, 7999)):
        with pytest.raises(MisuseError):
            Resampler(*pair)
    with pytest.raises(TypeError, match="int16"):
        Resampler(8000, 16000).process(np.zeros(4, np.float32))
    resampler = Resampler(48000, 16000)
    assert (resampler.from_hz, resampler.to_hz) == (48000, 16000)
    assert resampler.process(np.zeros(0, np.int16)).shape == (0,)


def test_a_second_thread_is_refused():
    resampler, refused = Resampler(16000, 48000), []
    pcm, together = np.zeros(400_000, np.int16), threading.Barrier(2)

    def work():
        together.wait()
        for _ in range(5):
            try:
                resampler.process(pcm)
            except MisuseError as error:
                refused.append(error.code)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(refused) == {"in_use"}
