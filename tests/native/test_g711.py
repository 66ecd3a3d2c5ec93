"""G.711 against its formulas over all values; concealment by what a listener would notice."""

from __future__ import annotations

import numpy as np
import pytest

from voicecore._native import g711
from voicecore.errors import MisuseError

ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)
ALL_CODES = bytes(range(256))


def ulaw_oracle(pcm):
    """ITU-T G.711 table 2: 14-bit magnitude with a bias of 33, segment and mantissa."""
    x = pcm.astype(int) >> 2
    magnitude = np.minimum(np.abs(x) + 33, 8191)
    segment = np.floor(np.log2(magnitude)).astype(int) - 5
    code = segment << 4 | magnitude >> (segment + 1) & 15
    return (np.where(x < 0, 0x7F, 0xFF) ^ code).astype(np.uint8)


def alaw_oracle(pcm):
    """ITU-T G.711 table 1: 13 bits, even bits inverted."""
    x = pcm.astype(int) >> 3
    magnitude = np.where(x < 0, ~x, x)
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(int) - 4, 0)
    code = segment << 4 | magnitude >> np.maximum(segment, 1) & 15
    return (np.where(x < 0, 0x55, 0xD5) ^ code).astype(np.uint8)


def test_ulaw_encoding_of_every_sample():
    assert g711.ulaw_encode(ALL_SAMPLES) == ulaw_oracle(ALL_SAMPLES).tobytes()


def test_alaw_encoding_of_every_sample():
    assert g711.alaw_encode(ALL_SAMPLES) == alaw_oracle(ALL_SAMPLES).tobytes()


@pytest.mark.filterwarnings("ignore:'audioop' is deprecated")
def test_all_values_equal_audioop():
    audioop = pytest.importorskip("audioop", reason="audioop left Python in 3.13")
    assert g711.ulaw_encode(ALL_SAMPLES) == audioop.lin2ulaw(ALL_SAMPLES.tobytes(), 2)
    assert g711.alaw_encode(ALL_SAMPLES) == audioop.lin2alaw(ALL_SAMPLES.tobytes(), 2)
    assert g711.ulaw_decode(ALL_CODES).tobytes() == audioop.ulaw2lin(ALL_CODES, 2)
    assert g711.alaw_decode(ALL_CODES).tobytes() == audioop.alaw2lin(ALL_CODES, 2)


def test_decoding_of_every_code():
    """Tables 1 and 2 the other way: what the middle of each step is worth."""
    code = np.arange(256)
    segment, mantissa = ~code >> 4 & 7, ~code & 15
    ulaw = (((33 + 2 * mantissa) << segment) - 33) * 4
    np.testing.assert_array_equal(g711.ulaw_decode(ALL_CODES), np.where(code < 128, -ulaw, ulaw))
    plain = code ^ 0x55
    segment, mantissa = plain >> 4 & 7, plain & 15
    higher = (33 + 2 * mantissa) << np.maximum(segment - 1, 0)
    alaw = np.where(segment == 0, 2 * mantissa + 1, higher) * 8
    np.testing.assert_array_equal(g711.alaw_decode(ALL_CODES), np.where(code < 128, -alaw, alaw))


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_decoding_is_the_middle_of_what_encodes_to_it(law):
    encode, decode = getattr(g711, f"{law}_encode"), getattr(g711, f"{law}_decode")
    values = decode(ALL_CODES)
    again = np.frombuffer(encode(values), np.uint8)
    # Both zeros of mu-law decode to 0, which encodes to the positive one.
    assert [c for c in range(256) if again[c] != c] == ([0x7F] if law == "ulaw" else [])
    quantised = decode(encode(ALL_SAMPLES)).astype(int)
    step = 8 + np.abs(ALL_SAMPLES.astype(int)) // 16
    assert np.all(np.abs(quantised - ALL_SAMPLES) <= step + 640 * (np.abs(quantised) > 32000))


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_any_length_and_the_callers_own_array(rng, law):
    encode, decode = getattr(g711, f"{law}_encode"), getattr(g711, f"{law}_decode")
    oracle = {"ulaw": ulaw_oracle, "alaw": alaw_oracle}[law]
    values = decode(ALL_CODES)
    for n in [*range(135), 160, 1000, 4097]:
        pcm = rng.integers(-32768, 32768, n + 3).astype(np.int16)[3:]
        codes = encode(pcm)
        assert codes == oracle(pcm).tobytes()
        out = np.empty(n, np.int16)
        assert decode(codes, out) is out
        np.testing.assert_array_equal(out, values[list(codes)])
        np.testing.assert_array_equal(decode(memoryview(codes)), out)


def test_an_unfit_out_is_refused():
    with pytest.raises(MisuseError, match="4 samples, it has 5"):
        g711.ulaw_decode(b"1234", np.zeros(5, np.int16))
    with pytest.raises(TypeError, match="int16"):
        g711.alaw_decode(b"1234", out=np.zeros(4, np.int32))
    block = np.zeros(8, np.int16)
    with pytest.raises(MisuseError, match="shares memory"):
        g711.ulaw_decode(block.data.cast("B")[4:8], out=block[:4])


def test_silence_has_the_known_codes():
    silence = np.zeros(3, np.int16)
    assert g711.ulaw_encode(silence) == b"\xff\xff\xff"
    assert g711.alaw_encode(silence) == b"\xd5\xd5\xd5"


def test_empty_input_and_wrong_types():
    assert g711.ulaw_encode(np.zeros(0, np.int16)) == b""
    assert g711.alaw_decode(b"").shape == (0,)
    with pytest.raises(TypeError, match="int16"):
        g711.ulaw_encode(np.zeros(4, np.int32))
    with pytest.raises(TypeError, match="bytes"):
        g711.ulaw_decode([1, 2])


def rms(pcm):
    return float(np.sqrt(np.mean(pcm.astype(float) ** 2)))


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("pitch_hz", [70, 100, 133, 190])
def test_a_short_gap_in_a_vowel_is_nearly_what_was_lost(speech_like, rate_hz, pitch_hz):
    n = rate_hz // 50
    pcm = speech_like(rate_hz, 0.5, pitch_hz)
    concealer = g711.Concealer(rate_hz)
    concealer.good(pcm[: 10 * n])
    made = concealer.conceal(n // 2)
    lost = pcm[10 * n : 10 * n + n // 2]
    assert rms(made.astype(int) - lost) < 0.35 * rms(lost)


def test_no_seam_is_louder_than_the_signal_itself(speech_like):
    pcm = speech_like(8000, 1.0, 117)
    concealer, played = g711.Concealer(), []
    for index, start in enumerate(range(0, 8000, 160)):
        block = pcm[start : start + 160]
        lost = index % 7 in (4, 5)
        played.append(concealer.conceal(160) if lost else concealer.good(block))
    steps = np.abs(np.diff(np.concatenate(played).astype(int)))
    assert steps.max() <= 1.25 * np.abs(np.diff(pcm.astype(int))).max()


def test_a_long_gap_fades_to_noise_and_never_to_zeros(speech_like, rng):
    pcm = speech_like(8000, 0.5)
    background = rng.normal(0, 20, 4000).astype(np.int16)
    concealer = g711.Concealer()
    for start in range(0, 4000, 160):
        concealer.good(background[start : start + 160])
    concealer.good(pcm)
    made = concealer.conceal(8000)
    ms = 8
    assert rms(made[: 10 * ms]) > 0.6 * rms(pcm)
    assert rms(made[40 * ms : 50 * ms]) < 0.5 * rms(pcm)
    tail = made[60 * ms :]
    assert 5 < rms(tail) < 60
    assert np.count_nonzero(tail) > 0.9 * len(tail)


def test_digital_silence_stays_silent():
    concealer = g711.Concealer()
    for _ in range(5):
        concealer.good(np.zeros(160, np.int16))
    assert not concealer.conceal(1600).any()


def test_good_audio_passes_unchanged_but_for_the_cross_fade(speech_like):
    pcm = speech_like(8000, 0.5)
    concealer = g711.Concealer()
    np.testing.assert_array_equal(concealer.good(pcm[:1600]), pcm[:1600])
    concealer.conceal(480)
    after = concealer.good(pcm[2080:2240])
    assert np.any(after[:80] != pcm[2080:2160])
    np.testing.assert_array_equal(after[80:], pcm[2160:2240])
    np.testing.assert_array_equal(concealer.good(pcm[2240:]), pcm[2240:])


def test_any_split_of_a_gap_is_the_same(speech_like, rng):
    pcm = speech_like(8000, 0.3)
    whole, split = g711.Concealer(), g711.Concealer()
    expected = [whole.good(pcm), whole.conceal(1000), whole.good(pcm[:400])]
    parts = [split.good(pcm)]
    for stop in np.split(np.arange(1000), np.sort(rng.integers(0, 1000, 6))):
        parts.append(split.conceal(len(stop)))
    for stop in np.split(np.arange(400), np.sort(rng.integers(0, 400, 4))):
        parts.append(split.good(pcm[stop]))
    np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(expected))


def test_concealing_first_or_with_little_history_is_harmless():
    concealer = g711.Concealer()
    assert not concealer.conceal(320)[:80].any()
    concealer.good(np.array([5], np.int16))
    assert concealer.conceal(0).shape == (0,)
    assert concealer.conceal(7).shape == (7,)


def test_concealer_limits():
    for rate_hz in (4000, 48000):
        with pytest.raises(MisuseError):
            g711.Concealer(rate_hz)
    with pytest.raises(MisuseError):
        g711.Concealer().conceal(-1)
