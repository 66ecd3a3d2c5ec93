"""The tap: the far end's own packets, in playout order, as long as the audio made of them."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from native.netem import MS
from native.plane_kit import End, Wire, wait_for
from native.test_fuzz import damaged, datagrams
from native.test_inbound import (
    CN,
    OPUS,
    PCMA,
    PCMU,
    RED,
    clocked,
    heard,
    opus_payloads,
    packet,
    play,
    tone,
)
from native.test_plane_c import HERE, check
from native.test_rtp import red
from voicecore._native import g711, opus, rtp
from voicecore._native.inbound import Inbound
from voicecore._native.packet_tap import PacketReader, PacketTap, TappedPacket
from voicecore._native.ring import AudioRing
from voicecore.errors import MisuseError

Pcm = NDArray[np.int16]


def all_of(path: Inbound, position: int = 0) -> list[TappedPacket]:
    return path.tap().reader(position).rest(path.ring.position)


def tapped(packets: list[tuple[int, bytes]], **types: int) -> tuple[Inbound, list[TappedPacket]]:
    """What a path makes of packets, and what its tap kept."""
    path = Inbound(**(types or {"opus_pt": OPUS}))
    path.tap()
    play(path, packets)
    return path, all_of(path)


def decoded(packets: list[TappedPacket]) -> Pcm:
    """By a fresh decoder, as a recogniser's server has."""
    decoder = opus.Decoder(16_000)
    return np.concatenate([decoder.decode(each.payload) for each in packets])


def samples(packets: list[TappedPacket]) -> int:
    return round(sum(each.duration_ms for each in packets) * 16)


def kinds(packets: list[TappedPacket]) -> str:
    return "".join(each.kind[0] for each in packets)


def voice_payloads(
    speech: Pcm, frame: int = 320, *, bitrate_bps: int = 32_000, **settings: object
) -> list[bytes]:
    encoder = opus.Encoder(16_000, bitrate_bps=bitrate_bps, **settings)  # type: ignore[arg-type]
    return [encoder.encode(speech[at : at + frame]) for at in range(0, len(speech), frame)]


# -- what came ---------------------------------------------------------------------------------


def test_packets_in_order_are_handed_out_as_they_came(opuslib: ModuleType) -> None:
    payloads = opus_payloads(50)
    path, packets = tapped(clocked(list(map(packet, range(50), payloads))))
    assert [each.payload for each in packets] == payloads
    assert [each.end_sample for each in packets] == [320 * (i + 1) for i in range(50)]
    assert {(each.duration_ms, each.kind) for each in packets} == {(20.0, "packet")}
    assert np.array_equal(decoded(packets), heard(path)), "both decoders began with it"
    theirs = opuslib.Decoder(16_000, 1)
    theirs_pcm = b"".join(theirs.decode(each.payload, 320) for each in packets)
    assert np.array_equal(np.frombuffer(theirs_pcm, np.int16), heard(path))


@pytest.mark.parametrize(("application", "complexity"), [("audio", 0), ("voip", 5)])
def test_a_decoder_that_joins_in_mid_call_soon_makes_the_same(
    application: str, complexity: int, speech_like
) -> None:
    """CELT and SILK. State is its own at first, and SILK's lasts as long as a vowel does.

    So it joins in the first of two vowels, and the second one is compared.
    """
    vowel, quiet = speech_like(16_000, 0.8), np.zeros(6400, np.int16)
    speech = np.concatenate([vowel, quiet, vowel])
    payloads = voice_payloads(speech, application=application, complexity=complexity)
    path = Inbound(opus_pt=OPUS)
    path.tap()
    play(path, clocked(list(map(packet, range(100), payloads))))
    packets = all_of(path, 30 * 320 + 100)
    begin = packets[0].end_sample - 320
    assert begin == 30 * 320, "the packet that covers the position comes whole"
    assert len(decoded(packets)) == path.ring.position - begin
    theirs, ours = decoded(packets)[-12_800:], path.ring.copy(path.ring.position - 12_800, 12_800)
    difference = theirs.astype(float) - ours
    snr_db = 10 * np.log10(np.mean(ours.astype(float) ** 2) / np.mean(difference**2 + 1e-9))
    assert snr_db > 60, f"{snr_db:.0f} dB"


@pytest.mark.parametrize(("pt", "codec"), [(PCMU, "pcmu"), (PCMA, "pcma")])
def test_g711_comes_byte_for_byte(pt: int, codec: str) -> None:
    encode = g711.ulaw_encode if pt == PCMU else g711.alaw_encode
    coded = encode(tone(8000, 1.0))
    sent = [packet(i, coded[i * 160 : i * 160 + 160], pt=pt, step=160) for i in range(50)]
    path, packets = tapped(clocked(sent), **{f"{codec}_pt": pt})
    assert path.tap().codec == path.codec == codec
    assert b"".join(each.payload for each in packets) == coded
    assert samples(packets) == path.ring.position


@pytest.mark.parametrize("frame_ms", [2.5, 5, 10, 40, 60])
def test_packets_of_every_length(frame_ms: float, speech_like) -> None:
    frame = int(frame_ms * 16)
    speech = speech_like(16_000, 1.2)
    mode = {"application": "voip", "complexity": 5} if frame_ms >= 10 else {"application": "audio"}
    payloads = voice_payloads(speech, frame, **mode)
    step = frame * 3
    sent = [
        (int(i * frame_ms * MS), packet(i, payload, step=step))
        for i, payload in enumerate(payloads)
    ]
    path, packets = tapped(sent)
    assert [each.payload for each in packets] == payloads
    assert len(decoded(packets)) == path.ring.position == len(speech)
    # And with every seventh lost: as much time, in frames that the mode has.
    path, packets = tapped([each for i, each in enumerate(sent) if i % 7 != 5])
    assert "l" in kinds(packets)
    assert len(decoded(packets)) == path.ring.position


# -- what didn't -------------------------------------------------------------------------------


def test_what_is_lost_takes_its_time(speech_like, c_opus) -> None:
    payloads = voice_payloads(speech_like(16_000, 1.0))
    lost = {20, 21, 35}
    sent = clocked(list(map(packet, range(50), payloads)))
    path, packets = tapped([each for i, each in enumerate(sent) if i not in lost])
    assert kinds(packets) == "".join("l" if i in lost else "p" for i in range(50))
    for i in lost:
        toc = payloads[i - 1][0]
        assert packets[i] == TappedPacket(bytes([toc & ~3]), 20.0, 320 * (i + 1), "lost")
        assert c_opus.opus_packet_get_nb_frames(packets[i].payload, 1) == 1
        assert c_opus.opus_packet_get_samples_per_frame(packets[i].payload, 16_000) == 320
    theirs = decoded(packets)
    assert len(theirs) == path.ring.position == 50 * 320
    assert np.array_equal(theirs[: 20 * 320], heard(path)[: 20 * 320])
    assert np.any(theirs[20 * 320 : 21 * 320]), "the decoder conceals"


def test_what_red_brings_is_handed_out_and_fec_is_not() -> None:
    payloads = opus_payloads(60, fec=True)
    sent = []
    for i, payload in enumerate(payloads):
        older = [(OPUS, 960 * back, payloads[i - back]) for back in (2, 1) if i >= back]
        sent.append(packet(i, red([*older, (OPUS, 0, payload)]), pt=RED))
    fewer = [each for i, each in enumerate(clocked(sent)) if i % 10 not in (4, 5)]
    path, packets = tapped(fewer, opus_pt=OPUS, red_pt=RED)
    assert path.stats()["red"] == 12
    assert [each.payload for each in packets] == payloads
    plain = clocked(list(map(packet, range(60), payloads)))
    lost = [i for i in range(5, 58, 5) if opus.packet_has_fec(payloads[i + 1])]
    path, packets = tapped([each for i, each in enumerate(plain) if i not in lost])
    assert path.stats()["fec"] == len(lost) > 0
    assert [i for i, each in enumerate(packets) if each.kind == "lost"] == lost


@pytest.mark.parametrize("bad", [b"\xff", b"\xff\xff\xff", b"\x03\x00"])
def test_what_is_corrupt_is_not_handed_on(bad: bytes) -> None:
    payloads = opus_payloads(20)
    payloads[10] = bad
    path, packets = tapped(clocked(list(map(packet, range(20), payloads))))
    assert kinds(packets) == "p" * 10 + "l" + "p" * 9
    assert bad not in [each.payload for each in packets]
    assert len(decoded(packets)) == path.ring.position


def test_what_is_lost_beyond_concealment_is_lost_to_both() -> None:
    sent = clocked(list(map(packet, range(60), opus_payloads(60))))
    path, packets = tapped(sent[:20] + sent[50:])
    assert samples(packets) == path.ring.position == (30 + 10) * 320


@pytest.mark.parametrize(("pt", "silence"), [(PCMU, b"\xff"), (PCMA, b"\xd5")])
def test_g711_that_is_lost_or_a_pause_is_silence(pt: int, silence: bytes) -> None:
    coded = (g711.ulaw_encode if pt == PCMU else g711.alaw_encode)(tone(8000, 1.0))
    sent = [packet(i, coded[i * 160 : i * 160 + 160], pt=pt, step=160) for i in range(50)]
    sent[30] = packet(30, b"\x40", pt=CN, step=160)
    types = {"pcmu_pt" if pt == PCMU else "pcma_pt": pt}
    path, packets = tapped([each for i, each in enumerate(clocked(sent)) if i != 25], **types)
    assert [(each.payload, each.kind) for each in packets if each.kind != "packet"] == [
        (silence * 160, "lost"), (silence * 160, "gap"),
    ]  # fmt: skip
    assert len(b"".join(each.payload for each in packets)) * 2 == path.ring.position
    decode = g711.ulaw_decode if pt == PCMU else g711.alaw_decode
    assert abs(decode(silence)[0]) <= 8, "zero, or A-law's nearest to it"


def test_a_pause_has_packets_too(speech_like) -> None:
    encoder = opus.Encoder(16_000, application="voip", bitrate_bps=24_000, complexity=5, dtx=True)
    quiet = np.random.default_rng(4).normal(0, 20, 48_000).astype(np.int16)
    pcm = np.concatenate([speech_like(16_000, 1.0), quiet, speech_like(16_000, 1.0)])
    sent: list[tuple[int, bytes]] = []
    before = b"   "
    for i in range(len(pcm) // 320):
        payload = encoder.encode(pcm[i * 320 : (i + 1) * 320])
        if len(payload) > 2 or len(before) > 2:
            sent.append((i * 20 * MS, rtp.header(OPUS, len(sent), i * 960, 7) + payload))
        before = payload
    path, packets = tapped(sent, opus_pt=OPUS, ring_ms=10_000)
    assert "ggggg" in kinds(packets)
    assert "l" not in kinds(packets)
    assert sum(each.kind == "packet" for each in packets) == len(sent)
    assert samples(packets) == len(decoded(packets)) == path.ring.position


def test_a_pause_of_an_odd_length_is_made_up_for_with_the_next(speech_like) -> None:
    """What is too short for a frame of the mode is owed, and never more than that."""
    payloads = voice_payloads(speech_like(16_000, 1.0), application="voip", complexity=5)
    assert opus.packet_info(payloads[0]).mode == "silk"  # type: ignore[union-attr]
    path = Inbound(opus_pt=OPUS)
    reader = path.tap().reader(0)
    handed = 0
    for i, payload in enumerate(payloads):
        ts = i * 960 + i * 48 * 7  # 7 ms between packets that nothing explains but a pause
        path.push(rtp.header(OPUS, i, ts, 7) + payload, i * 27 * MS)
        path.poll(i * 27 * MS)
        handed += samples(reader.read(path.ring.position))
        assert 0 <= path.ring.position - handed < 160
    assert path.ring.position == 50 * 320 + 49 * 7 * 16
    assert reader.missing == 0


def test_another_codec_s_packets_are_counted_and_take_their_time() -> None:
    path = Inbound(opus_pt=OPUS, pcmu_pt=PCMU)
    tap = path.tap()
    assert tap.codec == "opus"
    coded = g711.ulaw_encode(tone(8000, 0.4))
    play(path, [packet_at(i, packet(i, opus_payloads(1)[0])) for i in range(5)])
    play(path, [
        packet_at(i, packet(i, coded[i * 160 : i * 160 + 160], pt=PCMU, step=160))
        for i in range(5, 15)
    ])  # fmt: skip
    packets = all_of(path)
    assert tap.foreign == 10
    assert kinds(packets) == "p" * 5 + "l" * 10
    assert samples(packets) == path.ring.position


def packet_at(index: int, data: bytes) -> tuple[int, bytes]:
    return index * 20 * MS, data


# -- reading -----------------------------------------------------------------------------------


def ready_path(count: int = 50, **settings: int) -> tuple[Inbound, list[bytes]]:
    path = Inbound(opus_pt=OPUS, **settings)
    path.tap()
    payloads = opus_payloads(count)
    play(path, clocked(list(map(packet, range(count), payloads))))
    return path, payloads


@pytest.mark.parametrize("step", [1, 77, 320, 800, 1600, 5000])
def test_any_split_gives_each_packet_once(step: int) -> None:
    path, payloads = ready_path()
    reader = path.tap().reader(0)
    found = []
    for to in range(0, path.ring.position, step):
        found += reader.read(to)
        assert all(each.end_sample <= to for each in found)
        assert reader.position == to // 320 * 320
    found += reader.rest(path.ring.position)
    assert [each.payload for each in found] == payloads
    assert reader.rest(path.ring.position) == []


def test_the_rest_includes_the_packet_that_covers_the_end() -> None:
    path, payloads = ready_path()
    reader = path.tap().reader(700)
    assert [each.payload for each in reader.read(1600)] == payloads[2:5]
    assert [each.payload for each in reader.read(1900)] == []
    assert [each.payload for each in reader.rest(1900)] == payloads[5:6]
    assert [each.payload for each in reader.rest(1920)] == []
    assert [each.payload for each in reader.rest(1921)] == payloads[6:7]
    assert reader.position == 7 * 320
    reader.seek(3200)
    assert [each.payload for each in reader.rest(3200)] == []
    assert [each.payload for each in reader.rest(3201)] == payloads[10:11]
    reader.seek(100)
    assert [each.payload for each in reader.read(320)] == payloads[:1]
    assert reader.missing == 0


def test_a_pause_that_covers_both_ends_is_cut_at_them() -> None:
    """Nothing is said in it: no part of it is handed out twice."""
    path = Inbound(pcmu_pt=PCMU)
    path.tap()
    play(path, clocked([packet(0, bytes(160), pt=PCMU, step=160),
                        packet(1, b"\x40", pt=CN, step=160)]))  # fmt: skip
    assert path.ring.position == 640
    reader = path.tap().reader(400)
    assert reader.read(500) == []
    assert [each.payload for each in reader.rest(500)] == [b"\xff" * 50]
    assert [(each.payload, each.kind) for each in reader.read(640)] == [(b"\xff" * 70, "gap")]


def test_two_readers_do_not_disturb_each_other() -> None:
    path, payloads = ready_path()
    one, two = path.tap().reader(0), path.tap().reader(3200)
    assert [e.payload for e in one.read(6400)] + [e.payload for e in two.read(6400)] == [
        *payloads[:20], *payloads[10:20],
    ]  # fmt: skip


def test_before_the_tap_there_are_no_packets_but_there_is_time() -> None:
    path = Inbound(opus_pt=OPUS)
    payloads = opus_payloads(50)
    sent = clocked(list(map(packet, range(50), payloads)))
    play(path, sent[:20])
    assert path.tap() is path.tap()
    play(path, sent[20:])
    reader = path.tap().reader(3200 + 100)
    packets = reader.rest(path.ring.position)
    # 9.7 frames of 20 ms: 193.75 ms, of which CELT has 77 times 2.5 ms and a bit that is owed
    assert samples(packets[:-30]) == (6400 - 3300) // 40 * 40
    assert {each.kind for each in packets[:-30]} == {"lost"}
    assert [each.payload for each in packets[-30:]] == payloads[20:]
    assert reader.missing == 6400 - 3300


def test_the_oldest_go_and_a_late_reader_sees_how_much() -> None:
    """200 kb/s, of which a second is 25,000 bytes: more than what is kept for each second."""
    pcm = np.random.default_rng(5).integers(-9000, 9000, 100 * 320).astype(np.int16)
    payloads = voice_payloads(pcm, bitrate_bps=200_000)
    path = Inbound(opus_pt=OPUS, ring_ms=2000)
    reader = path.tap().reader(0)
    play(path, clocked(list(map(packet, range(100), payloads))))
    packets = reader.rest(path.ring.position)
    kept = [each.payload for each in packets if each.kind == "packet"]
    assert kept == payloads[-len(kept) :]
    held = sum(len(payload) + 16 for payload in kept)
    assert 32_768 - 700 < held <= 32_768
    assert samples(packets) == path.ring.position == len(decoded(packets))
    assert reader.missing == (100 - len(kept)) * 320


def test_what_the_ring_has_no_more_is_skipped() -> None:
    path, payloads = ready_path(300, ring_ms=1000)
    reader = path.tap().reader(0)
    packets = reader.rest(path.ring.position)
    assert [each.payload for each in packets] == payloads[-50:]
    assert reader.missing == 300 * 320 - 16_000


def test_the_log_wraps_around_for_ever() -> None:
    path = Inbound(opus_pt=OPUS, ring_ms=1000)
    rng = random.Random(7)
    reader = path.tap().reader(0)
    payloads, found = opus_payloads(1000), []
    for i, payload in enumerate(payloads):
        path.push(packet(i, payload), i * 20 * MS)
        path.poll(i * 20 * MS)
        if rng.random() < 0.1:
            found += reader.read(path.ring.position)
    found += reader.rest(path.ring.position)
    assert [each.payload for each in found] == payloads
    assert reader.missing == 0


# -- misuse ------------------------------------------------------------------------------------


def test_what_is_not_written_yet_is_refused() -> None:
    path, _ = ready_path(10)
    reader = path.tap().reader()
    assert reader.position == 3200
    for use in (reader.read, reader.rest, reader.seek, path.tap().reader):
        for position in (-1, 3201, 1 << 70):
            with pytest.raises((MisuseError, OverflowError)):
                use(position)
    with pytest.raises(TypeError):
        PacketReader(None)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="opus, pcmu, pcma"):
        PacketTap(AudioRing(16_000), "g722")


def test_a_tap_outlives_its_path() -> None:
    path, payloads = ready_path(10)
    tap = path.tap()
    path.close()
    assert [each.payload for each in tap.reader(0).rest(3200)] == payloads
    with pytest.raises(MisuseError, match="closed"):
        path.tap()


# -- whatever comes ----------------------------------------------------------------------------


@pytest.mark.parametrize("types", [{"opus_pt": 111, "red_pt": 63}, {"pcmu_pt": 0, "pcma_pt": 8}])
def test_whatever_comes_the_packets_last_as_long_as_the_audio(types: dict[str, int]) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    sent = datagrams(rng)
    path = Inbound(**types, ring_ms=200_000)
    reader = path.tap().reader(0)
    now_ns, seq, ts, handed = 0, 65_500, 2**32 - 9600, 0
    for _ in range(3000):
        data = bytearray(rng.choice(sent))
        if rng.random() < 0.02:
            seq = rng.getrandbits(16)
        seq = (seq + rng.choice((1, 1, 1, 1, 2, 0, -1, 5))) & 0xFFFF
        ts = (ts + rng.choice((960, 960, 160, 961))) & 0xFFFFFFFF
        data[2:8] = seq.to_bytes(2, "big") + ts.to_bytes(4, "big")
        path.push(damaged(data, rng) if rng.random() < 0.4 else bytes(data), now_ns)
        now_ns += rng.choice((0, 1, 20, 20, 20, 25, 300)) * MS
        path.poll(now_ns)
        packets = reader.read(path.ring.position)
        handed += samples(packets)
        for each in packets:
            if "opus_pt" in types:
                assert opus.packet_samples(each.payload, 16_000) == each.duration_ms * 16
            else:
                assert len(each.payload) == each.duration_ms * 8
        assert reader.position == handed
        assert 0 <= path.ring.position - handed < 160
    assert reader.missing == 0
    assert handed > 160_000


# -- threads -----------------------------------------------------------------------------------


def test_a_reader_on_another_thread_sees_whole_packets_in_order() -> None:
    """The writer runs without the GIL and laps the reader now and then."""
    path = Inbound(pcmu_pt=PCMU, ring_ms=1000)
    tap, done = path.tap(), threading.Event()
    sent = [packet(i, bytes([i % 251]) * 160, pt=PCMU, step=160) for i in range(20_000)]

    def write() -> None:
        for i in range(0, len(sent), 25):
            for data in sent[i : i + 25]:
                path.push(data, i * 20 * MS)
            path.poll(i * 20 * MS)
        done.set()

    reader, end, count = tap.reader(0), 0, 0
    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set() or reader.position < path.ring.position:
            for each in reader.read(path.ring.position):
                if each.kind != "packet":
                    continue
                assert each.payload == bytes([(each.end_sample // 320 - 1) % 251]) * 160
                assert each.end_sample > end
                end, count = each.end_sample, count + 1
    finally:
        writer.join()
    assert end == path.ring.position == 320 * len(sent)
    assert count * 320 + reader.missing == end


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_the_log_in_c(sanitizer: str, tmp_path: Path) -> None:
    """One writer, two readers, without Python, under a sanitizer that sees every race."""
    check(HERE / "threads" / "tap_check.c", [], tmp_path, "0", sanitizer)


def test_the_tap_of_a_call_on_the_media_threads() -> None:
    """Turned on while packets come; after the call it is still there to be read."""
    end = End()
    wire = Wire(end)
    session, payloads = wire.session, opus_payloads(200)
    ring = session.inbound.ring
    try:
        for i in range(100):
            wire.send_rtp(packet(i, payloads[i]))
        wait_for(lambda: ring.position >= 50 * 320, end)
        with pytest.raises(MisuseError, match="media plane"):
            session.inbound.tap()
        tap = session.tap()
        assert session.tap() is tap
        for i in range(100, 200):
            wire.send_rtp(packet(i, payloads[i]))
        wait_for(lambda: ring.position >= 200 * 320, end)
        packets = tap.reader(150 * 320).rest(200 * 320)
        assert [each.payload for each in packets] == payloads[150:]
        session.close()
        with pytest.raises(MisuseError, match="closed"):
            session.tap()
        assert tap.reader(199 * 320).rest(200 * 320) == packets[-1:]
    finally:
        wire.close()
        end.threads.close()
