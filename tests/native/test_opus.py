"""Opus against the same library by two other ways: opuslib and plain ctypes."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from native.two_threads import refusals
from voicecore._native import opus
from voicecore.errors import MisuseError, PeerError

RATES = (8000, 12000, 16000, 24000, 48000)


def frames(pcm, rate_hz, ms=20.0):
    n = int(rate_hz * ms / 1000)
    return [pcm[i : i + n] for i in range(0, len(pcm) - n + 1, n)]


def encode_all(pcm, rate_hz, **settings):
    encoder = opus.Encoder(rate_hz, **settings)
    return [encoder.encode(frame) for frame in frames(pcm, rate_hz)]


class CtypesDecoder:
    """opus_decode without anything in between."""

    def __init__(self, library, rate_hz):
        self._library = library
        self._rate_hz = rate_hz
        self._state = ctypes.c_void_p(library.opus_decoder_create(rate_hz, 1, None))

    def decode(self, packet, samples, fec=0):
        out = (ctypes.c_int16 * samples)()
        got = self._library.opus_decode(self._state, packet, len(packet or b""), out, samples, fec)
        assert got == samples
        return np.frombuffer(out, np.int16)


@pytest.mark.parametrize("rate_hz", RATES)
def test_encode_and_decode_equal_opuslib(opuslib, speech_like, rate_hz):
    pcm = speech_like(rate_hz, 0.5)
    theirs = opuslib.Encoder(rate_hz, 1, opuslib.APPLICATION_AUDIO)
    theirs.bitrate = 64000
    theirs.complexity = 0
    packets = encode_all(pcm, rate_hz, fec=False)
    n = rate_hz // 50
    assert packets == [theirs.encode(f.tobytes(), n) for f in frames(pcm, rate_hz)]

    decoder, peer = opus.Decoder(rate_hz), opuslib.Decoder(rate_hz, 1)
    for packet in packets:
        assert decoder.decode(packet).tobytes() == peer.decode(packet, n)


def test_a_reset_decoder_is_as_a_fresh_one(speech_like):
    packets = encode_all(speech_like(16000, 0.3), 16000)
    used, fresh = opus.Decoder(16000), opus.Decoder(16000)
    for packet in packets:
        used.decode(packet)
    used.reset()
    for packet in packets[5:]:
        np.testing.assert_array_equal(used.decode(packet), fresh.decode(packet))
    used.close()
    with pytest.raises(MisuseError, match="closed"):
        used.reset()


@pytest.mark.parametrize("rate_hz", RATES)
def test_concealment_equals_ctypes(c_opus, speech_like, rate_hz):
    packets = encode_all(speech_like(rate_hz, 0.6), rate_hz)
    ours, peer = opus.Decoder(rate_hz), CtypesDecoder(c_opus, rate_hz)
    n = rate_hz // 50
    for index, packet in enumerate(packets):
        lost = index % 5 == 3
        mine = ours.conceal(n) if lost else ours.decode(packet)
        np.testing.assert_array_equal(mine, peer.decode(None if lost else packet, n))


def test_fec_equals_ctypes_and_beats_concealment(c_opus, speech_like):
    rate_hz, n = 16000, 320
    pitches = (90, 210, 130, 300, 170) * 4
    pcm = np.concatenate([speech_like(rate_hz, 0.07, pitch_hz) for pitch_hz in pitches])
    packets = encode_all(
        pcm, rate_hz, application="voip", bitrate_bps=32000, complexity=5, expected_loss_percent=20
    )
    ours, peer, whole = (
        opus.Decoder(rate_hz),
        CtypesDecoder(c_opus, rate_hz),
        opus.Decoder(rate_hz),
    )
    without = opus.Decoder(rate_hz)
    error_fec = error_plc = 0.0
    recoveries = 0
    for index, packet in enumerate(packets):
        truth = whole.decode(packet)
        if index % 4 == 3 and opus.packet_has_fec(b"".join(packets[index + 1 : index + 2])):
            recoveries += 1
            recovered = ours.decode(packets[index + 1], fec=True)
            np.testing.assert_array_equal(recovered, peer.decode(packets[index + 1], n, 1))
            error_fec += float(np.mean((recovered - truth.astype(float)) ** 2))
            error_plc += float(np.mean((without.conceal(n) - truth.astype(float)) ** 2))
        else:
            np.testing.assert_array_equal(ours.decode(packet), peer.decode(packet, n))
            without.decode(packet)
    assert recoveries > 5
    assert error_fec < error_plc / 2


def test_fec_flag_and_duration_agree_with_the_library_on_noise_and_truth(c_opus, rng, speech_like):
    packets = [b"", b"\xf8\xff\xfe"]
    for ms in (2.5, 5, 10, 20, 40, 60):
        for settings in (
            {"application": "voip", "bitrate_bps": 24000, "complexity": 5},
            {"application": "audio"},
        ):
            encoder = opus.Encoder(16000, expected_loss_percent=15, **settings)
            packets += [encoder.encode(f) for f in frames(speech_like(16000, 0.5), 16000, ms)]
    for _ in range(4000):
        base = bytearray(packets[rng.integers(len(packets))])
        base = base[: rng.integers(0, len(base) + 1)]
        for _ in range(rng.integers(0, 3)):
            if base:
                base[rng.integers(min(len(base), 6))] = rng.integers(256)
        packets.append(bytes(base))
    packets += [bytes([toc, *rng.bytes(rng.integers(0, 30))]) for toc in range(256)]
    packets += [bytes([3 | toc << 3, m, *rng.bytes(40)]) for toc in range(32) for m in range(256)]

    frame_sizes = (ctypes.c_int16 * 48)()
    for packet in packets:
        count = c_opus.opus_packet_parse(packet, len(packet), None, None, frame_sizes, None)
        samples = c_opus.opus_packet_get_nb_samples(packet, len(packet), 48000)
        expected = samples if count > 0 else -1
        assert opus.packet_samples(packet, 48000) == expected, packet.hex()
        has = c_opus.opus_packet_has_lbrr(packet, len(packet)) if count > 0 else 0
        assert opus.packet_has_fec(packet) == (has == 1), packet.hex()


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("ms", [2.5, 5, 10, 20, 40, 60])
def test_every_frame_duration_survives(speech_like, rate_hz, ms):
    n = int(rate_hz * ms / 1000)
    packet = opus.Encoder(rate_hz).encode(speech_like(rate_hz, ms / 1000)[:n])
    assert opus.packet_samples(packet, rate_hz) == n
    assert opus.Decoder(rate_hz).decode(packet).shape == (n,)


def test_settings_read_back_and_change_in_mid_stream(speech_like):
    encoder = opus.Encoder(24000, bitrate_bps=40000, complexity=3, expected_loss_percent=4)
    assert (encoder.bitrate_bps, encoder.complexity, encoder.expected_loss_percent) == (40000, 3, 4)
    assert encoder.fec is True
    assert encoder.dtx is False
    pcm = frames(speech_like(24000, 0.4), 24000)
    before = sum(len(encoder.encode(f)) for f in pcm[:10])
    encoder.bitrate_bps, encoder.fec, encoder.dtx = 16000, False, True
    assert (encoder.bitrate_bps, encoder.fec, encoder.dtx) == (16000, False, True)
    assert sum(len(encoder.encode(f)) for f in pcm[10:]) < before


@pytest.mark.parametrize(
    "settings",
    [
        {"rate_hz": 44100},
        {"application": "music"},
        {"bitrate_bps": 100},
        {"complexity": 11},
        {"complexity": -1},
        {"expected_loss_percent": 101},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(MisuseError):
        opus.Encoder(**settings)


@pytest.mark.parametrize("packet", [b"", b"\xff\xff", bytes([0xFB, 0x00]), b"\x03"])
def test_a_malformed_packet_is_the_peers_fault_and_does_no_harm(speech_like, packet):
    good = opus.Encoder(16000).encode(speech_like(16000, 0.02))
    decoder, fresh = opus.Decoder(), opus.Decoder()
    with pytest.raises(PeerError):
        decoder.decode(packet)
    np.testing.assert_array_equal(decoder.decode(good), fresh.decode(good))


def test_random_packets_never_crash_and_keep_their_length(rng):
    decoder = opus.Decoder(48000)
    for _ in range(1500):
        packet = rng.bytes(int(rng.integers(0, 80)))
        samples = opus.packet_samples(packet, 48000)
        if samples < 0:
            with pytest.raises(PeerError):
                decoder.decode(packet)
            continue
        try:
            assert decoder.decode(packet).shape == (samples,)
        except PeerError:
            continue


def test_wrong_types_and_lengths_are_named():
    encoder, decoder = opus.Encoder(16000), opus.Decoder()
    with pytest.raises(TypeError, match="float64"):
        encoder.encode(np.zeros(320))
    with pytest.raises(TypeError, match="contiguous"):
        encoder.encode(np.zeros(640, np.int16)[::2])
    with pytest.raises(TypeError, match="1-D"):
        encoder.encode(np.zeros((2, 160), np.int16))
    with pytest.raises(TypeError, match="str"):
        decoder.decode("packet")
    for n in (0, 319, 480, 1920):
        with pytest.raises(MisuseError, match=r"2\.5"):
            encoder.encode(np.zeros(n, np.int16))
    for samples in (0, -40, 41, 1960):
        with pytest.raises(MisuseError):
            decoder.conceal(samples)
    with pytest.raises(MisuseError, match="fec"):
        decoder.decode(b"\xf8\xff\xfe", samples=320)


def test_use_after_close_is_misuse():
    encoder, decoder = opus.Encoder(), opus.Decoder()
    for codec in (encoder, decoder):
        codec.close()
        codec.close()
    with pytest.raises(MisuseError, match="closed"):
        decoder.conceal(320)
    with pytest.raises(MisuseError, match="closed"):
        encoder.encode(np.zeros(480, np.int16))
    with pytest.raises(MisuseError, match="closed"):
        encoder.complexity = 3


def test_two_threads_in_one_object_are_refused_and_nothing_breaks(speech_like):
    encoder = opus.Encoder(48000, complexity=10, application="voip")
    pcm = speech_like(48000, 0.06)
    assert refusals(lambda: encoder.encode(pcm)) == {"in_use"}
    encoder.encode(pcm)
