from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from voicecore._native.opus import Encoder

SILENCE: int
SPEECH: int
TAIL: int

@final
class Outbound:
    encoder: Encoder | None
    rate_hz: int
    last_kind: int
    generation: int
    packets: int
    octets: int
    encodes: int
    ssrc: int
    timestamp: int
    sequence: int
    def __new__(
        cls,
        *,
        codec: str,
        payload_type: int,
        ssrc: int,
        sequence: int,
        timestamp: int,
        rate_hz: int = 24000,
        capacity_ms: int = 30000,
        bitrate_bps: int = 64000,
        complexity: int = 0,
    ) -> Self: ...
    def write(self, pcm: NDArray[np.int16], generation: int) -> int: ...
    def flush(self, fade_ms: float = 5.0) -> int: ...
    def next_packet(self) -> bytes: ...
    @property
    def position(self) -> int: ...
    @property
    def written(self) -> int: ...
    @property
    def queued(self) -> int: ...
    @property
    def space(self) -> int: ...
    def close(self) -> None: ...
