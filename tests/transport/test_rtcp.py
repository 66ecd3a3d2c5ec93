"""When reports go out, which counters they tell, and what is kept of the far end's.

What they look like on the wire is tested with the kernel (tests/native/test_rtcp.py).
"""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSrPacket,
)

from voicecore.transport.rtcp import RemoteReport, Reporter

MS = 1_000_000
S = 1000 * MS
OURS, THEIRS = 0x11111111, 0x22222222


class FakeInbound:
    def __init__(self) -> None:
        self.ssrc: int | None = None
        self.received = self.expected = 0

    def stats(self) -> dict[str, float]:
        return {
            "received": self.received, "expected": self.expected,
            "highest_sequence": 70_000, "jitter": 48.7,
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


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_one_compound_packet_a_second_in_the_mean(talk: Talk) -> None:
    assert talk.tick(), "the first at once"
    times = [i for i in range(1, 50_000) if talk.tick(20 * MS)]
    gaps = [(b - a) * 20 for a, b in pairwise(times)]
    assert min(gaps) >= 500
    assert max(gaps) <= 1520
    assert sum(gaps) / len(gaps) == pytest.approx(1010, abs=40)


def test_what_both_paths_count_is_told(talk: Talk) -> None:
    report, sdes = talk.tick()
    assert isinstance(report, RtcpSrPacket)
    assert report.reports == [], "nothing was received yet"
    assert isinstance(sdes, RtcpSdesPacket)
    talk.inbound.ssrc, talk.inbound.expected, talk.inbound.received = THEIRS, 100, 90
    report, sdes = talk.tick(2 * S)
    info = report.sender_info
    assert (info.rtp_timestamp, info.packet_count, info.octet_count) == (960_000, 50, 4000)
    assert report.reports == [RtcpReceiverInfo(THEIRS, 25, 10, 70_000, 48, 0, 0)]
    assert (sdes.chunks[0].ssrc, sdes.chunks[0].items) == (OURS, [(1, b"cname-1")])


def test_the_far_ends_word(talk: Talk) -> None:
    assert talk.reporter.remote == RemoteReport()
    report, _ = talk.tick()
    lsr = report.sender_info.ntp_timestamp >> 16 & 0xFFFFFFFF
    block = RtcpReceiverInfo(OURS, 64, 7, 1, 480, lsr, 0)
    told = bytes(RtcpRrPacket(ssrc=THEIRS, reports=[block]))
    assert talk.reporter.read(told, talk.now_ns + 45 * MS)
    remote = talk.reporter.remote
    assert remote.round_trip_ms == pytest.approx(45, abs=0.1)
    assert (remote.fraction_lost, remote.packets_lost, remote.jitter_ms) == (0.25, 7, 10.0)


def test_goodbye_is_a_compound_packet(talk: Talk) -> None:
    talk.reporter.goodbye()
    report, *_, bye = RtcpPacket.parse(talk.sent[-1])
    assert isinstance(report, RtcpRrPacket)
    assert isinstance(bye, RtcpByePacket)
    assert bye.sources == [OURS]


def test_malformed_reports_are_counted(talk: Talk) -> None:
    assert not talk.reporter.read(b"\x81\xc9\x00", 0)
    assert talk.reporter.malformed == 1
