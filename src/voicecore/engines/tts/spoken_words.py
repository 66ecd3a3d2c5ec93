"""From what a provider says it speaks, and when, to marks on the words of the text.

A provider tells characters or words with their times: as they were written, or as it
reads them ("$5" is then two words), with other white space and punctuation. Only
letters and digits are compared, in order. Where they don't fit, nothing is marked
until two words in a row do again; a single word of the text between two places that
fit was said by all that was spoken between them::

    text     It    costs    $5             today,   Anna
    spoken   it    costs    five dollars   today    anna
    marks    ├────┤├───────┤├─────────────┤├───────┤├─────┤
                                           fits again once "anna" follows

The word before one that stays unmarked gets no end: how the two share the time until
the next mark isn't known here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

from voicecore.core.spoken_weight import spoken_weight
from voicecore.engines.protocols import WordMark

# Each character of a script that writes no white space is a word, as in core/word_times.py.
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD: Final = re.compile(rf"[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+")
_ALONE: Final = re.compile(rf"[\s{_UNSPACED}]")

_PAUSE: Final = " "

_AHEAD: Final = 8
"""So many words of the text may be read in a way that fits none of them."""
_LONGEST: Final = 256
"""Letters without a pause; of more, the beginning is compared at once."""
_UNFIT: Final = 64
"""Spoken words kept that fit nowhere; of more, the first and the newest."""


class _Written(NamedTuple):
    start: int
    end: int
    letters: str
    alone: bool
    """Whether the next that is read aloud in the text is the next word, or its end."""


class _Letter(NamedTuple):
    """``begin`` and ``end`` in samples, None within a word that was told as a whole."""

    letter: str
    begin: int | None
    end: int | None


class _Spoken(NamedTuple):
    letters: str
    begin: int | None
    end: int | None


class SpokenWords:
    """Marks the words of one ``text``; times in samples from its first.

    Each method returns the marks that it settles, rising in text and time.
    """

    def __init__(self, text: str) -> None:
        self._words = _written(text)
        self._word, self._letter = 0, 0  # where in the text the spoken goes on
        self._begin: int | None = None  # of that word
        self._hearing: list[_Letter] = []  # the spoken word that may still grow
        self._unfit: list[_Spoken] = []
        self._lost = False
        self._held: tuple[int, int, int | None] | None = None  # word, begin, end

    @property
    def is_complete(self) -> bool:
        """Whether the last letter of the text was spoken."""
        if self._unfit or self._lost:
            return False
        heard = "".join(letter.letter for letter in self._hearing)
        return self._rest_starts_with(heard) == len(heard) and self._rest() == len(heard)

    def take(self, piece: str, begin: int, end: int) -> list[WordMark]:
        """``piece`` is spoken in [begin, end): a character, or some of a word.

        White space in it ends a spoken word, as :meth:`pause` does.
        """
        settled: list[WordMark] = []
        sounds = [sound for character in piece for sound in _sounds(character)]
        heard = [at for at, sound in enumerate(sounds) if sound != _PAUSE]
        for at, sound in enumerate(sounds):
            if sound == _PAUSE:
                settled += self.pause()
                continue
            first, last = at == heard[0], at == heard[-1]
            timed = _Letter(sound, begin if first else None, end if last else None)
            self._hearing.append(timed)
            if len(self._hearing) == _LONGEST:
                settled += self.pause()
        return settled

    def pause(self) -> list[WordMark]:
        """The spoken word is whole."""
        heard, self._hearing = self._hearing, []
        if not heard or self._lost:
            return []
        return self._fit(heard) if not self._unfit else self._miss(_whole(heard))

    def finish(self) -> list[WordMark]:
        """All is spoken: the marks of the last words."""
        settled = self.pause()
        if self._unfit and not self._lost:
            settled += self._fit_end()
        return settled + self._release(following=len(self._words))

    def break_off(self) -> list[WordMark]:
        """Nothing more will be told: the mark of the last word that was whole."""
        return self._release(following=self._held[0] + 1 if self._held else 0)

    # -- where it fits ---------------------------------------------------------------

    def _fit(self, heard: list[_Letter]) -> list[WordMark]:
        letters = "".join(letter.letter for letter in heard)
        if self._rest_starts_with(letters) < len(letters):
            return self._miss(_whole(heard))
        settled: list[WordMark] = []
        for letter in heard:
            if self._letter == 0:
                self._begin = letter.begin
            self._letter += 1
            if self._letter == len(self._words[self._word].letters):
                settled += self._mark(self._word, self._begin, letter.end)
                self._word, self._letter = self._word + 1, 0
        return settled

    def _rest_starts_with(self, letters: str) -> int:
        """How many of ``letters`` come next in the text."""
        word, at, fits = self._word, self._letter, 0
        while fits < len(letters) and word < len(self._words):
            rest = self._words[word].letters[at:]
            part = letters[fits : fits + len(rest)]
            if not rest.startswith(part):
                break
            fits, word, at = fits + len(part), word + 1, 0
        return fits

    def _rest(self) -> int:
        return sum(len(word.letters) for word in self._words[self._word :]) - self._letter

    # -- where it doesn't --------------------------------------------------------------

    def _miss(self, spoken: _Spoken) -> list[WordMark]:
        if not self._unfit:
            if self._word and spoken.letters == self._words[0].letters:
                # It begins the text anew, as a provider does that corrects itself: its
                # times can't be trusted any more.
                self._lost = True
                return []
            if self._letter:
                begun = self._words[self._word].letters[: self._letter]
                self._unfit.append(_Spoken(begun, self._begin, None))
                self._letter = 0
        self._unfit.append(spoken)
        if len(self._unfit) > _UNFIT:
            del self._unfit[1]
        if len(self._unfit) < 2:
            return []
        first, second = self._unfit[-2:]
        for word in range(self._word, min(self._word + _AHEAD, len(self._words) - 1)):
            pair = (self._words[word].letters, self._words[word + 1].letters)
            if pair == (first.letters, second.letters):
                return self._resume(word, 2)
        return []

    def _fit_end(self) -> list[WordMark]:
        """The last word may fit alone; or the one that is left was said by all that was."""
        last = len(self._words) - 1
        if self._word <= last and self._unfit[-1].letters == self._words[last].letters:
            return self._resume(last, 1)
        return self._between(last + 1, self._unfit)

    def _resume(self, word: int, count: int) -> list[WordMark]:
        """The newest ``count`` spoken words are those of the text from ``word`` on."""
        fits = self._unfit[-count:]
        settled = self._between(word, self._unfit[:-count])
        for index, spoken in enumerate(fits, word):
            settled += self._mark(index, spoken.begin, spoken.end)
        self._word, self._letter, self._unfit = word + count, 0, []
        return settled

    def _between(self, word: int, spoken: list[_Spoken]) -> list[WordMark]:
        if word - self._word != 1 or not spoken:
            return []
        return self._mark(self._word, spoken[0].begin, spoken[-1].end)

    # -- marks -------------------------------------------------------------------------

    def _mark(self, word: int, begin: int | None, end: int | None) -> list[WordMark]:
        if begin is None:
            return []
        settled = self._release(following=word)
        self._held = (word, begin, end)
        return settled

    def _release(self, following: int) -> list[WordMark]:
        """The mark held, now that ``following`` is known to be the next with one."""
        if self._held is None:
            return []
        (word, begin, end), self._held = self._held, None
        written = self._words[word]
        if not written.alone or following != word + 1:
            end = None
        return [WordMark(written.start, written.end, begin, end)]


def _written(text: str) -> list[_Written]:
    found = [
        (match, _letters(match.group()))
        for match in _WORD.finditer(text)
        if spoken_weight(match.group()) or _letters(match.group())
    ]
    followed = [*(bool(letters) for _, letters in found[1:]), True][: len(found)]
    return [
        _Written(match.start(), match.end(), letters, alone)
        for (match, letters), alone in zip(found, followed, strict=True)
        if letters
    ]


def _sounds(character: str) -> list[str]:
    """Its letters; pauses at white space, and around what is a word by itself."""
    if not _ALONE.match(character):
        return list(_letters(character))
    return [_PAUSE] if character.isspace() else [_PAUSE, *_letters(character), _PAUSE]


def _whole(heard: list[_Letter]) -> _Spoken:
    letters = "".join(letter.letter for letter in heard)
    return _Spoken(letters, heard[0].begin, heard[-1].end)


def _letters(text: str) -> str:
    # Without accents: whether they are characters of their own is the provider's choice.
    folded = unicodedata.normalize("NFKD", text.casefold())
    return "".join(filter(str.isalnum, folded))
