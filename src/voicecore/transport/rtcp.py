"""RTCP of one call (RFC 3550, section 6): reports out, the far end's reports in.

Our receiver reports drive the browser's FEC; its reports about us give round
trip, loss and jitter. Times are monotonic ns except in the NTP field, where
any steady clock serves.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from voicecore._native.inbound import Inbound
from voicecore._native.outbound import Outbound
from voicecore.core.units import NS_PER_MS, NS_PER_S

REPORT_INTERVAL_NS = NS_PER_S
"""One compound packet a second: 1% of what the audio takes."""

_SDES_CNAME = 1
_REPORTS_KEPT = 16


@dataclass(slots=True)
class RemoteReport:
    """What the far end last told about our stream."""

    round_trip_ms: float = 0.0
    fraction_lost: float = 0.0
    packets_lost: int = 0
    jitter_ms: float = 0.0


class Reporter:
    """Sends our compound reports once a second and reads the far end's.

    ``ssrc``: of the stream we send; ``clock_hz``: its RTP clock; ``send`` puts
    one unprotected RTCP packet on the network.
    """

    def __init__(
        self, ssrc: int, cname: str, clock_hz: int, send: Callable[[bytes], object]
    ) -> None:
        self._ssrc = ssrc
        self._cname = cname.encode()
        self._clock_hz = clock_hz
        self._send = send
        self._due_ns = 0
        self._last_sender_report: tuple[int, int] | None = None  # (middle NTP bits, arrival)
        self._sent_reports: dict[int, int] = {}
        self._last_expected = 0
        self._last_received = 0
        self.remote = RemoteReport()
        self.malformed = 0

    def tick(self, now_ns: int, inbound: Inbound, outbound: Outbound) -> None:
        """Send a report if one is due."""
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + REPORT_INTERVAL_NS
        ntp = _ntp(now_ns)
        self._remember(ntp >> 16 & 0xFFFFFFFF, now_ns)
        report = RtcpSrPacket(
            ssrc=self._ssrc,
            sender_info=RtcpSenderInfo(
                ntp_timestamp=ntp,
                rtp_timestamp=outbound.timestamp & 0xFFFFFFFF,
                packet_count=outbound.packets & 0xFFFFFFFF,
                octet_count=outbound.octets & 0xFFFFFFFF,
            ),
        )
        stats = inbound.stats()
        if inbound.ssrc and stats["received"]:
            report.reports = [self._reception(now_ns, stats, inbound.ssrc)]
        sdes = RtcpSdesPacket(
            chunks=[RtcpSourceInfo(ssrc=self._ssrc, items=[(_SDES_CNAME, self._cname)])]
        )
        self._send(bytes(report) + bytes(sdes))

    def goodbye(self) -> None:
        """Send BYE behind an empty receiver report (a compound packet begins with one)."""
        empty = RtcpRrPacket(ssrc=self._ssrc, reports=[])
        self._send(bytes(empty) + bytes(RtcpByePacket(sources=[self._ssrc])))

    def read(self, packet: bytes, now_ns: int) -> bool:
        """Take a decrypted compound packet; False if it is malformed (nothing taken)."""
        try:
            parts = RtcpPacket.parse(packet)
        except (ValueError, IndexError, AssertionError, struct.error):
            self.malformed += 1
            return False
        for part in parts:
            if isinstance(part, RtcpSrPacket):
                middle = (part.sender_info.ntp_timestamp >> 16) & 0xFFFFFFFF
                self._last_sender_report = (middle, now_ns)
            if isinstance(part, RtcpSrPacket | RtcpRrPacket):
                for block in part.reports:
                    if block.ssrc == self._ssrc:
                        self._take(block, now_ns)
        return True

    def _remember(self, middle: int, now_ns: int) -> None:
        self._sent_reports[middle] = now_ns
        while len(self._sent_reports) > _REPORTS_KEPT:
            del self._sent_reports[next(iter(self._sent_reports))]

    def _take(self, block: RtcpReceiverInfo, now_ns: int) -> None:
        remote = self.remote
        remote.fraction_lost = block.fraction_lost / 256
        remote.packets_lost = block.packets_lost
        remote.jitter_ms = block.jitter * 1000 / self._clock_hz
        sent_ns = self._sent_reports.get(block.lsr)
        if sent_ns is not None:
            held_ns = block.dlsr * NS_PER_S >> 16
            remote.round_trip_ms = max(now_ns - sent_ns - held_ns, 0) / NS_PER_MS

    def _reception(
        self, now_ns: int, inbound: dict[str, int | float], ssrc: int
    ) -> RtcpReceiverInfo:
        expected, received = int(inbound["expected"]), int(inbound["received"])
        expected_now = expected - self._last_expected
        lost_now = max(expected_now - (received - self._last_received), 0)
        self._last_expected, self._last_received = expected, received
        lsr, arrived_ns = self._last_sender_report or (0, now_ns)
        return RtcpReceiverInfo(
            ssrc=ssrc,
            fraction_lost=min(lost_now * 256 // expected_now, 255) if expected_now > 0 else 0,
            packets_lost=max(-(1 << 23), min(expected - received, (1 << 23) - 1)),
            highest_sequence=int(inbound["highest_sequence"]) & 0xFFFFFFFF,
            jitter=int(inbound["jitter"]),
            lsr=lsr,
            dlsr=((now_ns - arrived_ns) << 16) // NS_PER_S & 0xFFFFFFFF,
        )


def _ntp(now_ns: int) -> int:
    """64-bit NTP format: seconds and a binary fraction."""
    return (now_ns << 32) // NS_PER_S
