"""The ring: what every block pays, against what others do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernels.conftest import Race
from voicecore._native.ring import AudioRing

BLOCK = np.zeros(320, np.int16)


def _ours_ring() -> Callable[[], object]:
    ring = AudioRing(480_000)
    vad, stt = ring.reader(), ring.reader()

    def step() -> None:
        ring.write(BLOCK)
        vad.read(512)
        stt.read(1600)

    return step


def _bytes_ring() -> Callable[[], object]:
    state = {"vad": b"", "stt": b""}
    data = BLOCK.tobytes()

    def step() -> None:
        for name, size in (("vad", 1024), ("stt", 3200)):
            state[name] += data
            if len(state[name]) >= size:
                np.frombuffer(state[name][:size], np.int16)
                state[name] = state[name][size:]

    return step


@pytest.mark.parametrize(("who", "make"), [("ours", _ours_ring), ("bytes", _bytes_ring)])
def test_ring(race: Race, who: str, make: Callable) -> None:
    race("ring: a 20 ms write, two readers", who, make(), goal_ratio=1.0)
