"""Arrival patterns that the jitter buffer is measured on, in virtual time.

Times are integer nanoseconds; equal seeds give equal traces. Delays are drawn on top of
:data:`BASE_MS`, and a delayed packet holds up those behind it unless the trace is about
reordering. Loss comes in bursts after Gilbert.
"""

from __future__ import annotations

import random
from collections.abc import Callable

MS = 1_000_000
FRAME_MS = 20
BASE_MS = 30.0


class Gilbert:
    """Loss of a share ``p`` of packets in bursts of mean length ``burst`` (two states)."""

    def __init__(self, p: float, burst: float, rng: random.Random) -> None:
        if not 0 <= p < 1 or burst < 1:
            raise ValueError(f"loss must be 0..1 and burst at least 1, got {p} and {burst}")
        self._leave = 1.0 / burst
        self._enter = p * self._leave / (1.0 - p)
        self._bad = False
        self._rng = rng

    def lost(self) -> bool:
        """Return whether the next packet is lost."""
        self._bad = self._rng.random() < (1.0 - self._leave if self._bad else self._enter)
        return self._bad


Delay = Callable[[float], float]  # ms sent -> ms of delay beyond BASE_MS


def _gamma(shape: float, scale_ms: float, rng: random.Random) -> Delay:
    return lambda _sent_ms: rng.gammavariate(shape, scale_ms)


def _spikes(mean_gap_ms: float, draw: Callable[[], float], rng: random.Random) -> Delay:
    """A delay that jumps up at random times and drains in real time."""
    state = [rng.expovariate(1 / mean_gap_ms), 0.0, 0.0]  # next spike, began, height

    def delay(sent_ms: float) -> float:
        while sent_ms >= state[0]:
            state[1], state[2] = state[0], draw()
            state[0] += rng.expovariate(1 / mean_gap_ms)
        return max(0.0, state[1] + state[2] - sent_ms)

    return delay


def _bloat(sent_ms: float) -> float:
    at_s = sent_ms / 1000 % 20
    if at_s < 6:
        return 400 * at_s / 6
    if at_s < 8:
        return 400.0
    return max(0.0, 400 * (1 - (at_s - 8) / 4))


def _sum(*delays: Delay) -> Delay:
    return lambda sent_ms: sum(delay(sent_ms) for delay in delays)


def _ge(p: float, burst: float) -> Callable[[random.Random], tuple[Delay, Gilbert]]:
    return lambda rng: (_gamma(1, 4, rng), Gilbert(p, burst, rng))


_PATHS: dict[str, Callable[[random.Random], tuple[Delay, Gilbert]]] = {
    "clean": lambda rng: (_gamma(1, 0.8, rng), Gilbert(0, 1, rng)),
    "drift": lambda rng: (_gamma(1, 2, rng), Gilbert(0.01, 1, rng)),
    "wifi": lambda rng: (
        _sum(
            _gamma(0.7, 4, rng),
            _spikes(3300, lambda: min(250.0, 50 * rng.paretovariate(1.8)), rng),
        ),
        Gilbert(0.01, 1.5, rng),
    ),
    "lte": lambda rng: (
        _sum(_gamma(1.5, 8, rng), _spikes(15000, lambda: rng.uniform(200, 500), rng)),
        Gilbert(0.01, 3, rng),
    ),
    "reorder": lambda rng: (
        lambda _ms: 5 + rng.expovariate(1 / 25) if rng.random() < 0.05 else 0.0,
        Gilbert(0.01, 1, rng),
    ),
    "nack": lambda rng: (_gamma(1, 0.8, rng), Gilbert(0.05, 1.5, rng)),
    "bloat": lambda rng: (_sum(_bloat, _gamma(1, 0.8, rng)), Gilbert(0, 1, rng)),
    "ge1": _ge(0.01, 1.5),
    "ge3": _ge(0.03, 1.5),
    "ge5": _ge(0.05, 2),
    "ge10": _ge(0.10, 3),
    "ge20": _ge(0.20, 4),
}
TRACES = tuple(_PATHS)
_CLOCK_PPM = {"clean": 200, "drift": -200}


def trace(name: str, packets: int, seed: int) -> list[tuple[int, int]]:
    """Return ``(arrival_ns, packet index)`` of the packets that arrive, by arrival.

    One packet of 20 ms after the other; ``name`` is one of :data:`TRACES`. A duplicate
    appears twice, a lost packet not at all.
    """
    rng = random.Random(seed)
    delay, loss = _PATHS[name](rng)
    period_ms = FRAME_MS * (1 + _CLOCK_PPM.get(name, 0) * 1e-6)
    arrivals: list[tuple[int, int]] = []
    fifo_ms = 0.0
    resends: list[int] = []
    for index in range(packets):
        sent_ms = index * period_ms
        at_ms = sent_ms + BASE_MS + delay(sent_ms)
        congested = name == "bloat" and 6 <= sent_ms / 1000 % 20 < 8 and rng.random() < 0.15
        if loss.lost() or congested:
            if name == "nack" and rng.random() < 0.9:
                resends.append(index)
            continue
        if name != "reorder":
            at_ms = fifo_ms = max(at_ms, fifo_ms)
        arrivals.append((int(at_ms * MS), index))
        # The far end resends once the packet behind the gap has shown it.
        for resend in resends:
            arrivals.append((int((at_ms + 60 + rng.gammavariate(2, 3)) * MS), resend))
        resends = []
        if name == "reorder" and rng.random() < 0.01:
            arrivals.append((int((at_ms + rng.uniform(0, 10)) * MS), index))
    arrivals.sort()
    return arrivals
