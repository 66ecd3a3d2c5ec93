from typing import NamedTuple

class RtpPacket(NamedTuple):
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    payload_at: int
    payload_len: int
    csrc_count: int
    extension_profile: int
    extension_at: int
    extension_len: int

def parse(packet: bytes) -> RtpPacket | None: ...
def is_rtcp(packet: bytes) -> bool: ...
def extension(packet: bytes, id: int) -> bytes | None: ...
def header(
    payload_type: int,
    sequence: int,
    timestamp: int,
    ssrc: int,
    marker: bool = False,
    *,
    transport_cc: tuple[int, int] | None = None,
) -> bytes: ...
def write_red(payload_type: int, payload: bytes, blocks: list[tuple[int, int, bytes]]) -> bytes: ...
def split_red(payload: bytes) -> list[tuple[int, int, bytes]] | None: ...
