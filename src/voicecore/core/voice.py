"""What is known of the caller's voice at one moment."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Voice:
    """A look at the speech gate between two edges; positions count at 16 kHz.

    ``voiced``: the gate is open, since sample ``onset``. ``loud_end``: the end of the
    last 8 ms within 25 dB of the loudest, which a release would be dated to now.
    ``confidence``: mean speech probability of the scored frames since the onset, 0
    to 1. ``echo``: share of the input's energy since then that what we sent
    explains, 0 to 1 (0 without an echo guard).

    Known after a closer look alone (``service/sound.py``): ``sound_from``, where the
    sound begins that the gate opened for (-1: not looked at), and ``change_db``, how
    much its spectrum changes; low for a hum, infinite if not looked at.
    """

    voiced: bool
    onset: int
    loud_end: int
    confidence: float
    echo: float
    sound_from: int = -1
    change_db: float = math.inf


NO_VOICE = Voice(False, 0, 0, 0.0, 0.0)
