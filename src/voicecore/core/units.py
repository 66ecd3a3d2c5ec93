"""Time is an integer of nanoseconds, a position an integer of samples."""

from __future__ import annotations

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

HEAR_RATE_HZ = 16_000
"""Rate of everything we hear: the caller's ring, VAD frames, STT chunks."""


def ms_to_ns(ms: float) -> int:
    """Milliseconds as integer nanoseconds."""
    return round(ms * NS_PER_MS)


def ns_to_ms(ns: int) -> float:
    """Nanoseconds as milliseconds."""
    return ns / NS_PER_MS


def samples_to_ns(samples: int, rate_hz: int) -> int:
    """The time ``samples`` take at ``rate_hz``, rounded down to a nanosecond."""
    return samples * NS_PER_S // rate_hz


def ms_to_samples(ms: float, rate_hz: int) -> int:
    """The samples of ``ms`` milliseconds at ``rate_hz``, rounded to the nearest."""
    return round(ms * rate_hz / 1000)
