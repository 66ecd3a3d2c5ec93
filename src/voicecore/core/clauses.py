"""Cuts a growing text into clauses that a synthesiser can speak at once.

The first clause is kept short, so that speech begins early; later ones are
whole sentences, because a synthesiser intones what it can see.

A cut is never regretted: where it falls depends on the text alone, not on the pieces
in which it came. So a full stop that may be an abbreviation's waits for the next
word's first character ("at 5 p.m. |tomorrow", "No. |5"), any other one for the white
space behind it alone. Abbreviations are in ``core/languages``.

Libraries that were looked at don't take its place, the core using none apart.
sentence-stream 1.3 (well kept, over ``regex``) is made for growing texts and about as
fast, but waits for the next word behind every full stop, has one set of rules for
all languages ("am 3. |Mai"), no clauses, and gives no white space back, by which
offsets are counted. sentencex 1.0 (well kept, 300 languages, 4 MB native, 0.02 µs a
character) and pysbd (last release 2021, 3 µs a character) segment whole texts: of
"See no." they make a sentence that "See no. 5" hasn't.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from voicecore.core.languages import language_of

_STOPS = ".!?…。！？｡؟।۔"
_WIDE_STOPS = frozenset("。！？｡")
"""Behind these there is no white space."""
_CLOSERS = "\"'”“’»)\\]}」』】）〉》"
_OPENERS = frozenset("¿¡")

_POINT = re.compile(rf"[{_STOPS},;:–—，、；：\s]")
_RUN = re.compile(rf"([{_STOPS}]{{1,32}})([{_CLOSERS}]{{0,8}})")
_QUOTE_SPACES = frozenset(" \u00a0\u202f")
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_WIDE_MARKS = frozenset("，、；：")
_NO_BREAK = frozenset("\u00a0\u202f\u2007")
_BELONGS_TO_THE_WORD_BEFORE = frozenset("!?:;»%")
_AROUND = "\"'«»„“”‘’([{¿¡"
_NUMBER = re.compile(r"[-+±]?\d[\d.,:/'’]*")
_LETTERS = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")
_BLANKS = 32
"""After so much white space nothing belongs to the word before it."""

_FIRST_MIN_CHARS = 24
"""A first clause shorter than this sounds clipped when cut at a comma."""

_LONG_CHARS = 160
"""Beyond this a sentence is cut at a comma, or at a space if it has none."""

_WIDE_CHARS = 3
"""An ideograph or a syllable of Hangul counts for so many in both."""

_MOST_CHARS = 2000
"""A word of so many characters is cut wherever that is: nobody says it."""


class ClauseCutter:
    """One reply's text in, clauses out; nothing is lost, doubled or reordered.

    ``language``: a BCP 47 tag. The clauses put together are exactly the text pushed:
    each keeps the white space that ended it (further white space begins the next), so
    offsets into the reply stay true. How the text is split over pushes changes
    nothing. Takes time in proportion to the text, about 1 µs a character.
    """

    def __init__(self, language: str = "en") -> None:
        known = language_of(language)
        self._abbreviations = known.abbreviations
        self._first = True
        self._pending = ""
        self._forget()

    def push(self, text: str) -> list[str]:
        """Add ``text``; return the clauses that are complete by now."""
        self._pending += text
        clauses = []
        while (cut := self._find_cut()) > 0:
            clauses.append(self._take(cut))
        return clauses

    def flush(self) -> str:
        """The rest, however short (``""`` if there is none)."""
        return self._take(len(self._pending))

    def _forget(self) -> None:
        # How far the pending text was looked at, how wide that is, whether there is
        # anything in it, where it may be cut if it gets too long, and whether a « is open.
        self._at = 0
        self._width = 0
        self._blank = True
        self._mark = 0
        self._space = 0
        self._quoted = False

    def _take(self, cut: int) -> str:
        clause, self._pending = self._pending[:cut], self._pending[cut:]
        if clause.strip():
            self._first = False
        self._forget()
        return clause

    def _find_cut(self) -> int:
        """Where the first clause ends, 0: nowhere yet."""
        text = self._pending
        while (found := _POINT.search(text, self._at, _MOST_CHARS)) is not None:
            at = found.start()
            self._advance(at)
            if self._width > _LONG_CHARS and (self._mark or self._space):
                return self._mark or self._space
            sign = found.group()
            if sign in _STOPS:
                cut = self._at_stop(text, at)
            elif sign.isspace():
                cut = self._at_space(text, at)
            else:
                cut = self._at_mark(text, at)
            if cut is None:
                return 0
            if cut:
                return cut
        self._advance(min(len(text), _MOST_CHARS))
        return (self._mark or self._space or _MOST_CHARS) if len(text) >= _MOST_CHARS else 0

    def _advance(self, to: int) -> None:
        """All before ``to`` was looked at."""
        if to > self._at:
            new = self._pending[self._at : to]
            wide = 0 if new.isascii() else len(_WIDE.findall(new))
            self._width += len(new) + (_WIDE_CHARS - 1) * wide
            self._blank = self._blank and new.isspace()
            if "«" in new or "»" in new:
                self._quoted = new.rfind("«") > new.rfind("»")
            self._at = to

    # -- each returns where to cut, 0: not here, None: more must be known ----------------

    def _at_space(self, text: str, at: int) -> int | None:
        if text[at] == "\n":
            if not self._blank:
                return at + 1
        elif text[at] not in _NO_BREAK:
            after = text[at + 1 : at + 2]
            if not after:
                return None
            if after not in _BELONGS_TO_THE_WORD_BEFORE and not after.isspace():
                self._space = at + 1
        self._advance(at + 1)
        return 0

    def _at_mark(self, text: str, at: int) -> int | None:
        after = text[at + 1 : at + 2]
        if not after:
            return None
        if text[at] in _WIDE_MARKS:
            end = at + 1
        elif not after.isspace() or after in _NO_BREAK:
            end = 0
        elif text[at - 1 : at].isdigit() and text[at] in ",:":
            # "May 3, 2025" is one thing.
            following = _first_of(text, at + 1)
            if not following:
                return None
            end = 0 if following.isdigit() else at + 2
        else:
            end = at + 2
        if end:
            wide = text[at] in _WIDE_MARKS
            if self._width + (_WIDE_CHARS if wide else 1) >= _FIRST_MIN_CHARS:
                if self._first:
                    return end
                self._mark = end
        self._advance(at + 1)
        return 0

    def _at_stop(self, text: str, at: int) -> int | None:
        run = _RUN.match(text, at)
        assert run is not None
        end = run.end()
        after = text[end : end + 1]
        if not after:
            return None
        if not _WIDE_STOPS.isdisjoint(run[1]):
            return end + 1 if after.isspace() else end
        if self._quoted and after in _QUOTE_SPACES:
            # "« Oui. »": the quotation mark belongs to the sentence.
            behind = text[end + 1 : end + 3]
            if len(behind) < 1 + behind.startswith("»"):
                return None
            if behind.startswith("»"):
                end, after = end + 2, behind[1]
        if run[1][0] in "!?" and _WIDE.match(after):
            return end
        if after in _OPENERS:
            return end
        if not after.isspace() or after in _NO_BREAK:
            self._advance(end)
            return 0
        closers = text[run.end(1) : end]
        ends = True if after == "\n" else self._ends_sentence(text, at, end, run[1], closers)
        if ends is None:
            return None
        if ends:
            return end + 1
        # What follows belongs to it: this space is no place to cut either.
        self._advance(end + 1)
        return 0

    def _ends_sentence(self, text: str, at: int, end: int, stops: str, closers: str) -> bool | None:
        following = _first_of(text, end)
        kind = self._kind(text, at) if stops == "." else ""
        if kind == "never":
            return False
        if not kind and not closers and (len(stops) == 1 or set(stops) & set("!?؟")):
            return stops != "…" or _unless(following, str.islower)
        if kind == "numbered":
            return _unless(following, str.isdigit)
        if kind == "maybe":
            return _unless(following, lambda sign: sign.islower() or sign.isdigit())
        return _unless(following, str.islower)

    def _kind(self, text: str, at: int) -> str:
        """What the word before the full stop at ``at`` is: see ``Abbreviations.kind``."""
        start = max(text.rfind(space, 0, at) for space in " \n\t\u00a0\u202f") + 1
        word = text[start:at].lstrip(_AROUND)
        if _NUMBER.fullmatch(word):
            is_first = not text[:start].strip()
            ordinal = self._abbreviations.ordinals and len(word) <= 2
            return "never" if is_first or ordinal else "numbered"
        if len(word) == 1 and word.isupper():
            # An initial; but "so do I."
            before = text[:start].rstrip()
            return "" if word == "I" and before[-1:].islower() else "never"
        if known := self._abbreviations.kind(word.lower()):
            return known
        if not _LETTERS.fullmatch(word):
            return ""
        return "never" if word.isupper() else "maybe"


def _first_of(text: str, start: int) -> str:
    """The first character from ``start`` on that is no white space, ``""``: not there yet."""
    near = text[start : start + _BLANKS]
    return near.lstrip()[:1] or ("\n" if len(near) == _BLANKS else "")


def _unless(following: str, holds: Callable[[str], bool]) -> bool | None:
    return None if not following else not holds(following)
