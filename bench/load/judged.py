"""Which figures were taken while the machine itself stood still: all at once, in arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from load.figures import Timed
from stalls import Stalls

_DISTURBANCE_NS = 10_000_000
AFTERMATH_NS = 500_000_000
"""What a stall delayed is still being worked off for so long."""
_LEAST_SHARE = 0.25
"""Of all samples; fewer between stalls say nothing about the rest."""


def undisturbed(
    spans: list[tuple[int, int]], from_ns: NDArray[Any], to_ns: NDArray[Any]
) -> NDArray[np.bool_]:
    """For each ``[from_ns, to_ns]`` whether the cores stood still for less than 10 ms in it."""
    if not spans:
        return np.ones(len(from_ns), bool)
    edges = np.array(spans, np.int64)
    begins, ends = np.sort(edges[:, 0]), np.sort(edges[:, 1])
    still_ns = _still(begins, ends, to_ns) - _still(begins, ends, from_ns)
    return still_ns < _DISTURBANCE_NS


def _still(begins: NDArray[Any], ends: NDArray[Any], at_ns: NDArray[Any]) -> NDArray[np.int64]:
    """Nanoseconds stood still before each moment, all cores together."""
    return _since(begins, at_ns) - _since(ends, at_ns)


def _since(edges: NDArray[Any], at_ns: NDArray[Any]) -> NDArray[np.int64]:
    """For each moment the sum of its distances from all edges before it."""
    origin = edges[0]
    sums = np.concatenate([[0], np.cumsum(edges - origin)])
    before = np.searchsorted(edges, at_ns)
    return before * (at_ns - origin) - sums[before]


def chosen(timed: list[Timed], stalls: Stalls) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All values, and those to judge by: without the stalled ones unless few are left."""
    spans = stalls.spans()
    every = np.concatenate([t.ms for t in timed]) if timed else np.zeros(0)
    kept = [t.ms[undisturbed(spans, t.from_ns - AFTERMATH_NS, t.to_ns)] for t in timed]
    good = np.concatenate(kept) if kept else np.zeros(0)
    return every, good if len(good) >= _LEAST_SHARE * len(every) else every
