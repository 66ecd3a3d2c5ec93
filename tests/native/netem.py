"""A seeded bad network in virtual time: no sockets, no sleeping.

:class:`Netem` carries any datagrams: loss (in bursts, after Gilbert), delay, jitter, reordering,
duplication. Times are integer nanoseconds; equal seeds give equal runs. The arrival patterns
that the jitter buffer is measured on are those of its bench (``bench/jitter/traces.py``).
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from jitter.traces import BASE_MS, MS, Gilbert

__all__ = ["MS", "Gilbert", "Netem"]


@dataclass(slots=True)
class Netem:
    """One direction of a bad path for datagrams.

    ``send`` puts a datagram on its way at a time, ``deliver`` hands out what arrived until a
    time, in order of arrival. With ``fifo`` a delayed datagram holds up those behind it;
    without, they overtake. ``reorder`` of the datagrams take ``reorder_ms`` longer.
    """

    seed: int
    delay_ms: float = BASE_MS
    jitter_ms: float = 0.0
    loss: float = 0.0
    burst: float = 1.0
    reorder: float = 0.0
    reorder_ms: float = 25.0
    duplicate: float = 0.0
    fifo: bool = True
    sent: int = 0
    lost: int = 0
    _rng: random.Random = field(init=False)
    _gilbert: Gilbert = field(init=False)
    _heap: list[tuple[int, int, bytes]] = field(init=False, default_factory=list)
    _count: int = field(init=False, default=0)
    _last_ns: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)
        self._gilbert = Gilbert(self.loss, self.burst, self._rng)

    def send(self, datagram: bytes, now_ns: int) -> None:
        self.sent += 1
        if self._gilbert.lost():
            self.lost += 1
            return
        for _ in range(2 if self._rng.random() < self.duplicate else 1):
            delay_ms = self.delay_ms
            if self.jitter_ms:
                delay_ms += self._rng.expovariate(1.0 / self.jitter_ms)
            if self._rng.random() < self.reorder:
                delay_ms += self.reorder_ms
            at_ns = now_ns + int(delay_ms * MS)
            if self.fifo:
                at_ns = self._last_ns = max(at_ns, self._last_ns)
            self._count += 1
            heapq.heappush(self._heap, (at_ns, self._count, datagram))

    def next_ns(self) -> int | None:
        """Return when the next datagram arrives, or None if none is on its way."""
        return self._heap[0][0] if self._heap else None

    def deliver(self, until_ns: int) -> list[tuple[int, bytes]]:
        """Return ``(arrival_ns, datagram)`` of all that arrive by ``until_ns``."""
        out = []
        while self._heap and self._heap[0][0] <= until_ns:
            at_ns, _, datagram = heapq.heappop(self._heap)
            out.append((at_ns, datagram))
        return out
