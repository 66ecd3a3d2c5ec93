"""The loudness of a segment's audio, one byte per 10 ms, and the pauses in it.

A byte is the block's mean square in dB above one step of int16: 0 (digital
silence) to 90. Blocks of ``rate_hz // 100`` samples are counted from the
segment's first sample. Who has the audio makes them (``service/speech_energy.py``).
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

QUIET_DB: Final = 30
"""A block this far below the segment's loudest is a pause: soft consonants at a word's end
reach down to 25."""

MIN_PAUSE_BLOCKS: Final = 8
"""A shorter quiet stretch is the closure of a stop consonant."""


def quiet_runs(energy: bytes) -> list[tuple[int, int]]:
    """Stretches of blocks, [begin, end), that are pauses; those at the two ends at any length."""
    if not energy:
        return []
    floor = max(energy) - QUIET_DB
    runs, begin = [], 0
    for quiet, blocks in groupby(energy, floor.__gt__):
        end = begin + sum(1 for _ in blocks)
        at_an_end = begin == 0 or end == len(energy)
        if quiet and (at_an_end or end - begin >= MIN_PAUSE_BLOCKS):
            runs.append((begin, end))
        begin = end
    return runs
