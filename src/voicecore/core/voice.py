"""What is known of the caller's voice at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Voice:
    """A look at the speech gate between two edges; positions count at 16 kHz.

    ``voiced``: the gate is open, since sample ``onset``. ``loud_end``: the end of the
    last 8 ms within 25 dB of the loudest, which a release would be dated to now.
    ``confidence``: mean speech probability of the scored frames since the onset, 0
    to 1. ``echo``: share of the input's energy since then that what we sent
    explains, 0 to 1 (0 without an echo guard).
    """

    voiced: bool
    onset: int
    loud_end: int
    confidence: float
    echo: float


NO_VOICE = Voice(False, 0, 0, 0.0, 0.0)
