"""Notices when the machine itself stands still (a virtual machine that is not scheduled).

A watcher with real-time priority on every core sleeps two milliseconds at a
time; waking more than three late means that nothing ran on that core. Latencies
measured across ten milliseconds of that are the machine's, not the server's:
benches report them apart. Without the right to real-time priority ordinary
contention counts as a stall too.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice

_SLEEP_S = 0.002
_STALL_NS = 3_000_000
_DISTURBANCE_S = 0.010


class Stalls:
    """The stalls seen so far, of all cores. Filled by threads of its own."""

    def __init__(self) -> None:
        # For each core, in order of time and without overlap.
        self._cores: list[list[tuple[int, int]]] = []

    def read(self, lines: Iterable[str]) -> None:
        """Take one core's spans, ``from_ns to_ns`` a line (monotonic time), to the end."""
        spans: list[tuple[int, int]] = []
        self._cores.append(spans)
        for line in lines:
            begin, end = line.split()
            spans.append((int(begin), int(end)))

    def seconds(self, from_ns: int, to_ns: int) -> float:
        """Seconds stood still in ``[from_ns, to_ns]``, all cores together."""
        still_ns = 0
        for spans in list(self._cores):
            first = bisect_left(spans, from_ns, key=lambda span: span[1])
            for begin, end in islice(spans, first, None):
                if begin >= to_ns:
                    break
                still_ns += min(end, to_ns) - max(begin, from_ns)
        return still_ns / 1e9

    def touch(self, from_ns: int, to_ns: int) -> bool:
        """Whether cores stood still for 10 ms altogether in ``[from_ns, to_ns]``."""
        return self.seconds(from_ns, to_ns) >= _DISTURBANCE_S

    def spans(self) -> list[tuple[int, int]]:
        """All stalls seen so far, core by core."""
        return [span for spans in list(self._cores) for span in spans]

    @property
    def total_s(self) -> float:
        """Seconds stood still, all cores together."""
        return self.seconds(0, time.monotonic_ns())


@contextlib.contextmanager
def watched() -> Iterator[Stalls]:
    """Watch every core while the block runs."""
    stalls = Stalls()
    watchers = [
        subprocess.Popen([sys.executable, __file__, str(core)], stdout=subprocess.PIPE, text=True)
        for core in range(os.cpu_count() or 1)
    ]
    # Daemons: a block that is never left must not keep its program from ending.
    threads = [
        threading.Thread(target=stalls.read, args=(w.stdout,), daemon=True) for w in watchers
    ]
    for thread in threads:
        thread.start()
    try:
        yield stalls
    finally:
        for watcher in watchers:
            watcher.terminate()
        for watcher, thread in zip(watchers, threads, strict=True):
            watcher.wait(30)
            thread.join(30)


def _watch(core: int) -> None:
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {core})
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    before_ns = time.monotonic_ns()
    while True:
        time.sleep(_SLEEP_S)
        now_ns = time.monotonic_ns()
        if now_ns - before_ns > _STALL_NS + _SLEEP_S * 1e9:
            print(before_ns, now_ns, flush=True)
        before_ns = now_ns


if __name__ == "__main__":
    _watch(int(sys.argv[1]))
