"""Streams that break off: pauses, wraps, new sources, jumps and outages.

Nothing is lost in them but what an outage swallows, and no packet overtakes another: whatever
arrived has to come out, at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from jitter.arrivals import PACKET, Arrivals
from jitter.traces import BASE_MS, FRAME_MS, MS

FRAME = 960
DTX_FLAG = 2

Row = tuple[float, int, int, int, int]  # sent at ms, seq, ts, ssrc, flags


def _dtx(count: int, rng: random.Random) -> list[Row]:
    """Talk for 2 s on average, then silence: one packet each 400 ms, none in between."""
    rows: list[Row] = []
    at = seq = 0  # of frames; a pause takes time but no number
    while seq < count:
        for _ in range(1 + int(rng.expovariate(1 / 100))):
            rows.append((at * FRAME_MS, seq, at * FRAME, 1, 0))
            at, seq = at + 1, seq + 1
        for _ in range(1 + int(rng.expovariate(1 / 4))):
            rows.append((at * FRAME_MS, seq, at * FRAME, 1, DTX_FLAG))
            at, seq = at + 20, seq + 1
    return rows[:count]


def _wrap(count: int, rng: random.Random) -> list[Row]:
    """Sequence number and timestamp wrap within the first seconds."""
    seq, ts = 65_536 - rng.randrange(50, 500), 2**32 - rng.randrange(50, 500) * FRAME
    return [(i * FRAME_MS, seq + i, ts + i * FRAME, 1, 0) for i in range(count)]


def _new_sources(count: int, rng: random.Random) -> list[Row]:
    """Another SSRC with its own numbers and timestamps every 10 s."""
    rows: list[Row] = []
    seq = ts = ssrc = 0
    for i in range(count):
        if i % 500 == 0:
            seq, ts, ssrc = rng.getrandbits(16), rng.getrandbits(32), rng.getrandbits(32)
        rows.append((i * FRAME_MS, seq + i, ts + i * FRAME, ssrc, 0))
    return rows


def _jumps(step: Callable[[random.Random], int]) -> Callable[[int, random.Random], list[Row]]:
    def make(count: int, rng: random.Random) -> list[Row]:
        offset, rows = 0, []
        for i in range(count):
            if i and i % 500 == 0:
                offset += step(rng)
            rows.append((i * FRAME_MS, 1000 + i + offset, i * FRAME, 1, 0))
        return rows

    return make


def _outages(count: int, rng: random.Random) -> list[Row]:
    """Nothing for 2 to 10 s, once in 20 s; the sender's numbers go on meanwhile."""
    rows: list[Row] = []
    i = 0
    while len(rows) < count:
        for _ in range(1000):
            rows.append((i * FRAME_MS, i, i * FRAME, 1, 0))
            i += 1
        i += rng.randrange(100, 500)
    return rows[:count]


def _queued(count: int, rng: random.Random) -> list[Row]:
    """The same, but what was sent meanwhile arrives all at once in the end."""
    rows: list[Row] = []
    until_ms = 0.0
    for i in range(count):
        if i % 1000 == 999:
            until_ms = i * FRAME_MS + rng.uniform(2000, 10_000)
        rows.append((max(i * FRAME_MS, until_ms), i, i * FRAME, 1, 0))
    return rows


_MAKERS: dict[str, Callable[[int, random.Random], list[Row]]] = {
    "dtx": _dtx,
    "wrap": _wrap,
    "new source": _new_sources,
    "jump +300": _jumps(lambda _: 300),
    "jump -300": _jumps(lambda _: -300),
    "jump random": _jumps(lambda rng: rng.randrange(64, 65_472)),
    "outage": _outages,
    "queued": _queued,
}
SCENARIOS = tuple(_MAKERS)


def scenario(name: str, count: int, seed: int) -> Arrivals:
    """``count`` packets of one of :data:`SCENARIOS`, with a jitter of 2 ms on average."""
    rng = random.Random(seed)
    rows = _MAKERS[name](count, rng)
    packets = np.zeros(count, PACKET)
    last_ms = 0.0
    for packet, (sent_ms, seq, ts, ssrc, flags) in zip(packets, rows, strict=True):
        last_ms = max(last_ms, sent_ms + BASE_MS + rng.expovariate(0.5))
        packet["arrival_ns"] = int(last_ms * MS)
        packet["seq"], packet["ts"], packet["ssrc"] = seq & 0xFFFF, ts & 0xFFFFFFFF, ssrc
        packet["flags"], packet["len"] = flags, 2 if flags else 80
    return Arrivals(packets, sent=count)
