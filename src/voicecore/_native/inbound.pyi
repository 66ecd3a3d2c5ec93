from typing import Any, Self, final

from voicecore._native.ring import AudioRing

OK: int
DUPLICATE: int
LATE: int
PROBE: int
TOO_BIG: int
MALFORMED: int
UNKNOWN_PT: int

@final
class Inbound:
    ring: AudioRing
    def __new__(
        cls,
        *,
        opus_pt: int = -1,
        pcmu_pt: int = -1,
        pcma_pt: int = -1,
        red_pt: int = -1,
        ring_ms: int = 30000,
    ) -> Self: ...
    def push(self, packet: bytes, arrival_ns: int) -> int: ...
    def poll(self, now_ns: int) -> int: ...
    def deadline(self) -> int: ...
    def concealed(self, start: int, end: int) -> int: ...
    @property
    def stalled(self) -> bool: ...
    @property
    def ssrc(self) -> int: ...
    def stats(self) -> dict[str, Any]: ...
    def close(self) -> None: ...
