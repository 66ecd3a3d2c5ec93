"""Which pause in a segment's audio lies between which of its words.

All pauses are placed at once, by the least sum of three costs: how far the
sound between two pauses is from what the words between them take, a pause
where no punctuation asks for it, and a pause passed over (taken for a word's
own silence). Dynamic programming over pauses and word boundaries; the
boundaries tried for a pause are those near where an even pace would have it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

# Tuned on half of the texts of bench/turns/words.py, in squared deviations.
_BARE: Final = 4.0
_PASSED_OVER: Final = 6.0
# How far a stretch is off, in ms squared: at any length, and for each ms of it.
_VARIANCE: Final = 100.0 * 100.0
_VARIANCE_PER_MS: Final = 20.0
_WINDOW: Final = 6


class Sound:
    """Audio with its silence taken out: instants of sound <-> samples."""

    def __init__(self, quiet: Sequence[tuple[int, int]], samples: int) -> None:
        """``quiet``: stretches of samples without sound, in order, of ``samples`` in all."""
        edges = [0, *(min(edge, samples) for run in quiet for edge in run), samples]
        stretches = [
            (begin, end) for begin, end in zip(edges[::2], edges[1::2], strict=True) if begin < end
        ] or [(0, samples)]
        self._starts = [begin for begin, _ in stretches]
        self._stops = [0, *accumulate(end - begin for begin, end in stretches)]

    @property
    def total(self) -> int:
        """How much sound there is."""
        return self._stops[-1]

    @property
    def pauses(self) -> list[int]:
        """The instants at which the sound pauses."""
        return self._stops[1:-1]

    def begin(self, instant: float) -> int:
        """The sample at which a word begins: at a pause, behind it."""
        stretch = min(bisect_right(self._stops, instant), len(self._starts)) - 1
        return int(self._starts[stretch] + instant - self._stops[stretch])

    def end(self, instant: float) -> int:
        """The sample at which a word ends: at a pause, before it."""
        stretch = max(min(bisect_left(self._stops, instant), len(self._starts)) - 1, 0)
        return int(self._starts[stretch] + instant - self._stops[stretch])


class _Best(NamedTuple):
    cost: float
    pause: int
    boundary: int


def align(
    before: Sequence[int], asked: Sequence[bool], sound: Sound, pace: float | None
) -> list[tuple[int, float]]:
    """Place the pauses: pairs of (words before, instant), in order, from (0, 0) on.

    ``before[i]`` is the weight of the first ``i`` words, ``asked[i]`` whether
    punctuation stands before word ``i``; ``pace`` is in weight per sample, or
    None where the audio is complete: then the last pair is (words, total).
    """
    words, rate = len(before) - 1, pace or before[-1] / max(sound.total, 1)
    instants = [0, *sound.pauses]
    best: list[dict[int, _Best]] = [{0: _Best(0.0, 0, 0)}]
    for pause in range(1, len(instants)):
        near = min(bisect_left(before, instants[pause] * rate), words - 1)
        best.append(
            {
                boundary: _reach(boundary, pause, before, instants, best, rate, asked[boundary])
                for boundary in range(max(1, near - _WINDOW), min(words, near + _WINDOW + 1))
            }
        )
    return _trace(before, instants, best, sound.total, rate, open_end=pace is not None)


def _reach(
    boundary: int,
    pause: int,
    before: Sequence[int],
    instants: Sequence[int],
    best: Sequence[dict[int, _Best]],
    rate: float,
    asked: bool,
) -> _Best:
    """The cheapest way to have ``pause`` at ``boundary``; at most one pause is passed over."""
    least, way = float("inf"), (0, 0)
    for earlier in range(max(0, pause - 2), pause):
        sounded = (instants[pause] - instants[earlier]) * rate
        passed = (pause - 1 - earlier) * _PASSED_OVER
        for start, known in best[earlier].items():
            if start < boundary and known.cost + passed < least:
                cost = known.cost + passed + _misfit(before[boundary] - before[start], sounded)
                if cost < least:
                    least, way = cost, (earlier, start)
    return _Best(least + (0.0 if asked else _BARE), *way)


def _misfit(weight: float, sounded: float) -> float:
    return (weight - sounded) ** 2 / (_VARIANCE + _VARIANCE_PER_MS * weight)


def _trace(
    before: Sequence[int],
    instants: Sequence[int],
    best: Sequence[dict[int, _Best]],
    total: int,
    rate: float,
    *,
    open_end: bool,
) -> list[tuple[int, float]]:
    """Choose the last pause's place by what is behind it, and go back from there."""
    ways = []
    for pause in {0, *range(max(0, len(best) - 2), len(best))}:
        for boundary, way in best[pause].items():
            rest, sounded = before[-1] - before[boundary], (total - instants[pause]) * rate
            fits = 0.0 if open_end and rest > sounded else _misfit(rest, sounded)
            ways.append((way.cost + fits + (len(best) - 1 - pause) * _PASSED_OVER, pause, boundary))
    _, pause, boundary = min(ways)
    chosen: list[tuple[int, float]] = [] if open_end else [(len(before) - 1, total)]
    while pause:
        chosen.append((boundary, instants[pause]))
        _, pause, boundary = best[pause][boundary]
    return [(0, 0.0), *reversed(chosen)]
