"""Made speech that a test server understands from its samples alone.

A word is a stretch of one level, so that what is lost, doubled or cut of the audio is
lost, doubled or cut of the words. It survives resampling and G.711.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORD_MS = 240
GAP_MS = 120
_STEP = 2500
_FRAME_MS = 10
_SHORTEST_FRAMES = 6


def say(text: str, *, rate_hz: int = 16_000, silence_ms: int = GAP_MS) -> NDArray[np.int16]:
    """``text`` of :data:`WORDS`, a gap behind each, and ``silence_ms`` behind the last."""
    pieces = []
    for word in text.split():
        level = (WORDS.index(word) + 1) * _STEP
        pieces += [np.full(WORD_MS * rate_hz // 1000, level), np.zeros(GAP_MS * rate_hz // 1000)]
    pieces.append(np.zeros((silence_ms - GAP_MS) * rate_hz // 1000) if silence_ms > GAP_MS else [])
    return np.concatenate(pieces).astype(np.int16)


def understand(pcm: bytes, rate_hz: int = 16_000) -> list[tuple[str, float, float]]:
    """The words of little-endian int16 samples, with the seconds of each."""
    frame = rate_hz * _FRAME_MS // 1000
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    levels = np.rint(np.median(frames, axis=1) / _STEP).astype(int)
    words: list[tuple[str, float, float]] = []
    begin = 0
    for end in range(1, len(levels) + 1):
        if end < len(levels) and levels[end] == levels[begin]:
            continue
        if 0 < levels[begin] <= len(WORDS) and end - begin >= _SHORTEST_FRAMES:
            at_s, until_s = begin * _FRAME_MS / 1000, end * _FRAME_MS / 1000
            words.append((WORDS[levels[begin] - 1], at_s, until_s))
        begin = end
    return words
