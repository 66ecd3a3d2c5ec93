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
    last_transport_sequence: int
    def __new__(
        cls,
        *,
        opus_pt: int = -1,
        pcmu_pt: int = -1,
        pcma_pt: int = -1,
        red_pt: int = -1,
        dtmf_pts: dict[int, int] = ...,
        transport_cc_id: int = 0,
        ring_ms: int = 4096,
    ) -> Self: ...
    def push(self, packet: bytes, arrival_ns: int) -> int: ...
    def poll(self, now_ns: int) -> int: ...
    def poll_dtmf(self) -> tuple[str, int] | None: ...
    def deadline(self) -> int: ...
    def concealed(self, start: int, end: int) -> int: ...
    def pause_end(self, position: int) -> int: ...
    @property
    def stalled(self) -> bool: ...
    @property
    def ssrc(self) -> int: ...
    def stats(self) -> dict[str, Any]: ...
    def close(self) -> None: ...
