"""How fast this machine is just now: figures in CPU time are read beside it.

A virtual machine's pace changes by half within minutes, with whatever else its
host runs, and with it every figure in milliseconds.
"""

from __future__ import annotations

import time

import numpy as np

from voicecore._native.opus import Encoder

USUAL_US = 22.0
"""Where the goals in CPU time were set."""

_RATE_HZ = 24_000
_FRAME = _RATE_HZ // 50
_TURNS = 5
_FRAMES = 60


def encode_us() -> float:
    """Thread time of one Opus encode of 20 ms: CELT, 24 kHz, 64 kb/s, complexity 0.

    The least of some turns; it takes 15 ms.
    """
    t = np.arange(_FRAME * _FRAMES) / _RATE_HZ
    tone = (8000 * np.sin(2 * np.pi * 440 * t)).astype(np.int16)
    encoder = Encoder(_RATE_HZ, complexity=0, bitrate_bps=64_000)
    best_ns = 1 << 62
    for _ in range(_TURNS):
        start_ns = time.thread_time_ns()
        for at in range(0, len(tone), _FRAME):
            encoder.encode(tone[at : at + _FRAME])
        best_ns = min(best_ns, time.thread_time_ns() - start_ns)
    return best_ns / 1000 / _FRAMES
