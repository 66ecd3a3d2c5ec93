"""Word times where a synthesiser gives none: shared out by letters.

Speech spends its time roughly in proportion to letters, with a pause worth a
few letters at punctuation. Good to about a word on ordinary sentences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"\S+")
_PAUSE_LETTERS = {",": 3, ";": 3, ":": 3, ".": 5, "!": 5, "?": 5}


@dataclass(frozen=True, slots=True)
class Word:
    """``text[char_start:char_end]`` of a segment begins at ``sample``.

    ``sample`` counts at the playout rate from the segment's first sample.
    """

    char_start: int
    char_end: int
    sample: int


def estimate_words(text: str, samples: int) -> list[Word]:
    """Marks for each word of ``text`` spread over ``samples`` samples."""
    found = list(_WORD.finditer(text))
    weights = [_weight(match.group()) for match in found]
    total = sum(weights) or 1
    words, spent = [], 0
    for match, weight in zip(found, weights, strict=True):
        words.append(Word(match.start(), match.end(), samples * spent // total))
        spent += weight
    return words


def _weight(word: str) -> int:
    return len(word) + 1 + _PAUSE_LETTERS.get(word[-1], 0)
