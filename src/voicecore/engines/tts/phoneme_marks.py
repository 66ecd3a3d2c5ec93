"""When each word sounds, told by how long each phoneme of its sentence is.

A synthesiser that speaks phonemes says which they are and how long each takes, but
not which word they belong to; and words are not told apart by counting the gaps
between them: "of the" is one to the phonemiser, "42" are two. So each word is
phonemised alone as well, and the two rows of sounds are matched (longest common
blocks, ``difflib``); between the blocks a word's place is interpolated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

from voicecore.engines.protocols import WordMark

_WORD: Final = re.compile(r"\S+")
_NO_SOUND: Final = frozenset(" .,;:!?^$_\"'()[]{}-–—…¡¿«»。、，！？")

Sentences = list[list[str]]


class Piece(NamedTuple):
    """A phoneme and how long it is; what stands between words is one too."""

    phoneme: str
    samples: int


class PhonemeMarker:
    """The words of one text, on their way to marks, a sentence at a time."""

    def __init__(self, text: str, phonemise: Callable[[str], Sentences]) -> None:
        """``phonemise`` gives the phonemes of each sentence of a text."""
        self._spans = [
            match.span() for match in _WORD.finditer(text) if any(map(str.isalnum, match[0]))
        ]
        alone = [_sounds(phonemise(text[start:end])) for start, end in self._spans]
        self._first_sounds = _places(alone, _sounds(phonemise(text)))
        self._sound = 0
        self._next_word = 0

    def sentence(self, pieces: Sequence[Piece], first_sample: int) -> list[WordMark]:
        """Marks of the words that begin in the next sentence, which begins at ``first_sample``.

        Words whose sounds the phonemiser ran into one another share a mark.
        """
        starts: list[int] = []
        ends: list[int] = []
        sample = first_sample
        for piece in pieces:
            if piece.phoneme not in _NO_SOUND:
                starts.append(sample)
                ends.append(sample + piece.samples)
            sample += piece.samples
        return self._marks(starts, ends)

    def skip(self, phonemes: Sequence[str]) -> None:
        """The next sentence's lengths aren't known: its words get no marks."""
        self._marks([-1] * len(_sounds([list(phonemes)])), [])

    def _marks(self, starts: list[int], ends: list[int]) -> list[WordMark]:
        marks: list[WordMark] = []
        after = self._sound + len(starts)
        while self._next_word < len(self._spans):
            at = self._first_sounds[self._next_word]
            if at >= after:
                break
            start, end = self._spans[self._next_word]
            self._next_word += 1
            if not ends:
                continue
            index = max(at - self._sound, 0)
            until = self._end_of(index, after, ends)
            if marks and marks[-1].sample >= starts[index]:
                marks[-1] = marks[-1]._replace(char_end=end, end=until)
            else:
                marks.append(WordMark(start, end, starts[index], until))
        self._sound = after
        return marks

    def _end_of(self, index: int, after: int, ends: list[int]) -> int:
        """The end of the sound before the next word's first, in this sentence."""
        following = (at for at in self._first_sounds[self._next_word :] if at > index + self._sound)
        last = min(next(following, after), after) - 1 - self._sound
        return ends[max(last, index)]


def _sounds(sentences: Sentences) -> list[str]:
    return [phoneme for sentence in sentences for phoneme in sentence if phoneme not in _NO_SOUND]


def _places(alone: list[list[str]], together: list[str]) -> list[int]:
    """For each word the index in ``together`` of its first sound."""
    expected = [sound for word in alone for sound in word]
    blocks = SequenceMatcher(None, expected, together, autojunk=False).get_matching_blocks()
    places = []
    at = 0
    for word in alone:
        places.append(max(0, min(_place(at, blocks), len(together) - 1)))
        at += len(word)
    return places


def _place(at: int, blocks: Sequence[tuple[int, int, int]]) -> int:
    before_a = before_b = 0
    for a, b, size in blocks:
        if at < a:
            return before_b + (at - before_a) * (b - before_b) // (a - before_a)
        if at < a + size:
            return b + at - a
        before_a, before_b = a + size, b + size
    return before_b
