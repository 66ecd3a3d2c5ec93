from typing import Any, Self, final

OK: int
DUP: int
LATE: int
PROBE: int
RESET: int
TOO_BIG: int
FEC_FLAG: int
DTX_FLAG: int
RED_FLAG: int
VOID_FLAG: int

@final
class JitterBuffer:
    clock_hz: int
    def __new__(cls, clock_hz: int = 48000, frame: int = 960) -> Self: ...
    def push(
        self,
        seq16: int,
        ts32: int,
        arrival_ns: int,
        payload: bytes,
        flags: int = 0,
        *,
        samples: int = 0,
        ssrc: int = 0,
    ) -> int: ...
    def fill(
        self,
        seq16: int,
        ts32: int,
        arrival_ns: int,
        payload: bytes,
        flags: int = 0,
        *,
        samples: int = 0,
        ssrc: int = 0,
    ) -> bool: ...
    def pop(self, now_ns: int) -> tuple[str, int, int, int, bytes]: ...
    def deadline(self) -> int: ...
    def missing(self) -> list[int]: ...
    def set_rtt(self, rtt_ms: float) -> None: ...
    def stats(self) -> dict[str, Any]: ...
