from typing import Any, Self, final

from voicecore._native.silero import SileroWeights

ONSET: int
CONFIRMED: int
RELEASED: int
AUDIO: int
STARTED: int
DRAINED: int
DIGIT: int
STALL_BEGIN: int
STALL_END: int
REPORT: int
BYE: int
VAD_FAILED: int
DATAGRAM: int
PACKET: int
LOST: int
OTHER: int

@final
class MediaThreads:
    def __new__(
        cls,
        *,
        rx_threads: int = 1,
        tx_threads: int = 1,
        vad: SileroWeights | None = None,
        receive_buffer_bytes: int = 8388608,
    ) -> Self: ...
    @property
    def fd(self) -> int: ...
    @property
    def native_vad(self) -> bool: ...
    def open_port(self, host: str, port: int = 0) -> int: ...
    def port_address(self, port: int) -> tuple[str, int]: ...
    def close_port(self, port: int) -> None: ...
    def add_peer(self, ufrag: str) -> int: ...
    def remove_peer(self, peer: int) -> None: ...
    def send(self, peer: int, port: int, data: bytes, host: str, udp_port: int) -> None: ...
    def take(self) -> list[tuple[Any, ...]]: ...
    def set_sparing(self, sparing: bool) -> None: ...
    def counters(self) -> dict[str, Any]: ...
    def close(self) -> None: ...
