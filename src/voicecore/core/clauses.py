"""Cuts a growing text into clauses that a synthesiser can speak at once.

The first clause is kept short, so that speech begins early; later ones are
whole sentences, because a synthesiser intones what it can see.
"""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(r"[.!?…]+[\"')\]]*(?=\s)|\n+")
_CLAUSE_END = re.compile(r"[,;:–—](?=\s)")
_ABBREVIATIONS = frozenset(
    {"mr.", "mrs.", "ms.", "dr.", "st.", "vs.", "e.g.", "i.e.", "etc.", "no.", "prof."}
)

_FIRST_MIN_CHARS = 24
"""A first clause shorter than this sounds clipped when cut at a comma."""

_LONG_CHARS = 160
"""Beyond this a sentence is cut at a comma, or at a space if it has none."""


class ClauseCutter:
    """One reply's text in, clauses out; nothing is lost, doubled or reordered.

    The clauses put together are exactly the text pushed: each keeps its own
    trailing white space, so offsets into the reply stay true.
    """

    def __init__(self) -> None:
        self._pending = ""
        self._first = True

    def push(self, text: str) -> list[str]:
        """Add ``text``; return the clauses that are complete by now."""
        self._pending += text
        clauses = []
        while (cut := self._find_cut()) is not None:
            clauses.append(self._take(cut))
        return [clause for clause in clauses if clause]

    def flush(self) -> str:
        """The rest, however short (``""`` if there is none)."""
        return self._take(len(self._pending))

    def _take(self, cut: int) -> str:
        clause, self._pending = self._pending[:cut], self._pending[cut:]
        if clause.strip():
            self._first = False
        return clause

    def _find_cut(self) -> int | None:
        for match in _SENTENCE_END.finditer(self._pending):
            if not self._is_abbreviation(match.end()):
                return self._after_spaces(match.end())
        if self._first:
            for match in _CLAUSE_END.finditer(self._pending):
                if match.end() >= _FIRST_MIN_CHARS:
                    return self._after_spaces(match.end())
        if len(self._pending) >= _LONG_CHARS:
            marks = [m.end() for m in _CLAUSE_END.finditer(self._pending)]
            space = self._pending.rfind(" ", 1, _LONG_CHARS)
            if marks:
                return self._after_spaces(marks[-1])
            if space > 0:
                return self._after_spaces(space)
        return None

    def _is_abbreviation(self, end: int) -> bool:
        words = self._pending[:end].rsplit(None, 1)
        return bool(words) and words[-1].lower() in _ABBREVIATIONS

    def _after_spaces(self, position: int) -> int:
        rest = self._pending[position:]
        return position + len(rest) - len(rest.lstrip())
