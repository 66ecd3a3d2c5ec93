"""The resampler's contract: counts, splits, flush, the sums themselves, and misuse."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from native.impulse import PAIRS, PROFILES, convolved, prototype, ratio
from native.two_threads import refusals
from voicecore._native import simd
from voicecore._native.resample import Resampler
from voicecore.errors import MisuseError

both_profiles = pytest.mark.parametrize("profile", PROFILES)
all_pairs = pytest.mark.parametrize(("from_hz", "to_hz"), [*PAIRS, (16000, 16000)])


def noise(rng, n, dtype):
    if dtype == "int16":
        return rng.integers(-32768, 32768, n).astype(np.int16)
    return rng.normal(0, 0.3, n).astype(np.float32)


@all_pairs
@pytest.mark.parametrize(("profile", "dtype"), [("voice", "int16"), ("hq", "float32")])
def test_any_split_is_bit_identical_and_the_count_exact(rng, from_hz, to_hz, profile, dtype):
    pcm = noise(rng, 3000, dtype)
    whole = Resampler(from_hz, to_hz, profile=profile, dtype=dtype)
    expected = np.concatenate((whole.process(pcm), whole.flush()))
    assert expected.dtype == dtype
    for longest in (1, 5, 90, 1500):
        split = Resampler(from_hz, to_hz, profile=profile, dtype=dtype)
        parts, taken, given = [], 0, 0
        end = 100 if longest == 1 else len(pcm)
        while taken < end:
            n = int(rng.integers(longest == 1, longest + 1))
            parts.append(split.process(pcm[taken : min(taken + n, end)]))
            taken = min(taken + n, end)
            given += len(parts[-1])
            assert given == -(-taken * to_hz // from_hz)
        if end == len(pcm):
            parts.append(split.flush())
        together = np.concatenate(parts)
        np.testing.assert_array_equal(
            together.view(np.uint8), expected[: len(together)].view(np.uint8)
        )
    held = round(whole.delay_ms * from_hz / 1000)
    assert len(expected) == -(-(len(pcm) + held) * to_hz // from_hz)


@all_pairs
def test_every_output_is_the_sum_that_single_samples_imply(rng, from_hz, to_hz):
    up, down = ratio(from_hz, to_hz)
    taps = prototype(from_hz, to_hz, "hq")
    pcm = noise(rng, 1111, "float32")
    out = Resampler(from_hz, to_hz, profile="hq", dtype="float32").process(pcm)
    np.testing.assert_allclose(out, convolved(pcm, taps, up, down), rtol=0, atol=2e-6)
    # Not so loud that it clips.
    pcm = (noise(rng, 1111, "int16") // 4).astype(np.int16)
    out = Resampler(from_hz, to_hz, profile="hq").process(pcm)
    np.testing.assert_allclose(out, convolved(pcm, taps, up, down), rtol=0, atol=0.51)


ONE_ISA = """
import sys
import numpy as np
from native.impulse import convolved, prototype, ratio
from voicecore._native.resample import Resampler

pcm = np.random.default_rng(int(sys.argv[1])).normal(0, 0.3, 3000).astype(np.float32)
for pair in (48000, 16000), (16000, 24000), (8000, 48000), (44100, 16000):
    make = lambda: Resampler(*pair, profile="hq", dtype="float32")
    whole, split = make().process(pcm), make()
    sizes = np.cumsum([1, 2, 19, 3, 960, 7, 1400])
    parts = np.concatenate([split.process(part) for part in np.split(pcm, sizes)])
    assert parts.tobytes() == whole.tobytes(), pair
    assert np.abs(whole - convolved(pcm, prototype(*pair, "hq"), *ratio(*pair))).max() < 2e-6, pair
"""


@pytest.mark.isa
@pytest.mark.parametrize("isa", [isa for isa in simd.available() if isa != simd.isa()])
def test_the_same_on_every_other_instruction_set(rng, isa):
    done = subprocess.run(
        [sys.executable, "-c", ONE_ISA, str(rng.integers(2**32))],
        env=os.environ | {"VOICECORE_ISA": isa, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@all_pairs
def test_twenty_ms_in_is_twenty_ms_out(from_hz, to_hz):
    resampler = Resampler(from_hz, to_hz)
    if from_hz % 50 == 0 and to_hz % 50 == 0:
        for _ in range(5):
            block = np.zeros(from_hz // 50, np.int16)
            assert len(resampler.process(block)) == to_hz // 50


def test_equal_rates_copy(rng):
    resampler = Resampler(16000, 16000)
    pcm = noise(rng, 2500, "int16")
    np.testing.assert_array_equal(resampler.process(pcm), pcm)
    assert resampler.delay_ms == 0
    assert resampler.flush().shape == (0,)


def test_full_scale_clips_and_does_not_wrap():
    square = np.repeat(np.array([32767, -32768] * 100, np.int16), 60)
    resampler = Resampler(16000, 48000)
    late = round(resampler.delay_ms * 48)
    out = resampler.process(square).astype(int)[late:]
    assert out.max() == 32767
    assert out.min() == -32768
    assert np.all(out[180 * 4 + 60 : 180 * 5 - 60] > 30000)
    assert np.all(out[180 * 5 + 60 : 180 * 6 - 60] < -30000)


def test_float32_does_not_clip():
    resampler = Resampler(16000, 48000, dtype="float32")
    out = resampler.process(np.full(2000, 5e6, np.float32))
    np.testing.assert_allclose(out[3000:], 5e6, rtol=1e-3)


@pytest.mark.parametrize("pair", [(48000, 16000), (8000, 48000), (44100, 16000), (16000, 24000)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e-30, 1e-42, 3e38])
def test_odd_numbers_do_no_lasting_harm(rng, pair, bad):
    pcm = noise(rng, 4000, "float32")
    pcm[1000:1003] = 0
    clean = Resampler(*pair, dtype="float32").process(pcm)
    pcm[1000:1003] = bad
    resampler = Resampler(*pair, dtype="float32")
    out = np.concatenate([resampler.process(pcm[:1001]), resampler.process(pcm[1001:])])
    if abs(bad) == np.float32(3e38):
        # A finite number, heard as long as any: from its arrival for twice the delay.
        first = -(-1000 * pair[1] // pair[0])
        after = -(-(1003 + round(2 * resampler.delay_ms * pair[0] / 1000)) * pair[1] // pair[0])
        np.testing.assert_array_equal(out[:first], clean[:first])
        np.testing.assert_array_equal(out[after:], clean[after:])
    else:
        np.testing.assert_array_equal(out, clean)


def test_reset_and_flush_start_anew(rng):
    pcm = noise(rng, 1000, "int16")
    for pair in ((48000, 16000), (48000, 8000), (44100, 16000)):
        resampler = Resampler(*pair)
        first = resampler.process(pcm)
        resampler.flush()
        np.testing.assert_array_equal(resampler.process(pcm), first)
        resampler.reset()
        np.testing.assert_array_equal(resampler.process(pcm), first)


@both_profiles
@all_pairs
def test_an_impulse_at_the_very_end_is_heard_after_flush(from_hz, to_hz, profile):
    pcm = np.zeros(500, np.int16)
    pcm[-1] = 32767
    resampler = Resampler(from_hz, to_hz, profile=profile)
    heard = np.concatenate((resampler.process(pcm), resampler.flush()))
    # Its height goes with the bandwidth, and outputs may fall beside its peak.
    assert heard.max() > 0.3 * 32767 * min(1, to_hz / from_hz)


def test_the_same_into_an_array_of_the_caller(rng):
    for dtype in ("int16", "float32"):
        pcm, out = noise(rng, 960, dtype), np.full(400, 77, dtype)
        wanted = Resampler(48000, 16000, dtype=dtype).process(pcm)
        resampler = Resampler(48000, 16000, dtype=dtype)
        assert resampler.process(pcm, out) == 320
        np.testing.assert_array_equal(out[:320], wanted)
        assert np.all(out[320:] == 77)
        assert resampler.process(pcm[:300], out=out[50:150]) == 100


@pytest.mark.parametrize(
    ("out", "error", "text"),
    [
        (np.zeros(319, np.int16), MisuseError, "out holds 319 samples, 320 are due"),
        (np.zeros(320, np.float32), TypeError, "out must be .* int16 array, got float32"),
        (np.zeros((1, 320), np.int16), TypeError, "out must be .* got int16 with 2 dim"),
        (np.zeros(640, np.int16)[::2], TypeError, "strided"),
        (np.broadcast_to(np.int16(0), 320), TypeError, "read-only"),
        (bytes(640), TypeError, "read-only"),
        (bytearray(640), TypeError, "got bytearray"),
        (7, TypeError, "got int"),
    ],
)
def test_a_wrong_out_is_refused_and_nothing_consumed(rng, out, error, text):
    pcm = noise(rng, 960, "int16")
    resampler = Resampler(48000, 16000)
    with pytest.raises(error, match=text):
        resampler.process(pcm, out)
    np.testing.assert_array_equal(resampler.process(pcm), Resampler(48000, 16000).process(pcm))


def test_an_out_that_overlaps_is_refused():
    memory = np.zeros(2000, np.int16)
    resampler = Resampler(48000, 16000)
    with pytest.raises(MisuseError, match="shares memory"):
        resampler.process(memory[:960], memory[959:])
    assert resampler.process(memory[:960], memory[960:]) == 320


@pytest.mark.parametrize(
    "pcm",
    [
        np.zeros(4, np.float32),
        np.zeros(4, np.uint16),
        np.zeros(4, ">i2"),
        np.zeros((2, 2), np.int16),
        np.zeros(8, np.int16)[::2],
        b"1234",
        None,
    ],
)
def test_wrong_input_is_refused(pcm):
    with pytest.raises(TypeError, match="pcm must be a contiguous 1-D int16 array"):
        Resampler(8000, 16000).process(pcm)


def test_float_wants_float():
    for pcm in (np.zeros(4, np.int16), np.zeros(4)):
        with pytest.raises(TypeError, match="pcm must be a contiguous 1-D float32 array"):
            Resampler(8000, 16000, dtype="float32").process(pcm)


def test_misuse_is_refused():
    for pair in ((0, 8000), (8000, 300000), (48000, 44101), (16000, 7999)):
        with pytest.raises(MisuseError):
            Resampler(*pair)
    with pytest.raises(MisuseError, match="voice, hq, got 'best'"):
        Resampler(8000, 16000, profile="best")
    with pytest.raises(MisuseError, match="int16, float32, got 'float64'"):
        Resampler(8000, 16000, dtype="float64")
    with pytest.raises(MisuseError):
        Resampler(8000, 2**70)
    for rate_hz in (16000.0, "16000", None):
        with pytest.raises(TypeError, match="rates must be whole numbers"):
            Resampler(8000, rate_hz)


def test_what_it_is_can_be_read():
    resampler = Resampler(48000, 16000, profile="hq", dtype="float32")
    assert (resampler.from_hz, resampler.to_hz) == (48000, 16000)
    assert (resampler.profile, resampler.dtype) == ("hq", "float32")
    assert Resampler(48000, 16000).profile == "voice"
    assert resampler.process(np.zeros(0, np.float32)).shape == (0,)


def test_many_at_once_and_in_any_order_of_ending(rng):
    """Resamplers of equal parameters share their coefficients, not their state."""
    pcm = noise(rng, 960, "int16")
    wanted = Resampler(48000, 16000).process(pcm)
    several = [Resampler(48000, 16000) for _ in range(4)]
    for resampler in several:
        resampler.process(pcm[:7])
    while several:
        del several[0]
        for resampler in several:
            resampler.reset()
            np.testing.assert_array_equal(resampler.process(pcm), wanted)


def test_a_second_thread_is_refused():
    resampler, pcm = Resampler(16000, 48000), np.zeros(400_000, np.int16)
    assert refusals(lambda: resampler.process(pcm)) == {"in_use"}
