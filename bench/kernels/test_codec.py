"""G.711: a frame of 20 ms from Python, against the standard library."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernels.conftest import Race
from voicecore._native import g711

audioop = pytest.importorskip("audioop")

RNG = np.random.default_rng(1)
SPEECH_8K = RNG.integers(-8000, 8000, 160).astype(np.int16)
SPEECH_BYTES = SPEECH_8K.tobytes()
ULAW = g711.ulaw_encode(SPEECH_8K)


@pytest.mark.parametrize(
    ("who", "function"),
    [
        ("ours", lambda: g711.ulaw_encode(SPEECH_8K)),
        ("audioop", lambda: audioop.lin2ulaw(SPEECH_BYTES, 2)),
    ],
)
def test_ulaw_encode(race: Race, who: str, function: Callable[[], object]) -> None:
    race("G.711 mu-law encode", who, function, goal_ratio=1.0)


@pytest.mark.parametrize(
    ("who", "function"),
    [("ours", lambda: g711.ulaw_decode(ULAW)), ("audioop", lambda: audioop.ulaw2lin(ULAW, 2))],
)
def test_ulaw_decode(race: Race, who: str, function: Callable[[], object]) -> None:
    race("G.711 mu-law decode", who, function, goal_ratio=1.0)
