"""A reader's recording with hand-corrected word times, and who understands nothing else."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turns.cases import load

_EXACT_S = 0.002
"""Providers tell times in milliseconds, the recording's words are told finer."""
_PROBE = 640
"""Bytes that tell where in the recording some audio is from."""


@dataclass(frozen=True)
class Recorded:
    """``words``: each with the seconds at which it begins and ends."""

    pcm: NDArray[np.int16]
    words: Sequence[tuple[str, float, float]]

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(word for word, *_ in self.words)

    def understand(self, pcm: bytes) -> list[tuple[str, float, float]]:
        """The words of a stretch of this recording, found by its very samples.

        A word of which the beginning is missing is told with a question mark, one of
        which the end has not come yet is not told: what is lost of the audio is lost of
        the words.
        """
        start_s = self._place(pcm) / 32_000
        end_s = start_s + len(pcm) / 32_000
        return [
            (
                word if from_s >= start_s - _EXACT_S else f"?{word}",
                max(from_s - start_s, 0.0),
                to_s - start_s,
            )
            for word, from_s, to_s in self.words
            if to_s <= end_s and to_s > start_s
        ]

    def _place(self, pcm: bytes) -> int:
        whole = self.pcm.tobytes()
        for at in range(0, len(pcm) - _PROBE, _PROBE):
            probe = pcm[at : at + _PROBE]
            if any(probe) and (found := whole.find(probe)) >= 0:
                return found - at
        return len(whole)


def recorded(folder: Path) -> Recorded | None:
    """The first recording of the folder's ``speech_mfa_words``; None where there is none."""
    table = folder / "speech_mfa_words" / "words.tsv"
    if not table.is_file():
        return None
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    name = rows[0]["file"]
    words = [
        (row["word"], float(row["start"]), float(row["end"]))
        for row in rows
        if row["file"] == name and row["word"]
    ]
    return Recorded(load(table.with_name(f"{name}.wav")), words)


Understand = Callable[[bytes], list[tuple[str, float, float]]]
