"""Pieces of recordings that turns are made of: sentences and fillers, cut between words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turns.cases import RATE_HZ, Pcm, Recording, Word, extent


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


FILLERS = _set("um uh er erm hmm")
FUNCTION = _set(
    "a an the this that these those my your his her its our their some any no all of to in on at "
    "for from with by after before about into over and or but so if when than because as i you he "
    "she we they it is are was were be been being has have had will would can could shall should "
    "may must do does did not i'm we're you're there's here's you've which who whose what"
)
CLAUSE_STARTS = _set(
    "and or but so when where which who because if to from for with after before followed at in on "
    "what"
)
MIN_CLAUSE_WORDS = 2

_MS = RATE_HZ // 1000
_SEARCH = 60 * _MS
_BLOCK = 5 * _MS
_LONG = 15 * RATE_HZ
_SENTENCE_GAP = 450 * _MS
_FADE = 4 * _MS
_LEAST = 40 * _MS
_DOUBT = 40 * _MS
"""An aligner may be so late with a word's beginning."""
_BEFORE, _AFTER = 80 * _MS, 150 * _MS
"""What is left of a recording's own silence around a piece: its breath and its room's echo."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Sentence:
    """Words ``[first, last)`` of a recording; ``open``: the speaker means to go on."""

    recording: Recording
    first: int
    last: int
    open: bool

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of the sentence."""
        return self.recording.words[self.first : self.last]


def sentences(recordings: Iterable[Recording]) -> list[Sentence]:
    """All of them, in order: up to full stops; in a long text without any, up to pauses."""
    found = []
    for recording in recordings:
        words = recording.words
        written = any(w.closes for w in words)
        first = 0
        for i, word in enumerate(words, 1):
            gap = words[i].start - word.end if i < len(words) else _SENTENCE_GAP
            paused = gap >= _SENTENCE_GAP and len(recording.pcm) > _LONG
            stop = word.closes in (".", "...") if written else paused
            if stop or i == len(words):
                found.append(Sentence(recording, first, i, word.closes == "..."))
                first = i
    return [s for s in found if not any(w.text in FILLERS for w in s.words[-1:])]


def fillers(recordings: Iterable[Recording]) -> list[Sentence]:
    """Each "um" and "uh" that can be cut out."""
    return [
        Sentence(r, i, i + 1, open=True)
        for r in recordings
        for i, w in enumerate(r.words)
        if w.text in FILLERS and w.end - w.start >= 120 * _MS
    ]


def places(sentence: Sentence) -> Iterator[tuple[int, str]]:
    """Where in the sentence a pause may be, and what kind of place that is.

    Yields ``(i, place)``: before word ``i`` of the recording.
    """
    words = sentence.words
    for k in range(1, len(words)):
        before, after = words[k - 1], words[k]
        at = sentence.first + k
        if before.text in FILLERS:
            yield at, "filler"
        elif before.text in FUNCTION:
            yield at, "function"
        elif before.closes == "," or (after.text in CLAUSE_STARTS and k >= MIN_CLAUSE_WORDS):
            yield at, "clause"
        else:
            yield at, "phrase"


def cut(recording: Recording, first: int, last: int) -> tuple[int, int]:
    """The samples of words ``[first, last)``: at the quietest moments around their boundaries."""
    # What lies further off the words was not transcribed, or is the noise of a loud room.
    words = recording.words
    start = max(_boundary(recording, first), words[first].start - _BEFORE - _DOUBT)
    end = min(_boundary(recording, last), words[last - 1].end + _AFTER)
    end = max(end, start + _LEAST)
    loud, quiet = extent(recording.pcm[start:end])
    return max(start, start + loud - _BEFORE), min(end, start + quiet + _AFTER)


def _boundary(recording: Recording, i: int) -> int:
    """Where to cut before word ``i``."""
    words, pcm = recording.words, recording.pcm
    low = words[i - 1].end - _SEARCH if i else max(words[0].start - 3 * _SEARCH, 0)
    high = (
        words[i].start + _SEARCH if i < len(words) else min(words[-1].end + 4 * _SEARCH, len(pcm))
    )
    if i == 0:
        return low
    if i == len(words):
        return high
    # Not beyond the middle of a word: cuts stay in order.
    low = max(low, (words[i - 1].start + words[i - 1].end) // 2)
    high = min(high, (words[i].start + words[i].end) // 2)
    count = max((high - low) // _BLOCK, 1)
    blocks = pcm[low : low + count * _BLOCK].astype(np.float64)
    blocks = blocks[: len(blocks) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    return low + int((blocks**2).mean(axis=1).argmin()) * _BLOCK + _BLOCK // 2


def voice(recording: Recording, start: int, end: int, level_dbfs: float) -> Floats:
    """These samples, as loud as asked where the recording is loud, faded at both ends."""
    piece = recording.pcm[start:end].astype(np.float32) * gain(recording.pcm, level_dbfs)
    n = min(_FADE, len(piece) // 2)
    ramp = np.sin(np.linspace(0, np.pi / 2, n, dtype=np.float32)) ** 2
    piece[:n] *= ramp
    piece[len(piece) - n :] *= ramp[::-1]
    return piece


def gain(pcm: Pcm, level_dbfs: float) -> float:
    """What brings the loud frames (within 20 dB of the loudest) to that level."""
    step = RATE_HZ // 100
    power = (pcm[: len(pcm) // step * step].reshape(-1, step).astype(np.float64) ** 2).mean(axis=1)
    loud = power[power >= power.max() * 1e-2].mean()
    return float(32768 * 10 ** (level_dbfs / 20) / np.sqrt(max(loud, 1.0)))
