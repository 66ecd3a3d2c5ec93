"""Opus bit for bit against the same library: settings changed in mid-call, stereo, DTX, corrupt
packets, and callers' own buffers."""

from __future__ import annotations

import ctypes
import sys
import threading

import numpy as np
import pytest

from native.test_opus import RATES, CtypesDecoder, frames
from voicecore._native import opus
from voicecore.errors import MisuseError, PeerError

APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
BANDWIDTHS_HZ = {4000: 1101, 6000: 1102, 8000: 1103, 12000: 1104, 20000: 1105}
REQUESTS = {
    "application": 4000,
    "bitrate_bps": 4002,
    "max_bandwidth_hz": 4004,
    "vbr": 4006,
    "complexity": 4010,
    "fec": 4012,
    "expected_loss_percent": 4014,
    "dtx": 4016,
}


class CtypesEncoder:
    """opus_encode with the same requests, without anything in between."""

    def __init__(self, library, rate_hz, channels=1, application="audio", **settings):
        self._library = library
        self._channels = channels
        self._state = ctypes.c_void_p(
            library.opus_encoder_create(rate_hz, channels, APPLICATIONS[application], None)
        )
        for name, value in settings.items():
            self.set(name, value)

    def set(self, name, value):
        value = {**APPLICATIONS, **BANDWIDTHS_HZ}.get(value, value) if name != "fec" else value
        status = self._library.opus_encoder_ctl(self._state, REQUESTS[name], ctypes.c_int(value))
        assert status == 0

    def reset(self):
        assert self._library.opus_encoder_ctl(self._state, 4028) == 0

    def encode(self, pcm):
        packet = ctypes.create_string_buffer(4000)
        data = pcm.ctypes.data_as(ctypes.POINTER(ctypes.c_int16))
        got = self._library.opus_encode(
            self._state, data, len(pcm) // self._channels, packet, len(packet)
        )
        assert got > 0
        return packet.raw[:got]


DEFAULTS = {"bitrate_bps": 64_000, "complexity": 0, "fec": True}


def changing(rng):
    """A setting and a value, at random."""
    return [
        ("bitrate_bps", int(rng.integers(6_000, 128_000))),
        ("complexity", int(rng.integers(0, 11))),
        ("fec", bool(rng.integers(2))),
        ("expected_loss_percent", int(rng.integers(0, 101))),
        ("dtx", bool(rng.integers(2))),
        ("vbr", bool(rng.integers(2))),
        ("max_bandwidth_hz", int(rng.choice(list(BANDWIDTHS_HZ)))),
    ][int(rng.integers(7))]


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize("application", APPLICATIONS)
def test_all_settings_change_in_mid_call(c_opus, rng, speech_like, rate_hz, application):
    ours = opus.Encoder(rate_hz, application=application)
    theirs = CtypesEncoder(c_opus, rate_hz, application=application, **DEFAULTS)
    decoder, peer = opus.Decoder(rate_hz), CtypesDecoder(c_opus, rate_hz)
    pcm = np.concatenate([speech_like(rate_hz, 0.3), np.zeros(rate_hz // 10, np.int16)] * 3)
    at = 0
    while at < len(pcm) - rate_hz // 16:
        for _ in range(int(rng.integers(0, 3))):
            name, value = changing(rng)
            setattr(ours, name, value)
            theirs.set(name, value)
            assert getattr(ours, name) == value
        n = int(rng.choice([1, 2, 4, 8, 16, 24])) * rate_hz // 400
        packet = ours.encode(pcm[at : at + n])
        assert packet == theirs.encode(pcm[at : at + n])
        np.testing.assert_array_equal(decoder.decode(packet), peer.decode(packet, n))
        at += n


def test_a_stream_of_lost_and_found_packets_equals_ctypes(c_opus, rng, speech_like):
    """Packets of all durations and modes; losses concealed, or recovered where that can be."""
    rate_hz = 16_000
    encoder = opus.Encoder(rate_hz, application="voip", bitrate_bps=32_000, complexity=5)
    encoder.expected_loss_percent = 20
    decoder, peer = opus.Decoder(rate_hz), CtypesDecoder(c_opus, rate_hz)
    voice, at, packets = speech_like(rate_hz, 4.0), 0, []
    while at < len(voice) - rate_hz // 16:
        n = int(rng.choice([4, 8, 8, 8, 16, 24])) * rate_hz // 400
        encoder.bitrate_bps = int(rng.choice([16_000, 32_000, 64_000]))
        packets.append((encoder.encode(voice[at : at + n]), n))
        at += n
    recovered = 0
    for index, (packet, n) in enumerate(packets[:-1]):
        following = packets[index + 1][0]
        if rng.random() < 0.7:
            mine, theirs = decoder.decode(packet), peer.decode(packet, n)
        elif opus.packet_has_fec(following):
            recovered += 1
            mine = decoder.decode(following, fec=True, samples=n)
            theirs = peer.decode(following, n, 1)
        else:
            mine, theirs = decoder.conceal(n), peer.decode(None, n)
        np.testing.assert_array_equal(mine, theirs)
    assert recovered


def test_dtx_equals_ctypes_and_says_so(c_opus, speech_like):
    settings = {"application": "voip", "bitrate_bps": 24_000, "complexity": 5, "dtx": True}
    ours = opus.Encoder(16_000, fec=False, **settings)
    theirs = CtypesEncoder(c_opus, 16_000, **settings)
    decoder, peer = opus.Decoder(48_000), CtypesDecoder(c_opus, 48_000)
    pcm = np.concatenate([speech_like(16_000, 0.3), np.zeros(16_000, np.int16)] * 2)
    quiet = 0
    for frame in frames(pcm, 16_000):
        packet = ours.encode(frame)
        assert packet == theirs.encode(frame)
        np.testing.assert_array_equal(decoder.decode(packet), peer.decode(packet, 960))
        assert opus.packet_info(packet).dtx == (len(packet) <= 2)
        quiet += opus.packet_info(packet).dtx
    assert quiet > 20


@pytest.mark.parametrize("rate_hz", RATES)
def test_stereo_packets_decode_to_mono(c_opus, speech_like, rate_hz):
    left, right = speech_like(48_000, 0.3, 110), speech_like(48_000, 0.3, 230)
    both = np.column_stack((left, right)).astype(np.int16)
    encoder = CtypesEncoder(c_opus, 48_000, 2, application="audio", bitrate_bps=96_000)
    decoder, peer = opus.Decoder(rate_hz), CtypesDecoder(c_opus, rate_hz)
    for start in range(0, len(both) - 959, 960):
        packet = encoder.encode(np.ascontiguousarray(both[start : start + 960]).reshape(-1))
        assert opus.packet_info(packet).channels == 2
        mono = decoder.decode(packet)
        assert mono.shape == (rate_hz // 50,)
        np.testing.assert_array_equal(mono, peer.decode(packet, rate_hz // 50))
    assert mono.any()


def test_packet_info_agrees_with_the_library_on_every_first_byte(c_opus):
    bandwidths = {code: hz for hz, code in BANDWIDTHS_HZ.items()}
    for first in range(256):
        packet = bytes([first, 2, 1, 2, 3])
        info = opus.packet_info(packet)
        frame_count = c_opus.opus_packet_get_nb_frames(packet, len(packet))
        per_frame = c_opus.opus_packet_get_samples_per_frame(packet, 48_000)
        if info is None:
            samples = (ctypes.c_int16 * 48)()
            parsed = c_opus.opus_packet_parse(packet, len(packet), None, None, samples, None)
            assert parsed < 0
            continue
        assert info.bandwidth_hz == bandwidths[c_opus.opus_packet_get_bandwidth(packet)]
        assert info.channels == c_opus.opus_packet_get_nb_channels(packet)
        assert info.frames == frame_count
        assert info.frame_ms * 48 == per_frame
        assert info.mode == ("silk" if first < 96 else "hybrid" if first < 128 else "celt")
        assert info.fec == opus.packet_has_fec(packet)
        assert not info.dtx
    assert opus.packet_info(b"\xf8\xff\xfe") == opus.PacketInfo(
        "celt", 20_000, 1, 1, 20.0, False, False
    )
    assert opus.packet_info(b"\x48").dtx
    assert opus.packet_info(b"") is None
    with pytest.raises(TypeError, match="bytes"):
        opus.packet_info("packet")


def test_what_an_encoder_was_told_is_in_its_packets(speech_like):
    encoder = opus.Encoder(48_000, application="voip", bitrate_bps=32_000, complexity=5)
    pcm = frames(speech_like(48_000, 1.0), 48_000)
    encoder.max_bandwidth_hz = 8000
    assert {opus.packet_info(encoder.encode(f)).bandwidth_hz for f in pcm[:20]} == {8000}
    encoder.vbr = False
    assert {len(encoder.encode(f)) for f in pcm[20:]} == {32_000 // 8 // 50}


def test_another_encoder_goes_on_in_the_same_stream(c_opus, speech_like):
    """Rate and application change by making a new encoder; the decoder takes its packets, and
    the level is that of the input from the new encoder's second frame on."""
    decoder, peer = opus.Decoder(16_000), CtypesDecoder(c_opus, 16_000)
    changes_db = []
    for rate_hz, application in ((16_000, "voip"), (24_000, "audio"), (48_000, "voip")):
        encoder = opus.Encoder(rate_hz, application=application, bitrate_bps=48_000, complexity=5)
        assert encoder.application == application
        for index, frame in enumerate(frames(speech_like(rate_hz, 0.4), rate_hz)):
            packet = encoder.encode(frame)
            heard = decoder.decode(packet)
            np.testing.assert_array_equal(heard, peer.decode(packet, 320))
            powers = [np.mean(block.astype(float) ** 2) for block in (heard, frame)]
            changes_db += [10 * np.log10(powers[0] / powers[1])] if index else []
    assert np.abs(changes_db).max() < 3


def test_the_application_changes_only_at_the_start_of_a_stream(c_opus, speech_like):
    voice = frames(speech_like(16_000, 0.3), 16_000)
    encoder = opus.Encoder(16_000)
    encoder.application = "voip"
    encoder.encode(voice[0])
    with pytest.raises(MisuseError, match="reset"):
        encoder.application = "audio"
    assert encoder.application == "voip"
    encoder.reset()
    encoder.application = "audio"
    fresh = CtypesEncoder(c_opus, 16_000, **DEFAULTS)
    assert [encoder.encode(f) for f in voice] == [fresh.encode(f) for f in voice]
    with pytest.raises(MisuseError, match="music"):
        encoder.application = "music"


def test_a_reset_encoder_is_as_a_fresh_one_with_its_settings(speech_like):
    voice = frames(speech_like(24_000, 0.3), 24_000)
    used = opus.Encoder(24_000, bitrate_bps=32_000, complexity=7, vbr=False)
    fresh = opus.Encoder(24_000, bitrate_bps=32_000, complexity=7, vbr=False)
    for frame in voice:
        used.encode(frame)
    used.reset()
    assert [used.encode(f) for f in voice] == [fresh.encode(f) for f in voice]


def test_decoding_into_a_callers_array(speech_like):
    encoder = opus.Encoder(16_000, application="voip", bitrate_bps=32_000, complexity=5)
    encoder.expected_loss_percent = 20
    packets = [encoder.encode(f) for f in frames(speech_like(16_000, 0.4), 16_000)]
    ours, fresh = opus.Decoder(), opus.Decoder()
    room = np.full(400, 77, np.int16)
    for packet in packets:
        assert ours.decode(packet, out=room) == 320
        np.testing.assert_array_equal(room[:320], fresh.decode(packet))
        assert ours.decode(packet, fec=True, samples=160, out=room) == 160
        np.testing.assert_array_equal(room[:160], fresh.decode(packet, fec=True, samples=160))
        assert ours.conceal(80, out=room) == 80
        np.testing.assert_array_equal(room[:80], fresh.conceal(80))
        assert (room[320:] == 77).all()
    with pytest.raises(MisuseError, match="320 are needed"):
        ours.decode(packets[0], out=room[:319])
    room.flags.writeable = False
    with pytest.raises(TypeError, match="writable"):
        ours.decode(packets[0], out=room)
    with pytest.raises(TypeError, match="float32"):
        ours.decode(packets[0], out=np.zeros(400, np.float32))
    with pytest.raises(TypeError, match="contiguous"):
        ours.decode(packets[0], out=np.zeros(800, np.int16)[::2])
    np.testing.assert_array_equal(ours.decode(packets[1]), fresh.decode(packets[1]))


def test_encoding_into_a_callers_buffer(speech_like):
    ours, fresh = opus.Encoder(24_000), opus.Encoder(24_000)
    for room in (bytearray(1276), memoryview(bytearray(3828)), np.zeros(1500, np.uint8)):
        for frame in frames(speech_like(24_000, 0.1), 24_000):
            n = ours.encode(frame, room)
            assert bytes(room[:n]) == fresh.encode(frame)
    for room in (b"12345", "text", None, np.zeros(3000, np.uint8)[::2]):
        if room is not None:
            with pytest.raises(TypeError, match="out must be"):
                ours.encode(frame, room)
    with pytest.raises(MisuseError, match="room"):
        ours.encode(frame, bytearray())
    assert ours.encode(frame, bytearray(40)) <= 40


def test_a_corrupt_stream_leaves_the_decoder_usable(c_opus, rng, speech_like):
    """Whatever bits are wrong: a PeerError or the very samples of the library, and no crash."""
    encoder = opus.Encoder(16_000, application="voip", bitrate_bps=32_000, complexity=5)
    packets = [encoder.encode(f) for f in frames(speech_like(16_000, 0.5), 16_000)]
    decoder, peer = opus.Decoder(16_000), CtypesDecoder(c_opus, 16_000)
    refused = 0
    for _ in range(300):
        packet = bytearray(packets[rng.integers(len(packets))])
        for _ in range(int(rng.integers(0, 4))):
            packet[rng.integers(len(packet))] = rng.integers(256)
        data = bytes(packet[: rng.integers(1, len(packet) + 1)])
        samples = opus.packet_samples(data, 16_000)
        if samples < 0:
            refused += 1
            with pytest.raises(PeerError):
                decoder.decode(data)
            continue
        np.testing.assert_array_equal(decoder.decode(data), peer.decode(data, samples))
    assert refused
    np.testing.assert_array_equal(decoder.decode(packets[0]), peer.decode(packets[0], 320))


def test_a_setting_of_the_wrong_type_leaves_the_encoder_usable():
    encoder = opus.Encoder(16_000)
    for name in ("complexity", "bitrate_bps", "expected_loss_percent"):
        with pytest.raises(TypeError):
            setattr(encoder, name, "5")
    encoder.complexity = 5
    with pytest.raises(TypeError):
        encoder.complexity = 5.5
    assert encoder.complexity == 5
    with pytest.raises(MisuseError, match="max_bandwidth_hz"):
        encoder.max_bandwidth_hz = 7000
    encoder.encode(np.zeros(320, np.int16))


def test_another_thread_runs_while_one_decodes(speech_like):
    """Python in this thread goes on while the other is inside the library."""
    encoder = opus.Encoder(48_000, application="voip", complexity=10)
    pcm = speech_like(48_000, 0.06)
    inside, stop = threading.Event(), threading.Event()

    def work():
        while not stop.is_set():
            inside.set()
            encoder.encode(pcm)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # so that only the library's own release lets this thread in
    thread = threading.Thread(target=work)
    try:
        thread.start()
        assert inside.wait(30)
        for _ in range(20):
            encoder_in_use = False
            try:
                encoder.complexity  # noqa: B018
            except MisuseError as error:
                encoder_in_use = error.code == "in_use"
            if encoder_in_use:
                break
        assert encoder_in_use, "this thread ran, but never while the other was inside"
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
