"""From what came to figures. Arrays in, numbers out; the terms are MEASURE's.

A call's packets are an array of ``native.ARRIVAL``, its utterances one of
``native.SAID``. Times are nanoseconds of the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from load.native import COPY, LOST, loudness

LOUD = 10 ** (-50 / 20)
"""−50 dBFS: what counts as the agent's voice."""
_SAMPLES_PER_MS = 48
_FRAME_MS = 20
_FRAME_TICKS = _FRAME_MS * _SAMPLES_PER_MS
_FAR_NS = 10**10
_PAUSE_NS = 100_000_000
"""Loud packets this far apart belong to two answers."""

Floats = NDArray[np.float64]
Arrivals = NDArray[Any]


@dataclass(frozen=True)
class Timed:
    """Milliseconds, and at which moment each was measured."""

    ms: Floats
    from_ns: NDArray[np.int64]
    to_ns: NDArray[np.int64]


def during(arrivals: Arrivals, begin_ns: int, end_ns: int) -> Arrivals:
    """Those that came in ``[begin_ns, end_ns)``."""
    return arrivals[(arrivals["at_ns"] >= begin_ns) & (arrivals["at_ns"] < end_ns)]


def lateness(arrivals: Arrivals) -> Timed:
    """Each packet against the steady clock that the call's median packet defines.

    A frame that the sender left out, being late itself (media time went on, sequence numbers
    did not), counts as if it had come with the packet after it.
    """
    heard = arrivals[arrivals["flags"] & (COPY | LOST) == 0]
    at_ns = heard["at_ns"]
    if not len(heard):
        return Timed(np.zeros(0), at_ns, at_ns)
    steps = np.diff(heard["timestamp"].astype(np.int64), prepend=heard["timestamp"][:1])
    played_ms = np.cumsum(_signed(steps, 32)) / _SAMPLES_PER_MS
    offsets = (at_ns - at_ns[0]) / 1e6 - played_ms
    late_ms = offsets - np.median(offsets)
    numbers = np.diff(heard["sequence"].astype(np.int64), prepend=heard["sequence"][:1])
    frames = _signed(steps, 32) // _FRAME_TICKS - _signed(numbers, 16)
    gaps = np.flatnonzero(frames > 0)
    after = np.repeat(gaps, frames[gaps])
    back = np.concatenate([np.arange(1, n + 1) for n in frames[gaps]]) if len(gaps) else after
    at_ns = np.concatenate([at_ns, at_ns[after]])
    return Timed(np.concatenate([late_ms, late_ms[after] + back * _FRAME_MS]), at_ns, at_ns)


def missing(arrivals: Arrivals) -> int:
    """Sequence numbers between the first and the last that never reached the socket."""
    if not len(arrivals):
        return 0
    steps = np.diff(arrivals["sequence"].astype(np.int64), prepend=arrivals["sequence"][:1])
    numbers = np.cumsum(_signed(steps, 16))
    expected = int(numbers.max() - numbers.min()) + 1
    return expected - len(np.unique(numbers))


def levels(arrivals: Arrivals, arena: NDArray[np.uint8], *, opus: int, red: int = 0) -> Floats:
    """RMS of each packet of a call, decoded in turn (1.0: full scale; 0: not audio, or lost).

    ``opus`` and ``red`` are payload types; ``red`` 0: not in use.
    """
    offsets, lengths = arrivals["offset"].astype(np.uint32), arrivals["length"].astype(np.uint32)
    kinds = arrivals["payload_type"]
    audio = (kinds == opus) | ((kinds == red) & (red > 0))
    lengths[(arrivals["flags"] & (LOST | COPY) != 0) | ~audio] = 0
    if red:
        for i in np.flatnonzero((kinds == red) & (lengths > 0)):
            skipped = red_overhead(arena[offsets[i] : offsets[i] + lengths[i]].tobytes())
            offsets[i] += skipped
            lengths[i] -= skipped
    return loudness(arena, offsets, lengths).astype(np.float64)


def red_overhead(payload: bytes) -> int:
    """Bytes before the primary block of a RED payload (RFC 2198): headers and older blocks."""
    at = older = 0
    while at + 4 <= len(payload) and payload[at] & 0x80:
        older += int.from_bytes(payload[at + 2 : at + 4], "big") & 0x3FF
        at += 4
    return min(at + 1 + older, len(payload))


def latencies(said: NDArray[Any], arrivals: Arrivals, level: Floats, *, silence_ms: float) -> Timed:
    """Last speech sample sent -> first loud packet, less ``silence_ms``, for each answer.

    What was still sounding when the caller ended is no answer to him.
    """
    loud_ns = np.sort(arrivals["at_ns"][level > LOUD])
    starts_ns = loud_ns[np.diff(loud_ns, prepend=-_PAUSE_NS) >= _PAUSE_NS]
    found = []
    for note, until_ns in _turns(said):
        at = int(np.searchsorted(starts_ns, note["last_ns"]))
        if at < len(starts_ns) and starts_ns[at] < until_ns:
            found.append((int(note["last_ns"]), int(starts_ns[at])))
    return _timed(found, silence_ms)


def barge_ins(said: NDArray[Any], arrivals: Arrivals, level: Floats) -> Timed:
    """First speech sample sent -> last loud packet, where the agent was speaking."""
    loud_ns = np.sort(arrivals["at_ns"][level > LOUD])
    found = []
    for note, _ in _turns(said):
        begin_ns, end_ns = int(note["first_ns"]), int(note["last_ns"])
        before = np.searchsorted(loud_ns, begin_ns - 100_000_000)
        first, last = np.searchsorted(loud_ns, [begin_ns, end_ns])
        if before < first < last:
            found.append((begin_ns, int(loud_ns[last - 1])))
    return _timed(found, 0.0)


def answered(said: NDArray[Any], arrivals: Arrivals, level: Floats) -> tuple[int, int]:
    """Utterances that were said to their end, and how many of them were answered."""
    turns = [note for note, _ in _turns(said)]
    return len(turns), len(latencies(said, arrivals, level, silence_ms=0.0).ms)


def percentiles(values: Floats, *points: float) -> list[float | None]:
    """``None`` for each where there are no values."""
    if not len(values):
        return [None for _ in points]
    return [round(float(v), 2) for v in np.percentile(values, points)]


def _turns(said: NDArray[Any]) -> list[tuple[Any, int]]:
    """Utterances that went out whole, and when the next one began."""
    done = [note for note in said if note["first_ns"] and note["last_ns"]]
    ends = [int(note["first_ns"]) for note in done[1:]]
    return list(zip(done, [*ends, int(done[-1]["last_ns"]) + _FAR_NS], strict=True)) if done else []


def _timed(found: list[tuple[int, int]], less_ms: float) -> Timed:
    spans = np.array(found, np.int64).reshape(-1, 2)
    return Timed((spans[:, 1] - spans[:, 0]) / 1e6 - less_ms, spans[:, 0], spans[:, 1])


def _signed(steps: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Differences of numbers that wrap at ``bits``."""
    half = 1 << (bits - 1)
    return (steps + half) % (1 << bits) - half
