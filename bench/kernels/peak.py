"""The most multiply-adds one core of this machine can do, measured."""

from __future__ import annotations

import ctypes
import functools
import time

from kernels.compiled import compiled

_CHAINS = 10
_ROUNDS = 2_000_000
_LANES = {"avx512": 16, "avx2": 8}


@functools.cache
def macs_per_ns(isa: str) -> float:
    """Multiply-adds per nanosecond of CPU time with vectors of ``isa``."""
    lanes = _LANES.get(isa, 4)
    run = getattr(_library(), f"peak_{isa}" if isa in _LANES else "peak_base")
    run.restype, run.argtypes = ctypes.c_double, [ctypes.c_int64]
    best = float("inf")
    for _ in range(5):
        start_ns = time.thread_time_ns()
        run(_ROUNDS)
        best = min(best, time.thread_time_ns() - start_ns)
    return _ROUNDS * _CHAINS * lanes / best


@functools.cache
def _library() -> ctypes.CDLL:
    return compiled("peak")
