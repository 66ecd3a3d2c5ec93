"""From a synthesiser's word events to marks on the words of the text.

A synthesiser speaks of words as it reads them: "$12.50" is five, "of the" may
be one, and a dash none. The caller thinks in words as he wrote them: stretches
without white space that hold at least one letter or digit. Each of these gets
one mark, where its first event is; one that got no event of its own is placed
between its neighbours, in proportion to its place in the text.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from voicecore.engines.protocols import WordMark

_WORD = re.compile(r"\S+")


class WordMarker:
    """Collects the events of one text in their order; yields complete marks.

    An event that goes back in the text or in time is ignored, so that the
    marks rise in both.
    """

    def __init__(self, text: str) -> None:
        self._spans = [
            match.span() for match in _WORD.finditer(text) if any(map(str.isalnum, match.group()))
        ]
        self._starts = [start for start, _ in self._spans]
        self._next = 0  # the first word without a mark
        self._last = WordMark(0, 0, 0)

    def event(self, character: int, sample: int) -> list[WordMark]:
        """The synthesiser begins to read at ``text[character]``; ``sample`` as in WordMark.

        Returns the marks that are settled by it: those of words it passed over,
        then the word's own.
        """
        index = bisect_right(self._starts, character) - 1
        if index < self._next or character >= self._spans[index][1] or sample < self._last.sample:
            return []
        return [*self._between(index, character, sample), self._mark(index, sample)]

    def end(self, samples: int) -> list[WordMark]:
        """All is read and ``samples`` long: the marks of words at the end without an event."""
        end = self._spans[-1][1] + 1 if self._spans else 0
        return self._between(len(self._spans), end, max(samples, self._last.sample))

    def _between(self, index: int, character: int, sample: int) -> list[WordMark]:
        """Mark the words before ``index`` that have none, on the line to (character, sample)."""
        from_character, _, from_sample = self._last
        slope = (sample - from_sample) / max(1, character - from_character)
        return [
            self._mark(i, from_sample + int((self._starts[i] - from_character) * slope))
            for i in range(self._next, index)
        ]

    def _mark(self, index: int, sample: int) -> WordMark:
        self._next = index + 1
        self._last = WordMark(*self._spans[index], sample)
        return self._last
