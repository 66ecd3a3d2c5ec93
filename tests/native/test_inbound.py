"""The receive path: RTP in, 16 kHz audio out."""

from __future__ import annotations

import random
import struct
import threading
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from native.netem import MS, Netem
from native.test_rtp import cases, red, rtpdump
from voicecore._native import g711, inbound, opus, rtp
from voicecore._native.inbound import Inbound
from voicecore.errors import MisuseError

OPUS, RED, PCMU, PCMA, CN, DTMF = 111, 63, 0, 8, 13, 101
Pcm = NDArray[np.int16]


def tone(rate_hz: int, seconds: float, hz: float = 300.0, peak: int = 8000) -> Pcm:
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    return (peak * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def opus_payloads(count: int, *, fec: bool = False) -> list[bytes]:
    if fec:
        encoder = opus.Encoder(16000, application="voip", bitrate_bps=32000, complexity=5)
        encoder.expected_loss_percent = 20
    else:
        encoder = opus.Encoder(16000)
    pcm = tone(16000, count / 50)
    return [encoder.encode(pcm[i * 320 : (i + 1) * 320]) for i in range(count)]


def packet(index: int, payload: bytes, *, pt: int = OPUS, ssrc: int = 7, step: int = 960) -> bytes:
    return rtp.header(pt, index & 0xFFFF, (index * step) & 0xFFFFFFFF, ssrc) + payload


def level_db(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(np.float64) ** 2) + 1e-9))


def play(path: Inbound, packets: list[tuple[int, bytes]]) -> list[int]:
    """Push ``(arrival_ns, packet)``, polling after each and at every deadline."""
    statuses = []
    now_ns = 0
    for at_ns, data in packets:
        while 0 <= (due_ns := path.deadline()) < at_ns:
            now_ns = max(now_ns, due_ns)
            path.poll(now_ns)
        now_ns = at_ns
        statuses.append(path.push(data, now_ns))
        path.poll(now_ns)
    return statuses


def clocked(packets: list[bytes]) -> list[tuple[int, bytes]]:
    return [(i * 20 * MS, data) for i, data in enumerate(packets)]


def heard(path: Inbound) -> Pcm:
    return path.ring.copy(0, path.ring.position)


def test_in_order_packets_are_decoded_at_once() -> None:
    path = Inbound(opus_pt=OPUS)
    payloads = opus_payloads(50)
    decoder = opus.Decoder(16000)
    for i, payload in enumerate(payloads):
        assert path.push(packet(i, payload), i * 20 * MS) == inbound.OK
        assert path.poll(i * 20 * MS) == 320
    expected = np.concatenate([decoder.decode(payload) for payload in payloads])
    assert np.array_equal(heard(path), expected)
    assert path.ssrc == 7
    stats = path.stats()
    assert (stats["received"], stats["expected"], stats["lost"]) == (50, 50, 0)
    assert stats["highest_sequence"] == 49


def test_many_datagrams_then_one_poll() -> None:
    path = Inbound(opus_pt=OPUS)
    for i in (1, 0, 3, 2):
        path.push(packet(i + 10, opus_payloads(1)[0]), 0)
    assert path.poll(0) == 3 * 320  # 10 came after the stream had begun with 11
    assert path.stats()["late"] == 1


@pytest.mark.parametrize("pt", [PCMU, PCMA])
def test_g711_is_upsampled(pt: int) -> None:
    path = Inbound(pcmu_pt=PCMU, pcma_pt=PCMA)
    pcm = tone(8000, 1.0)
    coded = g711.ulaw_encode(pcm) if pt == PCMU else g711.alaw_encode(pcm)
    play(
        path,
        clocked([packet(i, coded[i * 160 : i * 160 + 160], pt=pt, step=160) for i in range(50)]),
    )
    out = heard(path)
    assert len(out) == 16000
    assert level_db(out[2000:]) == pytest.approx(level_db(pcm), abs=0.2)
    spectrum = np.abs(np.fft.rfft(out[4000:12000].astype(float) * np.hanning(8000)))
    assert np.argmax(spectrum) * 2 == 300


def test_loss_is_concealed_marked_and_never_zero() -> None:
    path = Inbound(opus_pt=OPUS)
    payloads = opus_payloads(50)
    lost = {20, 21, 35}
    packets = clocked(list(map(packet, range(50), payloads)))
    play(path, [p for i, p in enumerate(packets) if i not in lost])
    out = heard(path)
    assert len(out) == 50 * 320
    for i in lost:
        frame = out[i * 320 : (i + 1) * 320]
        assert np.any(frame), "concealment is not digital zeros"
        assert path.concealed(i * 320, (i + 1) * 320) == 320
    assert path.concealed(0, len(out)) == 3 * 320
    assert path.concealed(20 * 320 + 100, 21 * 320 + 50) == 270
    assert path.concealed(0, 20 * 320) == path.concealed(36 * 320, 10**9) == 0
    assert path.stats()["concealed_ms"] == 60


def test_g711_loss_is_concealed() -> None:
    path = Inbound(pcmu_pt=PCMU)
    coded = g711.ulaw_encode(tone(8000, 1.0))
    packets = [packet(i, coded[i * 160 : i * 160 + 160], pt=PCMU, step=160) for i in range(50)]
    play(path, [p for i, p in enumerate(clocked(packets)) if i != 25])
    out = heard(path)
    assert len(out) == 16000
    assert level_db(out[25 * 320 : 26 * 320]) > level_db(out[10 * 320 : 11 * 320]) - 6
    assert path.concealed(0, 16000) == 320


def test_long_loss_is_skipped_after_200_ms() -> None:
    path = Inbound(opus_pt=OPUS)
    packets = clocked(list(map(packet, range(60), opus_payloads(60))))
    play(path, packets[:20] + packets[50:])
    assert path.concealed(0, 10**9) == 200 * 16
    stats = path.stats()
    assert stats["skipped_ms"] == 400
    assert path.ring.position == (30 + 10) * 320


def test_fec_recovers_a_lost_frame() -> None:
    path = Inbound(opus_pt=OPUS)
    payloads = opus_payloads(50, fec=True)
    # An encoder leaves the copy out where it thinks it isn't worth the bits.
    lost = [i for i in range(5, 48, 3) if opus.packet_has_fec(payloads[i + 1])]
    assert len(lost) >= 5
    packets = clocked(list(map(packet, range(50), payloads)))
    play(path, [p for i, p in enumerate(packets) if i not in lost])
    stats = path.stats()
    assert (stats["fec"], stats["concealed_ms"], stats["lost"]) == (len(lost), 0, len(lost))
    assert path.ring.position == 50 * 320
    assert path.concealed(0, 50 * 320) == 0


def test_red_recovers_bursts() -> None:
    path = Inbound(opus_pt=OPUS, red_pt=RED)
    payloads = opus_payloads(60)
    packets = []
    for i, payload in enumerate(payloads):
        older = [(OPUS, 960 * back, payloads[i - back]) for back in (2, 1) if i >= back]
        packets.append(packet(i, red([*older, (OPUS, 0, payload)]), pt=RED))
    play(path, [p for i, p in enumerate(clocked(packets)) if i % 10 not in (4, 5)])
    decoder = opus.Decoder(16000)
    expected = np.concatenate([decoder.decode(payload) for payload in payloads])
    assert np.array_equal(heard(path), expected), "the same audio as without loss"
    stats = path.stats()
    assert (stats["red"], stats["lost"], stats["concealed_ms"]) == (12, 0, 0)


def test_malformed_red_is_counted() -> None:
    path = Inbound(opus_pt=OPUS, red_pt=RED)
    good = red([(OPUS, 960, b"older"), (OPUS, 0, opus_payloads(1)[0])])
    assert path.push(packet(0, good[:6], pt=RED), 0) == inbound.MALFORMED
    assert path.push(packet(0, red([(OPUS, 960, b"x"), (99, 0, b"y")]), pt=RED), 0) == (
        inbound.UNKNOWN_PT
    )
    assert path.push(packet(0, red([(RED, 960, b"x"), (RED, 0, b"y")]), pt=RED), 0) == (
        inbound.UNKNOWN_PT
    )


@pytest.mark.parametrize("bad", [b"\xff", b"\xff\xff\xff", b"\x03\x00", bytes([0x4B, 0xC1, 5])])
def test_corrupt_opus_is_concealed(bad: bytes) -> None:
    path = Inbound(opus_pt=OPUS)
    payloads = opus_payloads(20)
    payloads[10] = bad
    assert set(play(path, clocked(list(map(packet, range(20), payloads))))) == {inbound.OK}
    stats = path.stats()
    assert (stats["corrupt"], stats["lost"]) == (1, 0)
    assert path.ring.position == 20 * 320
    assert path.concealed(0, 10**9) == 320


def test_other_payload_types_make_no_hole() -> None:
    path = Inbound(opus_pt=OPUS)
    packets = list(map(packet, range(20), opus_payloads(20)))
    for i in (8, 9, 10):
        packets[i] = packet(i, b"\5\0\0\0", pt=DTMF)
    statuses = play(path, clocked(packets))
    assert statuses[8:11] == [inbound.UNKNOWN_PT] * 3
    stats = path.stats()
    assert (stats["unknown_pt"], stats["lost"], stats["concealed_ms"]) == (3, 0, 0)
    assert stats["paused_ms"] == 60
    assert path.ring.position == 20 * 320


def test_unknown_type_does_not_begin_a_stream() -> None:
    path = Inbound(opus_pt=OPUS)
    assert path.push(packet(5, b"x", pt=DTMF, ssrc=99), 0) == inbound.UNKNOWN_PT
    assert path.push(packet(900, opus_payloads(1)[0]), 0) == inbound.OK
    assert path.push(b"\x80", 0) == inbound.MALFORMED


def test_opus_pause_is_filled_at_the_pace_of_media() -> None:
    path = Inbound(opus_pt=OPUS)
    encoder = opus.Encoder(16000, application="voip", bitrate_bps=24000, complexity=5, dtx=True)
    rng = np.random.default_rng(4)
    pcm = np.concatenate([tone(16000, 1.0), rng.normal(0, 20, 48000).astype(np.int16)])
    sent = []
    for i in range(200):
        payload = encoder.encode(pcm[i * 320 : (i + 1) * 320])
        if len(payload) > 2 or not sent or len(sent[-1][2]) > 2:
            sent.append((i, len(sent), payload))
    assert len(sent) < 150, "the encoder paused"
    packets = [
        (i * 20 * MS, rtp.header(OPUS, seq, i * 960, 7) + payload) for i, seq, payload in sent
    ]
    play(path, packets)
    path.poll(199 * 20 * MS)
    assert abs(path.ring.position - 200 * 320) <= 2 * 320
    stats = path.stats()
    assert (stats["stalls"], stats["lost"], stats["concealed_ms"]) == (0, 0, 0)
    assert stats["paused_ms"] > 500
    first = next(i for i, _, payload in sent if len(payload) <= 2) * 320
    assert paused(path, 0, first) == 0
    real = 320 * sum(i * 320 >= first and len(payload) > 2 for i, _, payload in sent)
    assert paused(path, first, path.ring.position) == path.ring.position - first - real


def paused(path: Inbound, start: int, end: int) -> int:
    """How many of those samples lie in the sender's pauses."""
    return sum(path.pause_end(at) > at for at in range(start, end))


def test_a_loss_is_no_pause() -> None:
    path = Inbound(opus_pt=OPUS)
    packets = list(map(packet, range(40), opus_payloads(40)))
    play(path, clocked(packets[:10] + packets[13:]))
    assert path.concealed(0, path.ring.position) > 0
    assert paused(path, 0, path.ring.position) == 0


def test_long_ago_pauses_are_forgotten_and_never_invented() -> None:
    path = Inbound(opus_pt=OPUS)
    speech = opus_payloads(1)[0]
    count = 100
    payloads = [speech if i % 2 else b"\x08" for i in range(count)]
    play(path, clocked(list(map(packet, range(count), payloads))))
    now = path.ring.position
    assert now == count * 320
    for i in range(count):
        known = i >= count - 2 * 32 and not i % 2
        assert path.pause_end(i * 320) == (i + known) * 320
    assert path.pause_end(now) == now
    assert path.pause_end(10**12) == 10**12


def test_g711_comfort_noise() -> None:
    path = Inbound(pcmu_pt=PCMU)
    coded = g711.ulaw_encode(tone(8000, 0.2))
    packets = clocked(
        [packet(i, coded[i * 160 : i * 160 + 160], pt=PCMU, step=160) for i in range(10)]
    )
    packets.append((200 * MS, packet(10, bytes([40]), pt=CN, step=160)))
    play(path, packets)
    for now_ms in range(200, 1200, 7):
        path.poll(now_ms * MS)
    out = heard(path)
    assert len(out) == pytest.approx(16000 * 1.2, abs=640)
    noise = out[5000:]
    assert level_db(noise) - 20 * np.log10(32768) == pytest.approx(-40, abs=2)
    assert path.stats()["comfort_noise"] == 1
    # The resampler gives what it held back before the pause begins.
    assert (path.pause_end(3100), path.pause_end(3200)) == (3100, path.ring.position)


def test_stall_begins_and_ends() -> None:
    path = Inbound(opus_pt=OPUS)
    payloads = opus_payloads(30)
    play(path, clocked(list(map(packet, range(20), payloads))))
    assert not path.stalled
    due_ns = path.deadline()
    assert 440 * MS <= due_ns <= 580 * MS
    assert path.poll(due_ns) == 0
    assert path.stalled
    path.push(packet(20, payloads[20]), 2000 * MS)
    path.poll(2000 * MS)
    assert not path.stalled


def test_new_ssrc_and_sequence_jump() -> None:
    path = Inbound(opus_pt=OPUS)
    payloads = opus_payloads(30)
    packets = [packet(i, p) for i, p in enumerate(payloads[:10])]
    packets += [packet(i + 5000, p, ssrc=8) for i, p in enumerate(payloads[10:20])]
    packets += [packet(i + 4000, p, ssrc=8) for i, p in enumerate(payloads[20:])]
    statuses = play(path, clocked(packets))
    assert [i for i, s in enumerate(statuses) if s == inbound.PROBE] == [10, 20]
    assert path.ring.position == 30 * 320, "the packet on probation isn't lost"
    assert path.ssrc == 8
    assert path.stats()["resets"] == 2


@pytest.mark.parametrize("pt", [OPUS, PCMU])
def test_a_new_stream_is_heard_as_if_there_had_been_no_other(pt: int) -> None:
    if pt == OPUS:
        step, coded = 960, opus_payloads(20, fec=True)
    else:
        step, whole = 160, g711.ulaw_encode(tone(8000, 0.4))
        coded = [whole[i : i + 160] for i in range(0, len(whole), 160)]
    later = [packet(i + 5000, p, pt=pt, ssrc=8, step=step) for i, p in enumerate(coded)]
    fresh, path = (Inbound(opus_pt=OPUS, pcmu_pt=PCMU) for _ in range(2))
    play(fresh, clocked(later))
    play(path, clocked([packet(i, p, pt=pt, step=step) for i, p in enumerate(coded[:13])] + later))
    assert path.stats()["resets"] == 1
    length = fresh.ring.position
    assert np.array_equal(path.ring.copy(path.ring.position - length, length), heard(fresh))


def test_codec_change_in_mid_call() -> None:
    path = Inbound(opus_pt=OPUS, pcmu_pt=PCMU)
    coded = g711.ulaw_encode(tone(8000, 0.2))
    packets = list(map(packet, range(10), opus_payloads(10)))
    packets += [
        packet(10 + i, coded[i * 160 : i * 160 + 160], pt=PCMU, step=160) for i in range(10)
    ]
    packets += [packet(20 + i, p) for i, p in enumerate(opus_payloads(10))]
    assert set(play(path, clocked(packets))) == {inbound.OK}
    assert path.ring.position == 30 * 320
    stats = path.stats()
    assert (stats["lost"], stats["received"], stats["expected"]) == (0, 30, 30)


def test_bad_network_keeps_the_clock() -> None:
    seed = 11
    net = Netem(seed, jitter_ms=5, loss=0.05, burst=2, reorder=0.02, duplicate=0.02)
    for i, payload in enumerate(opus_payloads(500, fec=True)):
        net.send(packet(i + 65300, payload), i * 20 * MS)
    path = Inbound(opus_pt=OPUS)
    play(path, net.deliver(10**12))
    stats = path.stats()
    media_ms = stats["expected"] * 20 - stats["skipped_ms"]
    assert abs(path.ring.position / 16 - media_ms) <= 60, f"seed {seed}"
    assert stats["expected"] - (stats["received"] - stats["duplicate"]) == pytest.approx(
        net.lost, abs=5
    )
    assert stats["concealed_ms"] + stats["fec"] * 20 <= stats["lost"] * 20


def test_garbage_never_raises() -> None:
    seed = 12
    rng = random.Random(seed)
    payloads = opus_payloads(20, fec=True)
    path = Inbound(opus_pt=OPUS, pcmu_pt=PCMU, pcma_pt=PCMA, red_pt=RED)
    now_ns, index = 0, 0
    for _ in range(6000):
        now_ns += rng.choice((0, 1, 20, 20, 300)) * MS
        index += rng.choice((-1, 0, 1, 1, 1, 2, 7, 70))
        payload = rng.choice(payloads)
        if rng.random() < 0.3:
            payload = red([(OPUS, 960, payload), (rng.choice((OPUS, PCMU)), 0, payload)])
        pt = rng.choice((OPUS, OPUS, RED, PCMU, PCMA, CN, DTMF))
        data = bytearray(packet(index, payload, pt=pt))
        for _ in range(rng.choice((0, 0, 1, 3))):
            data[rng.randrange(len(data))] = rng.getrandbits(8)
        if rng.random() < 0.1:
            del data[rng.randrange(len(data)) :]
        path.push(bytes(data), now_ns)
        if rng.random() < 0.8:
            path.poll(now_ns)
    assert path.concealed(0, path.ring.position) <= path.ring.position, f"seed {seed}"
    assert path.stats()["malformed"] > 0


# -- use ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"red_pt": 63},
        {"opus_pt": 128},
        {"opus_pt": 8, "pcma_pt": 8},
        {"opus_pt": 1, "ring_ms": 9},
    ],
)
def test_arguments(arguments: dict[str, int]) -> None:
    with pytest.raises(MisuseError):
        Inbound(**arguments)


def test_the_ring_is_not_writable_from_outside() -> None:
    with pytest.raises(MisuseError):
        Inbound(opus_pt=OPUS).ring.write(np.zeros(10, np.int16))


def test_closed() -> None:
    path = Inbound(opus_pt=OPUS)
    play(path, [(0, packet(0, opus_payloads(1)[0]))])
    path.close()
    path.close()
    with pytest.raises(MisuseError, match="closed"):
        path.push(b"", 0)
    with pytest.raises(MisuseError, match="closed"):
        path.poll(0)
    assert path.deadline() == -1
    assert len(heard(path)) == 320


def test_two_threads_are_refused_or_served_one_after_the_other() -> None:
    path = Inbound(opus_pt=OPUS)
    packets = list(map(packet, range(200), opus_payloads(200)))
    refused = []

    def work() -> None:
        for i, data in enumerate(packets):
            try:
                path.push(data, i)
                path.poll(i)
            except MisuseError as error:
                refused.append(error.code)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(refused) <= {"in_use"}


# -- recordings --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["call1_ulaw.a", "call1_ulaw.o", "call1_alaw.a", "call1_alaw.o"])
def test_recorded_call_is_received_whole(name: str) -> None:
    (file,) = cases("rtp_rtpproxy", f"*{name}.rtpdump")
    packets = rtpdump(file)
    path = Inbound(pcmu_pt=PCMU, pcma_pt=PCMA)
    play(path, [(ms * MS, data) for ms, data in packets])
    stats = path.stats()
    assert (stats["lost"], stats["late"], stats["malformed"]) == (0, 0, 0)
    frames = len({data[2:4] for _, data in packets})
    assert path.ring.position - stats["paused_ms"] * 16 == frames * 320


def test_jittery_recording_loses_nothing_that_arrived() -> None:
    (clean,) = cases("rtp_webrtc_pairs", "stereo_pcmu.rtp")
    (rough,) = cases("rtp_webrtc_pairs", "stereo_pcmu_jitter.rtp")
    figures = []
    for file in (clean, rough):
        packets = sorted(rtpdump(file), key=lambda entry: entry[0])
        path = Inbound(pcmu_pt=struct.unpack(">B", packets[0][1][1:2])[0] & 127)
        play(path, [(ms * MS, data) for ms, data in packets])
        figures.append(path.stats())
        order = [struct.unpack(">H", data[2:4])[0] for _, data in packets]
        swapped = sum(1 for a, b in pairwise(order) if (b - a) & 0xFFFF > 0x8000)
        assert path.stats()["reordered"] + path.stats()["late"] >= min(swapped, 1)
    assert figures[0]["late"] == 0
    assert figures[1]["late"] <= 0.01 * figures[1]["received"]
