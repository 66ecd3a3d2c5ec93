"""Word times where a synthesiser gives none: from the text and the audio's loudness.

Speech is shared out over the words by what they take to say
(:func:`~voicecore.core.spoken_weight.spoken_weight`). Silence is not: what lies
before the first and after the last sound belongs to no word, and a pause within
is put between two words::

    energy   ▁▁▇▆▇▅▇▂▂▂▂▂▇▆▇▇▅▆▇▁▁▁▁
                   └ pause ┘              most likely after "sure", a comma says so
    words      Sure,     I can do that.

Between which (:mod:`~voicecore.core.word_alignment`) is told by what the words
take and by punctuation. Without loudness a pause is reckoned at each punctuation
mark instead.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Final

from voicecore.core.speech_energy import quiet_runs
from voicecore.core.spoken_weight import is_abbreviation, spoken_weight
from voicecore.core.word_alignment import Sound, align

# Between white space; each character of a script that writes none is a word.
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")
_CLOSERS: Final = "\"')]}”’»*"
_MEMORY_S: Final = 10.0

_FINAL_MS: Final = 128
"""By so much the last word before a pause is longer than within a phrase."""

# What a pause at punctuation takes where there is no loudness to find it by: little,
# for a synthesiser that makes long ones is better told by its audio.
_PAUSES_MS: Final = {
    **dict.fromkeys(",、，", 75),
    **dict.fromkeys(";:—–-", 90),
    **dict.fromkeys(".!?…。！？", 135),
}


@dataclass(frozen=True, slots=True)
class Word:
    """``text[char_start:char_end]`` of a segment begins at ``sample``.

    ``sample`` counts at the playout rate from the segment's first sample.
    ``end`` is where its sound ends, None if that is not known: then at the next
    word, less the pause before it.
    """

    char_start: int
    char_end: int
    sample: int
    end: int | None = None


@dataclass(slots=True)
class Pace:
    """How fast a voice speaks, learnt from what it has said whole.

    One for a call's voice, shared by the ledgers of its replies. It begins as
    ordinary speech and follows with a memory of some ten seconds.
    """

    weight_per_s: float = 1000.0
    """``spoken_weight`` a second of sound."""

    def learn(self, text: str, seconds: float) -> None:
        """``text`` took ``seconds`` of sound, pauses left out."""
        weight = sum(_weigh(text)[1])
        if weight and seconds > 0:
            known = self.weight_per_s * _MEMORY_S
            self.weight_per_s = (known + weight) / (_MEMORY_S + seconds)


def estimate_words(
    text: str, samples: int, energy: bytes = b"", block: int = 1, pace: float | None = None
) -> list[Word]:
    """Mark each word of ``text`` that has a sound, in order, with its end.

    ``samples`` of its audio are known, and the loudness of blocks of ``block``
    samples (``core/speech_energy.py``). With ``pace`` (weight per sample) more
    audio is to come: words may lie beyond what is known.
    """
    found, weights = _weigh(text)
    if not found:
        return []
    if energy:
        times = _times_by_sound(text, found, weights, samples, energy, block, pace)
    else:
        times = _times_by_text(text, found, weights, samples, pace)
    return [
        Word(match.start(), match.end(), begin, max(begin, end))
        for match, (begin, end) in zip(found, times, strict=True)
    ]


def _weigh(text: str) -> tuple[list[re.Match[str]], list[int]]:
    """The words that have a sound, and what each takes where it stands."""
    weighed = [(match, spoken_weight(match.group())) for match in _WORD.finditer(text)]
    found = [match for match, weight in weighed if weight]
    weights = [weight for _, weight in weighed if weight]
    for i, written in enumerate(_with_gaps(text, found)):
        weights[i] += _FINAL_MS * _is_final(written, i + 1 == len(found))
    return found, weights


def _with_gaps(text: str, found: Sequence[re.Match[str]]) -> list[str]:
    """Each word with what stands before the next."""
    starts = [match.start() for match in found]
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=False)]


def _is_final(written: str, last: bool) -> bool:
    return last or (_pause(written) > 0 and not is_abbreviation(written.rstrip()))


def complete_marks(
    text: str,
    marks: Sequence[Word],
    samples: int,
    energy: bytes = b"",
    block: int = 1,
    pace: float | None = None,
) -> list[Word]:
    """Give each mark an end, and each word that got no mark its share of the one before it.

    Parameters as for :func:`estimate_words`. Unmarked words behind the last
    mark are left out while more audio, and so perhaps their mark, is to come.
    """
    shared = _share_out(text, marks, samples, complete=pace is None)
    quiet = _quiet(energy, block, samples)
    words = []
    for word, following in zip(shared, [*shared[1:], None], strict=True):
        end = word.end
        if end is None and following is not None:
            end = _without_pause(word.sample, following.sample, quiet, 2 * block)
        elif end is None and pace is None:
            end = _without_pause(word.sample, samples, quiet, 2 * block)
        elif end is None:
            # It may still grow: what it takes at the voice's pace is the best guess.
            weight = spoken_weight(text[word.char_start : word.char_end])
            end = max(samples, word.sample + int(weight / (pace or 1.0)))
        words.append(replace(word, end=max(end, word.sample)))
    return words


def sound_of(energy: bytes, block: int, samples: int) -> Sound:
    """The audio of a segment without its pauses."""
    return Sound(_quiet(energy, block, samples), samples)


def _quiet(energy: bytes, block: int, samples: int) -> list[tuple[int, int]]:
    known = energy[: -(-samples // block)]
    return [(begin * block, end * block) for begin, end in quiet_runs(known)]


def _without_pause(begin: int, end: int, quiet: Sequence[tuple[int, int]], slack: int) -> int:
    """``end``, or where the pause begins that reaches up to it but for ``slack``."""
    index = bisect_left(quiet, (end, 0)) - 1
    reaches = index >= 0 and quiet[index][1] >= end - slack and quiet[index][0] > begin
    return quiet[index][0] if reaches else end


def _share_out(text: str, marks: Sequence[Word], samples: int, *, complete: bool) -> list[Word]:
    """``marks`` and, between them, the words that have none."""
    spans = [match.span() for match in _WORD.finditer(text) if spoken_weight(match.group())]
    shared: list[Word] = []
    for index, mark in enumerate(marks):
        last = index + 1 == len(marks)
        reach = len(text) if last else marks[index + 1].char_start
        missed = [span for span in spans if mark.char_end <= span[0] < reach]
        if not missed or (last and not complete):
            shared.append(mark)
            continue
        end = mark.end or (samples if last else marks[index + 1].sample)
        group = [(mark.char_start, mark.char_end), *missed]
        steps = [0, *accumulate(spoken_weight(text[a:b]) or 1 for a, b in group)]
        at = [mark.sample + (end - mark.sample) * step // steps[-1] for step in steps]
        shared += [
            Word(a, b, begin, stop) for (a, b), begin, stop in zip(group, at, at[1:], strict=False)
        ]
    return shared


def _times_by_sound(
    text: str,
    found: Sequence[re.Match[str]],
    weights: Sequence[int],
    samples: int,
    energy: bytes,
    block: int,
    pace: float | None,
) -> list[tuple[int, int]]:
    sound = sound_of(energy, block, samples)
    before = [0, *accumulate(weights)]
    asked = [False, *(_pause(written) > 0 for written in _with_gaps(text, found))]
    anchors = align(before, asked, sound, pace)
    if pace is not None:
        # Behind the last pause the voice's pace holds, and what is known can't be shorter.
        words, instant = anchors[-1]
        rest = (before[-1] - before[words]) / pace
        anchors.append((len(found), max(instant + rest, sound.total)))
    instants = [0.0]
    for (first, begin), (last, end) in pairwise(anchors):
        scale = (end - begin) / max(before[last] - before[first], 1)
        instants += [
            begin + (before[i] - before[first]) * scale for i in range(first + 1, last)
        ] + [end] * (last > first)
    return [(sound.begin(a), sound.end(b)) for a, b in pairwise(instants)]


def _times_by_text(
    text: str,
    found: Sequence[re.Match[str]],
    weights: Sequence[int],
    samples: int,
    pace: float | None,
) -> list[tuple[int, int]]:
    pauses = [_pause(written) for written in _with_gaps(text, found)]
    steps = list(accumulate((a + b for a, b in zip(weights, pauses, strict=True)), initial=0))
    length = samples if pace is None else max(samples, int(steps[-1] / pace))
    return [
        (length * step // steps[-1], length * (step + weight) // steps[-1])
        for step, weight in zip(steps, weights, strict=False)
    ]


def _pause(written: str) -> int:
    """What a pause after ``written`` takes: a word, and what stands before the next."""
    return max(
        (_PAUSES_MS.get(part.rstrip(_CLOSERS)[-1:], 0) for part in written.split()), default=0
    )
