"""Reports out and in: fields, round trip, loss, requests, and whatever strangers call a report.

The oracle is aiortc's parser and writer.
"""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voicecore._native.rtcp import REPORT_INTERVAL_NS, RtcpState

aiortc_rtp = pytest.importorskip("aiortc.rtp")

from aiortc.rtp import (  # noqa: E402
    RtcpByePacket,
    RtcpPacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
    pack_remb_fci,
)

MS = 1_000_000
S = 1000 * MS
OURS, THEIRS = 0x11111111, 0x22222222


class Talk:
    """Our state of one call, with the counters that a report tells."""

    def __init__(self, **options: Any) -> None:
        self.state = RtcpState(OURS, "cname-1", 48_000, nack=True, **options)
        self.local = {
            "rtp_timestamp": 960_000, "packets": 50, "octets": 4000, "remote_ssrc": THEIRS,
            "expected": 0, "received": 0, "highest": 70_000, "jitter_ticks": 48.9,
        }  # fmt: skip
        self.now_ns = 5_000 * S

    def report(self, after_ns: int = 0, **local: Any) -> list[Any]:
        self.now_ns += after_ns
        return RtcpPacket.parse(self.state.write(self.now_ns, **(self.local | local)))

    def hear(self, *parts: object, after_ns: int = 0) -> bool:
        self.now_ns += after_ns
        return self.state.read(b"".join(bytes(part) for part in parts), self.now_ns)  # type: ignore[arg-type,call-overload]

    @property
    def remote(self) -> dict[str, Any]:
        return self.state.remote()


@pytest.fixture
def talk() -> Talk:
    return Talk()


def block(lsr: int = 0, dlsr: int = 0, **fields: int) -> RtcpReceiverInfo:
    values = {"ssrc": OURS, "fraction_lost": 0, "packets_lost": 0, "highest_sequence": 1}
    values |= {"jitter": 0, "lsr": lsr, "dlsr": dlsr} | fields
    return RtcpReceiverInfo(**values)


def middle(report: RtcpSrPacket) -> int:
    return int(report.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF)


# -- our reports ------------------------------------------------------------------------------


def test_sender_report_tells_what_was_sent(talk: Talk) -> None:
    report, sdes = talk.report()
    assert isinstance(report, RtcpSrPacket)
    assert report.ssrc == OURS
    info = report.sender_info
    assert (info.rtp_timestamp, info.packet_count, info.octet_count) == (960_000, 50, 4000)
    assert info.ntp_timestamp >> 32 == talk.now_ns // S
    assert report.reports == [], "nothing was received yet"
    assert isinstance(sdes, RtcpSdesPacket)
    assert (sdes.chunks[0].ssrc, sdes.chunks[0].items) == (OURS, [(1, b"cname-1")])


def test_receiver_report_while_nothing_is_sent(talk: Talk) -> None:
    report, sdes = talk.report(sending=False, expected=7, received=7)
    assert isinstance(report, RtcpRrPacket)
    assert isinstance(sdes, RtcpSdesPacket)
    assert [b.ssrc for b in report.reports] == [THEIRS]
    (empty, _) = talk.report(sending=False)
    assert empty.reports == []


def test_ntp_fraction() -> None:
    talk = Talk()
    (report, _) = talk.report(after_ns=250 * MS)
    assert report.sender_info.ntp_timestamp == (talk.now_ns << 32) // S


def test_counters_wrap_at_32_bits(talk: Talk) -> None:
    wide = {"rtp_timestamp": (1 << 32) + 5, "packets": (1 << 32) + 6, "octets": (1 << 33) + 7}
    report, _ = talk.report(**wide, received=1, expected=1, highest=(1 << 32) + 9)
    info = report.sender_info
    assert (info.rtp_timestamp, info.packet_count, info.octet_count) == (5, 6, 7)
    assert report.reports[0].highest_sequence == 9


@pytest.mark.parametrize(
    ("expected", "received", "fraction", "lost"),
    [
        (100, 100, 0, 0),
        (100, 90, 25, 10),
        (100, 50, 128, 50),
        (100, 0, None, None),  # nothing received: no block at all
        (100, 1, 253, 99),
        (1000, 1, 255, 999),
        (100, 103, 0, -3),  # duplicates
        (1 << 24, 1, 255, (1 << 23) - 1),
        (1, 1 << 24, 0, -(1 << 23)),
    ],
)
def test_fraction_and_total_lost(
    talk: Talk, expected: int, received: int, fraction: int | None, lost: int | None
) -> None:
    report, _ = talk.report(expected=expected, received=received)
    if fraction is None:
        assert report.reports == []
        return
    (told,) = report.reports
    assert (told.ssrc, told.fraction_lost, told.packets_lost) == (THEIRS, fraction, lost)
    assert (told.highest_sequence, told.jitter) == (70_000, 48)


def test_fraction_is_of_the_last_interval(talk: Talk) -> None:
    talk.report(expected=50, received=40)
    assert talk.report(S, expected=100, received=90)[0].reports[0].fraction_lost == 0
    later = {"expected": 150, "received": 115}
    assert talk.report(S, **later)[0].reports[0].fraction_lost == 25 * 256 // 50
    assert talk.report(S, **later)[0].reports[0].fraction_lost == 0, "nothing was expected"


def test_last_sender_report_is_echoed_with_its_age(talk: Talk) -> None:
    heard = {"expected": 10, "received": 10}
    assert talk.report(**heard)[0].reports[0].lsr == 0
    assert talk.report(S, **heard)[0].reports[0].dlsr == 0
    info = RtcpSenderInfo(0x0123456789ABCDEF, 1, 1, 1)
    assert talk.hear(RtcpSrPacket(ssrc=THEIRS, sender_info=info))
    told = talk.report(S + 500 * MS, **heard)[0].reports[0]
    assert told.lsr == 0x456789AB
    assert told.dlsr == pytest.approx(1.5 * 65536, abs=1)
    other = talk.report(**heard, remote_ssrc=5)[0].reports[0]
    assert (other.lsr, other.dlsr) == (0, 0), "that stream sent no report"


def test_first_report_is_due_at_once_and_later_ones_at_random(talk: Talk) -> None:
    assert talk.state.deadline() <= talk.now_ns
    gaps = []
    for _ in range(2000):
        talk.report()
        gaps.append((talk.state.deadline() - talk.now_ns) / REPORT_INTERVAL_NS)
        talk.now_ns = talk.state.deadline()
    assert min(gaps) >= 0.5
    assert max(gaps) <= 1.5
    assert np.mean(gaps) == pytest.approx(1.0, abs=0.03)
    assert min(gaps) < 0.52
    assert max(gaps) > 1.48


def test_two_calls_draw_different_intervals() -> None:
    states = [RtcpState(ssrc, "c") for ssrc in (1, 2)]
    for state in states:
        state.write(S)
    assert states[0].deadline() != states[1].deadline()


@pytest.mark.parametrize("name", ["a", "ab", "abc", "abcd", "x" * 31])
def test_cname_of_any_length(name: str) -> None:
    state = RtcpState(OURS, name)
    _, sdes = RtcpPacket.parse(state.write(S))
    assert sdes.chunks[0].items == [(1, name.encode())]
    assert RtcpState(7, "other").read(state.write(S), S)


def test_goodbye_is_a_compound_packet(talk: Talk) -> None:
    report, sdes, bye = RtcpPacket.parse(talk.state.goodbye())
    assert isinstance(report, RtcpRrPacket)
    assert isinstance(sdes, RtcpSdesPacket)
    assert isinstance(bye, RtcpByePacket)
    assert bye.sources == [OURS]


# -- what the far end reports -------------------------------------------------------------------


@pytest.mark.parametrize("held_ms", [0, 20, 700])
def test_round_trip_from_lsr_and_dlsr(talk: Talk, held_ms: int) -> None:
    report, _ = talk.report()
    assert talk.remote["round_trip_ns"] == -1
    back = block(
        middle(report), held_ms * 65536 // 1000, fraction_lost=64, packets_lost=7, jitter=480
    )
    assert talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[back]), after_ns=(held_ms + 45) * MS)
    remote = talk.remote
    assert remote["round_trip_ns"] == pytest.approx(45 * MS, abs=MS // 10)
    assert (remote["fraction_lost"], remote["packets_lost"]) == (0.25, 7)
    assert remote["jitter_ms"] == pytest.approx(10)
    assert (remote["reports"], remote["last_report_ns"]) == (1, talk.now_ns)


def test_cumulative_loss_is_signed(talk: Talk) -> None:
    talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[block(packets_lost=-3)]))
    assert talk.remote["packets_lost"] == -3


def test_a_lying_dlsr_gives_no_negative_round_trip(talk: Talk) -> None:
    report, _ = talk.report()
    back = block(middle(report), 0xFFFFFFFF)
    talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[back]), after_ns=MS)
    assert talk.remote["round_trip_ns"] == 0


def test_unknown_or_old_lsr_leaves_the_round_trip(talk: Talk) -> None:
    first, _ = talk.report()
    back = RtcpRrPacket(ssrc=THEIRS, reports=[block(middle(first))])
    talk.hear(back, after_ns=30 * MS)
    assert talk.remote["round_trip_ns"] == pytest.approx(30 * MS, abs=MS // 10)
    for unknown in (0, 12345):
        talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[block(unknown)]), after_ns=S)
    for _ in range(40):
        talk.report(S)
    talk.hear(back)
    assert talk.remote["round_trip_ns"] == pytest.approx(30 * MS, abs=MS // 10)


def test_reports_about_other_streams_are_none_of_ours(talk: Talk) -> None:
    others = [block(ssrc=999, packets_lost=5), block(packets_lost=2), block(ssrc=998)]
    talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=others))
    assert (talk.remote["packets_lost"], talk.remote["reports"]) == (2, 1)


def test_sender_report_carries_blocks_too(talk: Talk) -> None:
    info = RtcpSenderInfo(1 << 40, 1, 1, 1)
    talk.hear(RtcpSrPacket(ssrc=THEIRS, sender_info=info, reports=[block(packets_lost=9)]))
    assert talk.remote["packets_lost"] == 9


def test_a_profile_extension_of_a_report_is_passed_over(talk: Talk) -> None:
    report = bytearray(bytes(RtcpRrPacket(ssrc=THEIRS, reports=[block(packets_lost=4)])))
    report[3] += 2
    assert talk.hear(bytes(report) + bytes(8))
    assert talk.remote["packets_lost"] == 4


def test_two_ends_of_ours_understand_each_other() -> None:
    a, b = RtcpState(1, "a"), RtcpState(2, "b")
    assert b.read(a.write(S, packets=9), S + 20 * MS)
    assert a.read(
        b.write(S + 70 * MS, remote_ssrc=1, expected=10, received=9, jitter_ticks=96), S + 90 * MS
    )
    told = a.remote()
    assert told["round_trip_ns"] == pytest.approx(40 * MS, abs=MS // 10)
    assert (told["fraction_lost"], told["packets_lost"], told["jitter_ms"]) == (25 / 256, 1, 2)
    assert a.read(b.goodbye(), 2 * S)
    assert a.remote()["byes"] == 1


def test_bye_of_the_stream_we_know(talk: Talk) -> None:
    talk.report()
    talk.hear(RtcpByePacket(sources=[77]))
    talk.hear(RtcpByePacket(sources=[]))
    assert talk.remote["byes"] == 0, "another stream than the one we hear"
    talk.hear(RtcpByePacket(sources=[77, THEIRS]))
    assert talk.remote["byes"] == 1


def test_bye_before_anything_is_known(talk: Talk) -> None:
    talk.hear(RtcpByePacket(sources=[THEIRS]))
    assert talk.remote["byes"] == 1


@pytest.mark.parametrize("bps", [1, 64_000, 250_000, 3_000_000_000])
def test_remb(talk: Talk, bps: int) -> None:
    fci = pack_remb_fci(bps, [OURS, 5])
    assert talk.hear(RtcpPsfbPacket(fmt=15, ssrc=THEIRS, media_ssrc=0, fci=fci))
    assert talk.remote["remb_bps"] == pytest.approx(bps, rel=1e-4)


def test_other_feedback_is_passed_over(talk: Talk) -> None:
    before = talk.remote
    for fmt in (1, 4, 15):
        assert talk.hear(RtcpPsfbPacket(fmt=fmt, ssrc=THEIRS, media_ssrc=OURS, fci=b"ABCD"))
    assert talk.hear(RtcpRtpfbPacket(fmt=3, ssrc=THEIRS, media_ssrc=OURS, lost=[1]))
    assert talk.hear(struct.pack("!BBHL", 0x80, 207, 1, 5))  # an extended report
    assert talk.remote == before


# -- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lost",
    [[5], [5, 6], [5, 21], [5, 22], [1, 3, 5, 40, 41], [65530, 65535, 0, 3], list(range(64))],
)
@pytest.mark.parametrize("reduced_size", [False, True])
def test_requests_both_ways(lost: list[int], reduced_size: bool) -> None:
    asks = RtcpState(THEIRS, "them", reduced_size=reduced_size)
    packet = asks.nack(OURS, lost)
    told = RtcpPacket.parse(packet)
    assert len(told) == (1 if reduced_size else 3)
    assert [p & 0xFFFF for p in told[-1].lost] == lost
    assert (told[-1].fmt, told[-1].ssrc, told[-1].media_ssrc) == (1, THEIRS, OURS)
    talk = Talk()
    assert talk.hear(packet)
    assert talk.state.take_nacks() == lost
    assert talk.state.take_nacks() == []
    assert talk.remote["nacks"] == len(lost)


def test_requests_of_aiortc(talk: Talk) -> None:
    assert talk.hear(RtcpRtpfbPacket(fmt=1, ssrc=THEIRS, media_ssrc=OURS, lost=[7, 9, 30]))
    assert talk.hear(RtcpRtpfbPacket(fmt=1, ssrc=THEIRS, media_ssrc=999, lost=[8]))
    assert talk.state.take_nacks() == [7, 9, 30]


def test_of_too_many_requests_the_oldest_are_dropped(talk: Talk) -> None:
    for first in range(0, 200, 10):
        lost = list(range(first, first + 10))
        talk.hear(RtcpRtpfbPacket(fmt=1, ssrc=THEIRS, media_ssrc=OURS, lost=lost))
    assert talk.state.take_nacks() == list(range(136, 200))
    assert talk.remote["nacks"] == 200


def test_requests_that_were_not_negotiated_are_passed_over() -> None:
    state = RtcpState(OURS, "c")
    assert state.read(bytes(RtcpRtpfbPacket(fmt=1, ssrc=1, media_ssrc=OURS, lost=[7])), S)
    assert state.take_nacks() == []
    assert RtcpState(OURS, "c").nack(THEIRS, []) == b""


# -- bad input ----------------------------------------------------------------------------------


def cases(pattern: str) -> list[Path]:
    default = Path(__file__).parents[2].parent / "shared" / "cases"
    return sorted(Path(os.environ.get("VOICECORE_CASES", default)).glob(pattern))


def test_recorded_malformed_reports_are_counted(talk: Talk) -> None:
    files = cases("fuzz_webrtc/rtcp-corpus__*") + cases("wire_aiortc/rtcp_*")
    if not files:
        pytest.skip("no recorded cases: set VOICECORE_CASES")
    refused = [f.name for f in files if not talk.hear(f.read_bytes())]
    assert len(refused) == talk.remote["malformed"] > 0
    wire = {f.name for f in files if f.name.endswith(".bin")}
    bad = {n for n in wire if n.endswith(("_invalid.bin", "_truncated.bin"))}
    assert wire & set(refused) == bad


def test_whatever_aiortc_refuses_by_its_lengths_is_refused(talk: Talk) -> None:
    """And what it takes is taken: damaged compound packets, seeded."""
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    rng = random.Random(seed)
    local = talk.local | {"expected": 5, "received": 5}
    sdes = RtcpSdesPacket(chunks=[RtcpSourceInfo(ssrc=THEIRS, items=[(1, b"name")])])
    whole = talk.state.write(S, **local) + bytes(sdes)
    whole += bytes(RtcpRrPacket(ssrc=THEIRS, reports=[block(), block()]))
    whole += bytes(RtcpByePacket(sources=[999]))
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = bytes(data[: rng.randrange(1, len(data) + 1)] if rng.random() < 0.5 else data)
        before = talk.remote
        taken = talk.hear(cut)
        if not taken:
            assert talk.remote == before | {"malformed": before["malformed"] + 1}
        if not framed(cut):
            assert not taken, cut.hex()
        talk.hear(bytes([0x80 | rng.randrange(64), rng.randrange(192, 224)]) + rng.randbytes(30))
    assert talk.remote["malformed"] > 1000
    assert talk.report(S), "reports go on"


def framed(packet: bytes) -> bool:
    """Whether the lengths of a compound packet add up, by plain Python."""
    at = 0
    while at < len(packet):
        if len(packet) - at < 4 or packet[at] >> 6 != 2:
            return False
        at += 4 + 4 * struct.unpack_from("!H", packet, at + 2)[0]
    return at == len(packet) > 0


def test_impossible_lengths_are_malformed(talk: Talk) -> None:
    for header in (b"", b"\x81", b"\x81\xc9\x00", b"\x9f\xc9\x00\x01" + bytes(4)):
        assert not talk.hear(header)
    assert not talk.hear(struct.pack("!BBHL", 0x81, 201, 500, THEIRS))


def test_of_a_malformed_packet_nothing_is_taken(talk: Talk) -> None:
    good = bytes(RtcpRrPacket(ssrc=THEIRS, reports=[block(packets_lost=8)]))
    assert not talk.hear(good + b"\x81\xc8\x00\x01" + bytes(4))
    assert (talk.remote["packets_lost"], talk.remote["reports"]) == (0, 0)
    assert talk.hear(good)


def test_padding_that_cuts_a_request_is_malformed(talk: Talk) -> None:
    asks = bytearray(bytes(RtcpRtpfbPacket(fmt=1, ssrc=THEIRS, media_ssrc=OURS, lost=[7, 99])))
    asks[0] |= 0x20
    asks[-4:] = b"\0\0\0\2"
    assert not talk.hear(bytes(asks))
    asks[-1] = 4
    assert talk.hear(bytes(asks))
    assert talk.state.take_nacks() == [7]


@pytest.mark.parametrize(
    "arguments",
    [
        {"ssrc": -1}, {"ssrc": 1 << 32}, {"cname": ""}, {"cname": "x" * 32}, {"cname": "a\0b"},
        {"clock_hz": 0}, {"interval_ns": 0}, {"interval_ns": 11 * S},
    ],
)  # fmt: skip
def test_misuse(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        RtcpState(**({"ssrc": 1, "cname": "c"} | arguments))


def test_misuse_of_methods(talk: Talk) -> None:
    with pytest.raises(TypeError):
        talk.state.read("text", 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16 bits"):
        talk.state.nack(THEIRS, [1 << 16])
    with pytest.raises(ValueError, match="at most 64"):
        talk.state.nack(THEIRS, list(range(65)))
    with pytest.raises(ValueError, match="32 bits"):
        talk.state.write(0, remote_ssrc=1 << 32)
