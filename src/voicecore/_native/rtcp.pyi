from typing import Any, Self, final

from typing_extensions import Buffer

REPORT_INTERVAL_NS: int

@final
class RtcpState:
    ssrc: int
    def __new__(
        cls,
        ssrc: int,
        cname: str,
        clock_hz: int = 48000,
        *,
        transport_cc: bool = False,
        nack: bool = False,
        reduced_size: bool = False,
        interval_ns: int = ...,
    ) -> Self: ...
    def read(self, packet: Buffer, now_ns: int) -> bool: ...
    def deadline(self) -> int: ...
    def write(
        self,
        now_ns: int,
        *,
        rtp_timestamp: int = 0,
        packets: int = 0,
        octets: int = 0,
        sending: bool = True,
        remote_ssrc: int = 0,
        expected: int = 0,
        received: int = 0,
        highest: int = 0,
        jitter_ticks: float = 0.0,
    ) -> bytes: ...
    def sent(self, transport_sequence: int, now_ns: int, byte_count: int = 0) -> None: ...
    def arrived(self, transport_sequence: int, arrival_ns: int) -> None: ...
    def feedback(self, remote_ssrc: int, now_ns: int) -> bytes: ...
    def nack(self, remote_ssrc: int, sequences: list[int]) -> bytes: ...
    def goodbye(self) -> bytes: ...
    def take_nacks(self) -> list[int]: ...
    def remote(self) -> dict[str, Any]: ...

@final
class NackList:
    def __new__(cls) -> Self: ...
    def due(self, missing: list[int], rtt_ns: int, now_ns: int) -> list[int]: ...
