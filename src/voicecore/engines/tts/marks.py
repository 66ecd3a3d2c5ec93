"""From a synthesiser's word and phoneme events to marks on the words of the text.

A synthesiser speaks of words as it reads them: "$12.50" is five, "of the" may
be one, and a dash none. The caller thinks in words as he wrote them: stretches
without white space that hold a letter or digit, or a sign that is read ("&").
Each of these gets one mark: from its first event to the next word's, or to the
pause before it. Words read as one are parted at the phoneme to which the first
takes its share of them (``core/spoken_weight.py``).

A word's event may come too soon: espeak-ng tells a word that begins with a
vowel before the nasal or liquid that ends the word before is sounded, some
50 ms early::

    events   word "an"   a    n, word "operator"        o
    sound    ├───────────a────┼──────n──────┬──o────────────
                                            the word begins, half way to its phoneme
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate, pairwise
from typing import Final

from voicecore.core.spoken_weight import spoken_weight
from voicecore.engines.protocols import WordMark

_WORD: Final = re.compile(r"\S+")


class WordMarker:
    """Collects the events of one text in their order; yields complete marks.

    Each method returns the marks that it settles: those of words before the
    one that now begins. An event that goes back in the text or in time is
    ignored, so that the marks rise in both.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._spans = [match.span() for match in _WORD.finditer(text)]
        self._starts = [start for start, _ in self._spans]
        # The words being read: the first of them, the samples at which it and the
        # phonemes after it began, and where sound ended in a pause.
        self._first = 0
        self._sounds = [0]
        self._told = False
        self._pause: int | None = None
        # A word that was told but has no phoneme yet: (its index, sample).
        self._coming: tuple[int, int] | None = None

    def word(self, character: int, sample: int) -> list[WordMark]:
        """The synthesiser begins to read at ``text[character]``; ``sample`` as in WordMark."""
        index = self._word_at(character)
        latest = self._first if self._coming is None else self._coming[0]
        begun = self._told or self._coming is not None
        if index is None or sample < self._latest or index < latest or (begun and index == latest):
            return []
        settled = self._begin_coming()
        self._coming = (index, sample)
        return settled

    def phoneme(self, sample: int) -> list[WordMark]:
        """A phoneme begins to sound."""
        if sample < self._latest:
            return []
        begins = self._coming is not None
        settled = self._begin_coming(sample)
        if not begins and sample > self._sounds[-1]:
            self._sounds.append(sample)
        self._pause = None
        return settled

    def pause(self, sample: int) -> None:
        """Sound ends for a while, or the synthesiser says so before it begins."""
        if self._coming is None and self._pause is None and sample > self._sounds[-1]:
            self._pause = sample

    def end(self, samples: int) -> list[WordMark]:
        """All is read and ``samples`` long: the marks of the last words."""
        settled = self._begin_coming()
        end = samples if self._pause is None else self._pause
        return settled + self._settle(len(self._spans), max(end, self._sounds[-1]))

    @property
    def _latest(self) -> int:
        return self._sounds[-1] if self._coming is None else self._coming[1]

    def _word_at(self, character: int) -> int | None:
        index = bisect_right(self._starts, character) - 1
        if index >= 0 and character < self._spans[index][1]:
            return index
        # Behind an abbreviation's full stop espeak-ng is a character short.
        short = index + 1 < len(self._starts) and self._starts[index + 1] == character + 1
        return index + 1 if short else None

    def _begin_coming(self, phoneme: int | None = None) -> list[WordMark]:
        """The word that was told begins, at the latest with ``phoneme``."""
        if self._coming is None:
            return []
        index, sample = self._coming
        if phoneme is not None and sample == self._sounds[-1] and len(self._sounds) > 1:
            # The last phoneme of the word before has had no time yet.
            sample = (sample + phoneme) // 2
        end = sample if self._pause is None else self._pause
        settled = self._settle(index, end)
        self._first, self._sounds, self._told = index, [sample], True
        self._coming, self._pause = None, None
        return settled

    def _settle(self, index: int, end: int) -> list[WordMark]:
        """Mark the words from the first up to ``index``, which end at ``end``."""
        group = [
            number
            for number in range(self._first, index)
            if (number == self._first and self._told) or self._has_letters(number)
        ]
        if not group:
            return []
        bounds = [*self._part([self._weight(number) for number in group], end), end]
        return [
            WordMark(*self._spans[number], begin, stop)
            for number, (begin, stop) in zip(group, pairwise(bounds), strict=True)
        ]

    def _part(self, weights: list[int], end: int) -> list[int]:
        """Where each of the words read as one begins."""
        sounds, words = self._sounds, len(weights)
        shares = [step / sum(weights) for step in accumulate(weights[:-1], initial=0)]
        if len(sounds) < words:
            return [sounds[0] + int((end - sounds[0]) * share) for share in shares]
        return [
            # Each word has a phoneme of its own.
            sounds[min(max(round(len(sounds) * share), word), len(sounds) - words + word)]
            for word, share in enumerate(shares)
        ]

    def _weight(self, number: int) -> int:
        begin, end = self._spans[number]
        return max(1, spoken_weight(self._text[begin:end]))

    def _has_letters(self, number: int) -> bool:
        begin, end = self._spans[number]
        return any(map(str.isalnum, self._text[begin:end]))
