"""Reports out and in: fields, round trip, loss, and whatever strangers call a report."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
)

from voicecore.transport.rtcp import REPORT_INTERVAL_NS, Reporter

MS = 1_000_000
S = 1000 * MS
OURS, THEIRS = 0x11111111, 0x22222222


class FakeInbound:
    def __init__(self) -> None:
        self.ssrc = THEIRS
        self.received = self.expected = 0
        self.highest = 70_000
        self.jitter = 48

    def stats(self) -> dict[str, int]:
        return {
            "received": self.received, "expected": self.expected,
            "highest_sequence": self.highest, "jitter": self.jitter,
        }  # fmt: skip


class Talk:
    """A reporter, what it sent, and the two paths it reports on."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.reporter = Reporter(OURS, "cname-1", 48_000, self.sent.append)
        self.inbound = FakeInbound()
        self.outbound = SimpleNamespace(timestamp=960_000, packets=50, octets=4000)
        self.now_ns = 5_000 * S

    def tick(self, after_ns: int = 0) -> list[Any]:
        """Parsed parts of what the tick sent (by a parser that isn't ours)."""
        self.now_ns += after_ns
        before = len(self.sent)
        inbound: Any = self.inbound
        outbound: Any = self.outbound
        self.reporter.tick(self.now_ns, inbound, outbound)
        assert len(self.sent) - before <= 1
        return RtcpPacket.parse(self.sent[-1]) if len(self.sent) > before else []

    def hear(self, *parts: object, after_ns: int = 0) -> bool:
        self.now_ns += after_ns
        return self.reporter.read(b"".join(bytes(part) for part in parts), self.now_ns)  # type: ignore[arg-type,call-overload]


@pytest.fixture
def talk() -> Talk:
    return Talk()


def block(lsr: int = 0, dlsr: int = 0, **fields: int) -> RtcpReceiverInfo:
    values = {"ssrc": OURS, "fraction_lost": 0, "packets_lost": 0, "highest_sequence": 1}
    values |= {"jitter": 0, "lsr": lsr, "dlsr": dlsr} | fields
    return RtcpReceiverInfo(**values)


def test_one_compound_packet_a_second(talk: Talk) -> None:
    assert talk.tick()
    for _ in range(49):
        assert not talk.tick(20 * MS)
    assert talk.tick(20 * MS)
    assert REPORT_INTERVAL_NS == S


def test_sender_report_tells_what_was_sent(talk: Talk) -> None:
    report, sdes = talk.tick()
    assert isinstance(report, RtcpSrPacket)
    assert report.ssrc == OURS
    info = report.sender_info
    assert (info.rtp_timestamp, info.packet_count, info.octet_count) == (960_000, 50, 4000)
    assert info.ntp_timestamp >> 32 == talk.now_ns // S
    assert report.reports == [], "nothing was received yet"
    assert isinstance(sdes, RtcpSdesPacket)
    assert (sdes.chunks[0].ssrc, sdes.chunks[0].items) == (OURS, [(1, b"cname-1")])


def test_counters_wrap_at_32_bits(talk: Talk) -> None:
    talk.outbound = SimpleNamespace(
        timestamp=(1 << 32) + 5, packets=(1 << 32) + 6, octets=(1 << 33) + 7
    )
    talk.inbound.received = talk.inbound.expected = 1
    talk.inbound.highest = (1 << 32) + 9
    report, _ = talk.tick()
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
        (100, 103, 0, -3),  # duplicates
        (1 << 24, 1, 255, (1 << 23) - 1),
    ],
)
def test_fraction_and_total_lost(
    talk: Talk, expected: int, received: int, fraction: int | None, lost: int | None
) -> None:
    talk.inbound.expected, talk.inbound.received = expected, received
    report, _ = talk.tick()
    if fraction is None:
        assert report.reports == []
        return
    (told,) = report.reports
    assert (told.ssrc, told.fraction_lost, told.packets_lost) == (THEIRS, fraction, lost)
    assert (told.highest_sequence, told.jitter) == (70_000, 48)


def test_fraction_is_of_the_last_interval(talk: Talk) -> None:
    talk.inbound.expected, talk.inbound.received = 50, 40
    talk.tick()
    talk.inbound.expected, talk.inbound.received = 100, 90
    assert talk.tick(S)[0].reports[0].fraction_lost == 0
    talk.inbound.expected, talk.inbound.received = 150, 115
    assert talk.tick(S)[0].reports[0].fraction_lost == 25 * 256 // 50
    assert talk.tick(S)[0].reports[0].fraction_lost == 0, "nothing was expected meanwhile"


def test_last_sender_report_is_echoed_with_its_age(talk: Talk) -> None:
    talk.inbound.expected = talk.inbound.received = 10
    assert talk.tick()[0].reports[0].lsr == 0
    assert talk.tick(S)[0].reports[0].dlsr == 0
    info = RtcpSenderInfo(0x0123456789ABCDEF, 1, 1, 1)
    assert talk.hear(RtcpSrPacket(ssrc=THEIRS, sender_info=info))
    told = talk.tick(S + 500 * MS)[0].reports[0]
    assert told.lsr == 0x456789AB
    assert told.dlsr == pytest.approx(1.5 * 65536, abs=1)


@pytest.mark.parametrize("held_ms", [0, 20, 700])
def test_round_trip_from_lsr_and_dlsr(talk: Talk, held_ms: int) -> None:
    report, _ = talk.tick()
    lsr = report.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF
    back = block(lsr, held_ms * 65536 // 1000, fraction_lost=64, packets_lost=7, jitter=480)
    assert talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[back]), after_ns=(held_ms + 45) * MS)
    remote = talk.reporter.remote
    assert remote.round_trip_ms == pytest.approx(45, abs=0.1)
    assert (remote.fraction_lost, remote.packets_lost) == (0.25, 7)
    assert remote.jitter_ms == pytest.approx(10)


def test_a_lying_dlsr_gives_no_negative_round_trip(talk: Talk) -> None:
    report, _ = talk.tick()
    lsr = report.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF
    talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[block(lsr, 0xFFFFFFFF)]), after_ns=MS)
    assert talk.reporter.remote.round_trip_ms == 0.0


def test_unknown_or_old_lsr_leaves_the_round_trip(talk: Talk) -> None:
    first, _ = talk.tick()
    lsr = first.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF
    talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[block(lsr)]), after_ns=30 * MS)
    assert talk.reporter.remote.round_trip_ms == pytest.approx(30, abs=0.1)
    for unknown in (0, 12345):
        talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[block(unknown)]), after_ns=S)
    for _ in range(40):
        talk.tick(S)
    talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[block(lsr)]))
    assert talk.reporter.remote.round_trip_ms == pytest.approx(30, abs=0.1)


def test_reports_about_other_streams_are_none_of_ours(talk: Talk) -> None:
    talk.hear(RtcpRrPacket(ssrc=THEIRS, reports=[block(ssrc=999, packets_lost=5)]))
    assert talk.reporter.remote.packets_lost == 0


def test_goodbye_is_a_compound_packet(talk: Talk) -> None:
    talk.reporter.goodbye()
    report, bye = RtcpPacket.parse(talk.sent[-1])
    assert isinstance(report, RtcpRrPacket)
    assert isinstance(bye, RtcpByePacket)
    assert bye.sources == [OURS]


def cases(pattern: str) -> list[Path]:
    default = Path(__file__).parents[2].parent / "shared" / "cases"
    return sorted(Path(os.environ.get("VOICECORE_CASES", default)).glob(pattern))


def test_recorded_malformed_reports_are_counted_not_raised(talk: Talk) -> None:
    files = cases("fuzz_webrtc/rtcp-corpus__*") + cases("wire_aiortc/rtcp_*")
    if not files:
        pytest.skip("no recorded cases: set VOICECORE_CASES")
    refused = sum(not talk.hear(file.read_bytes()) for file in files)
    assert refused == talk.reporter.malformed > 0
    invalid = [f for f in files if f.name.endswith("_invalid.bin")]
    for file in invalid:
        assert not talk.hear(file.read_bytes()), file.name


def test_seeded_garbage_is_counted_not_raised(talk: Talk) -> None:
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    rng = random.Random(seed)
    talk.inbound.expected = talk.inbound.received = 5
    talk.tick()
    whole = talk.sent[0] + bytes(RtcpRrPacket(ssrc=THEIRS, reports=[block(), block()]))
    for round_number in range(4000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = data[: rng.randrange(0, len(data) + 1)] if round_number % 2 else data
        talk.hear(bytes(cut))
        talk.hear(bytes([0x80 | rng.randrange(64), rng.randrange(192, 224)]) + rng.randbytes(30))
    assert talk.reporter.malformed > 1000
    assert talk.tick(S), "reports go on"


def test_impossible_lengths_are_malformed(talk: Talk) -> None:
    for header in (b"", b"\x81", b"\x81\xc9\x00", b"\x9f\xc9\x00\x01" + bytes(4)):
        assert not talk.hear(header) or header == b""
    assert not talk.hear(struct.pack("!BBHL", 0x81, 201, 500, THEIRS))
