from typing import Self, final

import numpy as np
from numpy.typing import NDArray

SILENCE: int
SPEECH: int
TAIL: int
STARTED: int
DRAINED: int

@final
class Outbound:
    rate_hz: int
    last_kind: int
    encodes: int
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
        red_pt: int = -1,
        transport_cc_id: int = 0,
    ) -> Self: ...
    def write(self, pcm: NDArray[np.int16], generation: int) -> int: ...
    def flush(self, fade_ms: float = 5.0) -> int: ...
    def configure(
        self,
        *,
        bitrate_bps: int | None = None,
        complexity: int | None = None,
        fec: bool | None = None,
        expected_loss_percent: int | None = None,
        red: bool | None = None,
        max_bandwidth_hz: int | None = None,
    ) -> None: ...
    def next_packet(self) -> bytes: ...
    def skip(self, frames: int) -> None: ...
    def poll_events(self) -> tuple[int, int, int]: ...
    @property
    def settings(self) -> dict[str, int]: ...
    @property
    def generation(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def written(self) -> int: ...
    @property
    def queued(self) -> int: ...
    @property
    def space(self) -> int: ...
    @property
    def ssrc(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def transport_sequence(self) -> int: ...
    @property
    def packets(self) -> int: ...
    @property
    def octets(self) -> int: ...
    @property
    def redundant(self) -> int: ...
    def close(self) -> None: ...
