from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

@disjoint_base
class SileroWeights:
    def __new__(cls, rate_hz: int, arrays: Mapping[str, NDArray[Any]]) -> Self: ...
    @property
    def rate_hz(self) -> int: ...
    @property
    def frame_samples(self) -> int: ...

@disjoint_base
class SileroScorer:
    def __new__(cls, weights: SileroWeights) -> Self: ...
    @property
    def weights(self) -> SileroWeights: ...
    def score(
        self, frames: Iterable[NDArray[np.float32]], states: Iterable[NDArray[np.float32]]
    ) -> list[float]: ...

def shapes(rate_hz: int) -> dict[str, tuple[int, ...]]: ...
