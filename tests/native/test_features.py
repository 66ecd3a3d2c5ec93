"""Features of a stream against float64 NumPy written from the definition (mel_oracle.py).

Log10 values agree within 1e-4 for what is at most 60 dB below a frame's loudest filter, where
float32 leaves that much; fainter ones are held to 80 dB, Whisper's range, within 1e-2.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from native import mel_oracle as oracle
from native.two_threads import refusals
from voicecore._native import simd
from voicecore._native.features import FeatureStream
from voicecore.errors import MisuseError


def assert_close(got, exact):
    """``exact``: (frames, n_mels) in float64."""
    assert got.dtype == np.float32
    assert got.shape == exact.shape
    error = np.abs(got - exact)
    below = exact.max(axis=1, keepdims=True, initial=-10.0) - exact
    assert error[below <= 6].max(initial=0) < 1e-4
    assert error[below <= 8].max(initial=0) < 1e-2


def everything(stream):
    n = stream.frames - stream.oldest_frame
    return stream.log_mel(stream.oldest_frame, n)


@pytest.fixture
def clip(rng, speech_like):
    """Three seconds at 16 kHz: a vowel that fades over a little noise, then digital silence."""
    voice = speech_like(16_000, 2.6).astype(float)
    voice *= np.geomspace(1, 1e-4, len(voice))
    noise = rng.normal(0, 4, len(voice))
    return np.concatenate([(voice + noise).round(), np.zeros(6400)]).astype(np.int16)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_a_clip_equals_whispers(clip, n_mels):
    stream = FeatureStream(n_mels=n_mels)
    stream.push(clip)
    stream.flush()
    exact = oracle.whole_clip(clip / 32768, n_mels)
    assert stream.frames == len(clip) // 160
    assert_close(everything(stream), exact)
    assert np.abs(stream.clip(stream.frames) - oracle.scaled(exact).T).max() < 3e-3


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_hz": 8000, "n_mels": 40},
        {"rate_hz": 8000},
        {"n_fft": 512, "mel_scale": "htk", "mel_norm": None, "n_mels": 64},
        {"window_samples": 512},
        {"n_mels": 41, "min_hz": 20.0, "max_hz": 7600.0, "window_samples": 480},
        {"rate_hz": 24_000, "hop_samples": 256, "window_samples": 1024},
        {"rate_hz": 48_000, "n_mels": 23},
        {"rate_hz": 11_025, "window_samples": 256, "n_mels": 30},
        {"n_mels": 3, "hop_samples": 1, "window_samples": 64, "n_fft": 160},
    ],
    ids=str,
)
def test_other_settings_equal_the_definition(rng, settings):
    pcm = rng.normal(0, 0.1, 4000).astype(np.float32)
    stream = FeatureStream(pad="none", **settings)
    stream.push(pcm)
    bank = oracle.filters(
        stream.rate_hz,
        stream.n_fft,
        stream.n_mels,
        settings.get("mel_scale", "slaney"),
        settings.get("mel_norm", "slaney"),
        settings.get("min_hz", 0.0),
        settings.get("max_hz"),
    )
    frames = oracle.framed(pcm.astype(float), stream.window_samples, stream.hop_samples)
    assert stream.frames == len(frames)
    kept = frames[stream.oldest_frame :]
    assert_close(everything(stream), oracle.log_mel(kept, bank, stream.n_fft))


def test_energy_and_zero_crossings_equal_numpy(clip):
    stream = FeatureStream(pad="none")
    stream.push(clip)
    frames = oracle.framed(clip / 32768, 400, 160)
    power = np.maximum((frames**2).mean(axis=1), 1e-10)
    np.testing.assert_allclose(
        stream.energy_dbfs(0, stream.frames), 10 * np.log10(power), atol=1e-4
    )
    signs = np.signbit(frames)
    np.testing.assert_allclose(
        stream.zero_crossings(0, stream.frames),
        (signs[:, 1:] != signs[:, :-1]).mean(axis=1),
        rtol=1e-6,
    )
    assert stream.energy_dbfs(stream.frames - 1, 1) == -100.0


@pytest.mark.parametrize("pad", ["reflect", "zeros", "none"])
def test_any_split_gives_identical_frames(rng, clip, pad):
    pcm = clip[:9000]
    whole = FeatureStream(pad=pad)
    whole.push(pcm)
    halves = FeatureStream(pad=pad)
    halves.push(pcm.astype(np.float32) / 32768)
    np.testing.assert_array_equal(everything(halves), everything(whole))
    for longest in (3, 250, 7000):
        split, at = FeatureStream(pad=pad), 0
        while at < len(pcm):
            n = int(rng.integers(0, longest + 1))
            before = split.frames
            assert split.push(pcm[at : at + n]) == split.frames - before
            at = min(at + n, len(pcm))
            assert split.samples == at
        np.testing.assert_array_equal(everything(split), everything(whole))
        for read in ("energy_dbfs", "zero_crossings"):
            np.testing.assert_array_equal(
                getattr(split, read)(0, split.frames), getattr(whole, read)(0, whole.frames)
            )


@pytest.mark.parametrize(
    ("pad", "first_at", "frames_at"),
    [
        ("reflect", 201, lambda n: (n - 200) // 160 + 1),
        ("zeros", 200, lambda n: (n - 200) // 160 + 1),
        ("none", 400, lambda n: (n - 400) // 160 + 1),
    ],
)
def test_a_frame_is_there_with_its_last_sample(pad, first_at, frames_at):
    stream, sample = FeatureStream(pad=pad), np.ones(1, np.int16)
    for n in range(1, 1500):
        stream.push(sample)
        assert stream.frames == (frames_at(n) if n >= first_at else 0)


def test_zeros_before_the_stream_and_behind_it(clip):
    stream = FeatureStream(pad="zeros")
    stream.push(clip[:5000])
    stream.flush()
    padded = np.pad(clip[:5000] / 32768, 200)
    bank = oracle.filters(16_000, 400, 80)
    exact = oracle.log_mel(oracle.framed(padded, 400, 160), bank, 400)
    assert_close(everything(stream), exact[: 5000 // 160])


@pytest.mark.parametrize("n", [0, 1, 200, 201, 300, 320, 399, 400, 481, 4096, 4097, 5000])
def test_flush_completes_what_whisper_has_of_a_short_clip(clip, n):
    stream = FeatureStream()
    stream.push(clip[:n])
    stream.flush()
    if n <= 200:
        assert stream.frames == 0
    else:
        assert_close(everything(stream), oracle.whole_clip(clip[:n] / 32768))
    with pytest.raises(MisuseError, match="reset"):
        stream.push(clip)
    stream.reset()
    assert (stream.samples, stream.frames) == (0, 0)
    stream.push(clip[:1000])
    fresh = FeatureStream()
    fresh.push(clip[:1000])
    np.testing.assert_array_equal(everything(stream), everything(fresh))


def test_the_ring_keeps_the_last_frames(rng, clip):
    pcm = np.tile(clip, 3)
    long, short = FeatureStream(history_s=60), FeatureStream(history_s=0.37)
    long.push(pcm)
    assert short.capacity_frames == 37
    for start in range(0, len(pcm), 777):
        short.push(pcm[start : start + 777])
        oldest = max(0, short.frames - 37)
        assert short.oldest_frame == oldest
        n = short.frames - oldest
        np.testing.assert_array_equal(everything(short), long.log_mel(oldest, n))
        wanted = int(rng.integers(1, 38))
        exact = np.full((wanted, 80), -10.0)
        known = min(wanted, n)
        exact[wanted - known :] = long.log_mel(short.frames - known, known)
        got = short.clip(wanted)
        assert got.shape == (80, wanted)
        np.testing.assert_allclose(got, oracle.scaled(exact).T, atol=1e-6)
    for start, n in ((short.oldest_frame - 1, 1), (short.frames, 1), (short.frames - 3, 4)):
        with pytest.raises(MisuseError, match="are kept"):
            short.log_mel(start, n)
    assert short.log_mel(short.frames, 0).shape == (0, 80)
    with pytest.raises(MisuseError, match="are kept"):
        short.energy_dbfs(short.frames - 1, -1)


def test_silence_is_the_floor():
    stream = FeatureStream()
    assert (stream.clip(100) == np.float32(-10 + 4) / 4).all()
    stream.push(np.zeros(16_000, np.float32))
    assert (everything(stream) == -10).all()
    assert (stream.energy_dbfs(0, 99) == -100).all()
    assert (stream.zero_crossings(0, 99) == 0).all()
    assert (stream.clip(100) == np.float32(-10 + 4) / 4).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6, -65537.0])
def test_a_block_with_a_sample_beyond_all_measure_is_refused_whole(clip, bad):
    stream, fresh = FeatureStream(), FeatureStream()
    block = np.full(500, 0.5, np.float32)
    for at in (0, 250, 499):
        broken = block.copy()
        broken[at] = bad
        with pytest.raises(MisuseError, match="finite"):
            stream.push(broken)
    assert stream.samples == 0
    for each in (stream, fresh):
        each.push(clip[:3000])
    np.testing.assert_array_equal(everything(stream), everything(fresh))


def test_the_loudest_floats_stay_finite():
    stream = FeatureStream()
    stream.push(np.full(1000, 65536.0, np.float32))
    assert np.isfinite(everything(stream)).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rate_hz": 100}, "rate_hz"),
        ({"window_samples": 401}, "even"),
        ({"window_samples": 62}, "at least 64"),
        ({"window_samples": 392}, "n_fft"),
        ({"n_fft": 398}, "n_fft"),
        ({"n_fft": 320}, "n_fft"),
        ({"n_fft": 8192}, "n_fft"),
        ({"hop_samples": 0}, "hop_samples"),
        ({"hop_samples": 401}, "hop_samples"),
        ({"n_mels": 0}, "n_mels"),
        ({"n_mels": 257}, "n_mels"),
        ({"n_mels": 250}, "fewer n_mels"),
        ({"mel_scale": "bark"}, "mel_scale"),
        ({"mel_norm": "l1"}, "mel_norm"),
        ({"min_hz": -1.0}, "min_hz"),
        ({"min_hz": 5000.0, "max_hz": 4000.0}, "max_hz"),
        ({"max_hz": 8001.0}, "max_hz"),
        ({"max_hz": float("nan")}, "max_hz"),
        ({"pad": "edge"}, "pad"),
        ({"history_s": 0.0}, "history_s"),
        ({"history_s": 601.0}, "history_s"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, words):
    with pytest.raises(MisuseError, match=words):
        FeatureStream(**settings)


def test_wrong_input_is_named():
    stream = FeatureStream()
    with pytest.raises(TypeError, match=r"int16.*float64"):
        stream.push(np.zeros(160))
    with pytest.raises(TypeError, match="float32"):
        stream.push(np.zeros((2, 160), np.float32))
    with pytest.raises(TypeError, match="contiguous"):
        stream.push(np.zeros(320, np.int16)[::2])
    with pytest.raises(TypeError, match="float32"):
        stream.push(np.zeros(320, ">f4"))
    with pytest.raises(TypeError, match="bytes"):
        stream.push(b"1234")
    for n in (0, 801, -1):
        with pytest.raises(MisuseError, match="800"):
            stream.clip(n)


def test_a_second_thread_is_refused():
    stream, pcm = FeatureStream(), np.zeros(400_000, np.int16)
    assert refusals(lambda: stream.push(pcm)) == {"in_use"}


@pytest.mark.isa
def test_every_instruction_set_agrees():
    code = (
        "import sys, numpy as np; from voicecore._native.features import FeatureStream\n"
        "pcm = (8000 * np.sin(np.arange(6000) ** 1.3 / 50)).astype(np.int16)\n"
        "stream = FeatureStream(history_s=0.3); stream.push(pcm); stream.flush()\n"
        "sys.stdout.buffer.write(stream.clip(30).tobytes())"
    )
    clips = []
    for isa in simd.available():
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"VOICECORE_ISA": isa},
            capture_output=True,
            check=True,
        )
        clips.append(np.frombuffer(done.stdout, np.float32))
        np.testing.assert_allclose(clips[-1], clips[0], atol=2e-3)
    assert len(clips[0]) == 2400
