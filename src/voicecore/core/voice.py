"""What is known of the caller's voice at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Voice:
    """The utterance that goes on, or else the last one; positions are samples at 16 kHz."""

    voiced: bool
    """The speech gate is open."""
    onset: int
    """Where it opened."""
    loud_end: int
    """End of the last 8 ms block within 25 dB of the loudest: to which a release would be dated
    now, or was."""
    confidence: float
    """Mean speech probability of the scored frames since the onset, 0 to 1; 0 of none."""
    echo: float
    """Share of the energy since the onset that is explained by what we sent, 0 to 1; 0 without
    an echo guard."""


NO_VOICE = Voice(False, 0, 0, 0.0, 0.0)
"""Before the first utterance."""
