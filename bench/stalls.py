"""Notices when the machine itself stands still (a virtual machine that is not scheduled).

A watcher with real-time priority on every core sleeps two milliseconds at a
time; waking more than ten late means that nothing ran on that core. Latencies
measured across such a stall are the machine's, not the server's: benches
report them apart. Without the right to real-time priority ordinary contention
counts as a stall too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator

_SLEEP_S = 0.002
_STALL_NS = 10_000_000


class Stalls:
    """The stalls of a measurement, known once it is over."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def add(self, spans: list[tuple[int, int]]) -> None:
        """Take the spans ``(from_ns, to_ns)`` of one core (monotonic time)."""
        self._spans = sorted([*self._spans, *spans], key=lambda span: span[1])

    def touch(self, from_ns: int, to_ns: int) -> bool:
        """Whether any core stood still somewhere in ``[from_ns, to_ns]``."""
        first = bisect_left(self._spans, from_ns, key=lambda span: span[1])
        return any(begin <= to_ns for begin, _ in self._spans[first:])

    @property
    def total_s(self) -> float:
        """Seconds stood still, all cores together."""
        return sum(end - begin for begin, end in self._spans) / 1e9


@contextlib.contextmanager
def watched() -> Iterator[Stalls]:
    """Watch every core while the block runs; the stalls are known after it."""
    stalls = Stalls()
    watchers = [
        subprocess.Popen([sys.executable, __file__, str(core)], stdout=subprocess.PIPE, text=True)
        for core in range(os.cpu_count() or 1)
    ]
    try:
        yield stalls
    finally:
        for watcher in watchers:
            watcher.send_signal(signal.SIGINT)
            text, _ = watcher.communicate(timeout=30)
            pairs = [line.split() for line in text.splitlines()]
            stalls.add([(int(begin), int(end)) for begin, end in pairs])


def _watch(core: int) -> None:
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {core})
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    spans = []
    try:
        before_ns = time.monotonic_ns()
        while True:
            time.sleep(_SLEEP_S)
            now_ns = time.monotonic_ns()
            if now_ns - before_ns > _STALL_NS + _SLEEP_S * 1e9:
                spans.append((before_ns, now_ns))
            before_ns = now_ns
    except KeyboardInterrupt:
        for begin, end in spans:
            print(begin, end)


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
