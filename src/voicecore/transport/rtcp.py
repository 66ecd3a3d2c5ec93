"""RTCP of one call: when to report, and from which counters.

What is reported and how it looks on the wire is ``_native.rtcp``'s. Our receiver
reports drive the browser's FEC; its reports about us give round trip, loss and
jitter. Times are monotonic ns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voicecore._native.inbound import Inbound
from voicecore._native.outbound import Outbound
from voicecore._native.rtcp import REPORT_INTERVAL_NS, RtcpState
from voicecore.core.units import NS_PER_MS


@dataclass(frozen=True, slots=True)
class RemoteReport:
    """What the far end last told about our stream; ``round_trip_ms`` is 0.0 if unknown."""

    round_trip_ms: float = 0.0
    fraction_lost: float = 0.0
    packets_lost: int = 0
    jitter_ms: float = 0.0


class Reporter:
    """Sends our compound reports and reads the far end's.

    One report a second in the mean, 1% of what the audio takes, each 0.5 to 1.5 s
    after the one before. ``ssrc``: of the stream we send; ``clock_hz``: its RTP
    clock; ``cname``: up to 31 bytes; ``send`` puts one unprotected RTCP packet on
    the network.
    """

    def __init__(
        self, ssrc: int, cname: str, clock_hz: int, send: Callable[[bytes], object]
    ) -> None:
        self._state = RtcpState(ssrc, cname, clock_hz, interval_ns=REPORT_INTERVAL_NS)
        self._send = send

    @property
    def remote(self) -> RemoteReport:
        """The far end's last word."""
        told = self._state.remote()
        return RemoteReport(
            round_trip_ms=max(told["round_trip_ns"], 0) / NS_PER_MS,
            fraction_lost=told["fraction_lost"],
            packets_lost=told["packets_lost"],
            jitter_ms=told["jitter_ms"],
        )

    @property
    def malformed(self) -> int:
        """Packets refused."""
        return int(self._state.remote()["malformed"])

    def tick(self, now_ns: int, inbound: Inbound, outbound: Outbound) -> None:
        """Send a report if one is due."""
        if now_ns < self._state.deadline():
            return
        stats = inbound.stats()
        self._send(
            self._state.write(
                now_ns,
                rtp_timestamp=outbound.timestamp,
                packets=outbound.packets,
                octets=outbound.octets,
                remote_ssrc=inbound.ssrc or 0,
                expected=int(stats["expected"]),
                received=int(stats["received"]),
                highest=int(stats["highest_sequence"]),
                jitter_ticks=float(stats["jitter"]),
            )
        )

    def goodbye(self) -> None:
        """Send BYE."""
        self._send(self._state.goodbye())

    def read(self, packet: bytes, now_ns: int) -> bool:
        """Take a decrypted compound packet; False if it is malformed (nothing taken)."""
        return self._state.read(packet, now_ns)
