from typing import Literal, Self, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer, disjoint_base

from voicecore._native.opus_packet import PacketInfo as PacketInfo
from voicecore._native.opus_packet import packet_has_fec as packet_has_fec
from voicecore._native.opus_packet import packet_info as packet_info
from voicecore._native.opus_packet import packet_samples as packet_samples

def library() -> tuple[str, str]: ...

@disjoint_base
class Decoder:
    def __new__(cls, rate_hz: int = 16000) -> Self: ...
    @property
    def rate_hz(self) -> int: ...
    @overload
    def decode(
        self, packet: bytes, fec: bool = False, samples: int | None = None, out: None = None
    ) -> NDArray[np.int16]: ...
    @overload
    def decode(
        self,
        packet: bytes,
        fec: bool = False,
        samples: int | None = None,
        *,
        out: NDArray[np.int16],
    ) -> int: ...
    @overload
    def conceal(self, samples: int, out: None = None) -> NDArray[np.int16]: ...
    @overload
    def conceal(self, samples: int, out: NDArray[np.int16]) -> int: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...

@disjoint_base
class Encoder:
    application: Literal["voip", "audio", "lowdelay"]
    bitrate_bps: int
    complexity: int
    fec: bool
    expected_loss_percent: int
    dtx: bool
    vbr: bool
    max_bandwidth_hz: int
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
        vbr: bool = True,
        max_bandwidth_hz: int = 20000,
    ) -> Self: ...
    @property
    def rate_hz(self) -> int: ...
    @overload
    def encode(self, pcm: NDArray[np.int16], out: None = None) -> bytes: ...
    @overload
    def encode(self, pcm: NDArray[np.int16], out: Buffer) -> int: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...
