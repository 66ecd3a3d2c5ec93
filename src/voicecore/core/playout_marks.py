"""Playout by marks: for a far end that says what it has played, and can be cleared.

A phone bridge takes audio faster than it plays it and, on request, tells when a
named mark behind it was reached; ``clear`` unplays what it still holds. So what
was sent says nothing, and only what was confirmed counts::

    audio   ├── one ──┼── two ──┼── three ──┤
    marks             a         b           c
    told              a         b    clear  (c)     heard: "one two"

With a mark at each word's end (``PlayoutLedger.word_ends``) the count is exact
to the word. A bridge answers ``clear`` with all marks it held, played or not:
names given before the last :meth:`clear` count no more.
"""

from __future__ import annotations

from typing import Final

from voicecore.errors import MisuseError

MAX_WAITING: Final = 1024
"""Marks not yet confirmed; beyond them the oldest is forgotten, a later one says as much."""


class PlayoutMarks:
    """The marks of one call. Positions are playout samples since its beginning."""

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}
        self._placed = 0
        self._last = 0
        self.confirmed = 0
        """Everything before this position was played."""
        self.stray = 0
        """Names that came and were not waited for."""

    def mark(self, position: int) -> str:
        """Name a mark that is sent behind the audio up to ``position``.

        Raises MisuseError for a position before an earlier mark's.
        """
        if position < self._last:
            raise MisuseError(f"mark at {position} lies before the one at {self._last}")
        self._last = position
        self._placed += 1
        name = f"w{self._placed}"
        self._waiting[name] = position
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        return name

    def confirm(self, name: str) -> int:
        """The far end has reached mark ``name``; returns :attr:`confirmed`.

        It plays in order, so the marks before it were reached as well.
        """
        position = self._waiting.pop(name, None)
        if position is None:
            self.stray += 1
            return self.confirmed
        self.confirmed = position
        while self._waiting and next(iter(self._waiting.values())) < position:
            del self._waiting[next(iter(self._waiting))]
        return self.confirmed

    def clear(self) -> int:
        """The far end was told to drop what it holds; returns what counts as played.

        What is sent next lies from there on, as after a flush of the media plane.
        """
        self._waiting.clear()
        self._last = self.confirmed
        return self.confirmed
