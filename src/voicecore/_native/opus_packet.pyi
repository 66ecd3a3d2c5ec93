from typing import Literal, NamedTuple

class PacketInfo(NamedTuple):
    mode: Literal["silk", "hybrid", "celt"]
    bandwidth_hz: int
    channels: int
    frames: int
    frame_ms: float
    fec: bool
    dtx: bool

def packet_samples(packet: bytes, rate_hz: int) -> int: ...
def packet_info(packet: bytes) -> PacketInfo | None: ...
def packet_has_fec(packet: bytes) -> bool: ...
