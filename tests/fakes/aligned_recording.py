"""A recording with the time of each of its words, where there are recordings."""

from __future__ import annotations

import csv
import os
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

CASES = Path(os.environ.get("VOICECORE_CASES", Path(__file__).parents[3] / "shared" / "cases"))
Spoken = tuple[str, float, float]
"""A word, and the seconds at which it begins and ends."""


def aligned_recording() -> tuple[NDArray[np.int16], list[Spoken]]:
    """27 s of spontaneous English at 16 kHz, and its words; skips where it is absent."""
    folder = CASES / "speech_mfa_words"
    if not folder.exists():
        pytest.skip(f"no recorded speech at {folder} (set VOICECORE_CASES)")
    with wave.open(str(folder / "wav__acoustic_corpus.wav")) as file:
        assert file.getparams()[:3] == (1, 2, 16_000)
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    with (folder / "words.tsv").open() as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row["word"]]
    return pcm, [(row["word"], float(row["start"]), float(row["end"])) for row in rows]


def middle_of_the_longest_pause_ms(said: list[Spoken]) -> int:
    pause_s, at_s = max((b[1] - a[2], (a[2] + b[1]) / 2) for a, b in pairwise(said))
    assert pause_s > 0.3
    return round(at_s * 1000)
