from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

def library() -> tuple[str, str]: ...
def packet_samples(packet: bytes, rate_hz: int) -> int: ...
def packet_has_fec(packet: bytes) -> bool: ...

@disjoint_base
class Decoder:
    def __new__(cls, rate_hz: int = 16000) -> Self: ...
    @property
    def rate_hz(self) -> int: ...
    def decode(
        self, packet: bytes, fec: bool = False, samples: int | None = None
    ) -> NDArray[np.int16]: ...
    def conceal(self, samples: int) -> NDArray[np.int16]: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...

@disjoint_base
class Encoder:
    bitrate_bps: int
    complexity: int
    fec: bool
    expected_loss_percent: int
    dtx: bool
    def __new__(
        cls,
        rate_hz: int = 24000,
        *,
        application: Literal["voip", "audio", "lowdelay"] = "audio",
        bitrate_bps: int = 64000,
        complexity: int = 0,
        fec: bool = True,
        expected_loss_percent: int = 0,
        dtx: bool = False,
    ) -> Self: ...
    @property
    def rate_hz(self) -> int: ...
    def encode(self, pcm: NDArray[np.int16]) -> bytes: ...
    def close(self) -> None: ...
