"""The words of what a recogniser wrote, whatever its habits of writing.

One recogniser gives ``mm-hm``, the next ``Mm, hmm.``; one ``no no``, another
``No, no!``. All word lists and rules see the same thing: words in lower case,
without punctuation, hyphens taken as spaces, and a sound drawn out written once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set
from functools import lru_cache

Words = tuple[str, ...]
Phrases = frozenset[Words]

_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")


def words_of(text: str) -> Words:
    """The words of ``text``: ``"Uh-huh, I'll PAY 3.50"`` -> ``uh huh i'll pay 3.50``."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return tuple(_WORD.findall(_DRAWN_OUT.sub(r"\1", plain)))


def phrases(text: str) -> Phrases:
    """The phrases of a list with a comma or the end of a line between any two."""
    found = (words_of(part) for part in re.split(r"[,\n]", text))
    return frozenset(words for words in found if words)


def ends_in(words: Words, known: Phrases) -> bool:
    """Whether the last words are one of the phrases."""
    return any(words[-size:] in known for size in _sizes(known) if size <= len(words))


def begins_with(words: Words, known: Phrases) -> bool:
    """Whether the first words are one of the phrases."""
    return any(words[:size] in known for size in _sizes(known))


def holds(words: Words, known: Phrases) -> bool:
    """Whether one of the phrases stands anywhere in ``words``."""
    return any(begins_with(words[start:], known) for start in range(len(words)))


def consists_of(words: Words, *lists: Phrases) -> bool:
    """Whether ``words`` is one or more phrases of ``lists``, one after the other, and no rest.

    Looks for any way to divide them, since one phrase may begin another
    ("oh", "oh I see").
    """
    reached = {0}
    for start in range(len(words)):
        if start in reached:
            reached |= _reached_from(words, start, lists)
    return bool(words) and len(words) in reached


def _reached_from(words: Words, start: int, lists: Sequence[Phrases]) -> Set[int]:
    return {
        start + size
        for known in lists
        for size in _sizes(known)
        if words[start : start + size] in known and start + size <= len(words)
    }


@lru_cache(maxsize=256)
def _sizes(known: Phrases) -> Set[int]:
    return {len(phrase) for phrase in known}
