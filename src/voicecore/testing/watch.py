"""How long the event loop stands still, and which processes are there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from voicecore.testing.checking import Bench, NotConforming

_SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
_TICK_S: Final = 0.001
_TRIES: Final = 3


class LoopWatch:
    """Measures the longest time in which the event loop did nothing else: ``stall_ms``.

    Time in which its thread was ready but had no processor is the machine's, and is left
    out where the kernel tells it (Linux, ``/proc/thread-self/schedstat``, its second number).
    """

    def __init__(self) -> None:
        self.stall_ms = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._last_s = 0.0

    def __enter__(self) -> LoopWatch:
        self._last_s = own_time_s()
        self._handle = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        return self

    def __exit__(self, *_: object) -> None:
        self._measure()
        if self._handle is not None:
            self._handle.cancel()

    def _tick(self) -> None:
        self._measure()
        self._handle = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def _measure(self) -> None:
        now_s = own_time_s()
        self.stall_ms = max(self.stall_ms, (now_s - self._last_s - _TICK_S) * 1000.0)
        self._last_s = now_s


def own_time_s() -> float:
    """A clock that stands still while this thread waits for a processor."""
    now_s = time.perf_counter()
    try:
        return now_s - int(_SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return now_s


async def loop_stays_free(bench: Bench, work: Callable[[], Awaitable[object]]) -> None:
    """Do ``work`` up to three times: in one of them the loop must never stand still for long.

    A machine may stand still by itself; an engine that blocks does so each time.
    """
    worst_ms = []
    for _ in range(_TRIES):
        with LoopWatch() as watch:
            await work()
        if watch.stall_ms <= bench.stall_ms:
            return
        worst_ms.append(watch.stall_ms)
    raise NotConforming(
        f"the event loop stands still for {min(worst_ms):.0f} ms (at most {bench.stall_ms:g})"
    )


def child_processes() -> set[int]:
    """Process ids of this process's children (Linux; elsewhere none are seen)."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        try:
            found |= {int(pid) for pid in path.read_text().split()}
        except OSError:
            continue
    return found
