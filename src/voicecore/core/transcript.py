"""What a recogniser understood, with the time of each word where it tells it."""

from __future__ import annotations

from typing import NamedTuple, Self


class SpokenWord(NamedTuple):
    """A word of the caller's; times in milliseconds from the stream's first sample.

    ``confidence`` is 0 to 1, None if the recogniser doesn't say.
    """

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None


class Transcript(str):
    """A text that knows its words: a ``str`` in every other respect.

    ``words`` is empty where the recogniser gives no times. They are in order and
    needn't be spelt as the text is (a provider may format that: "3" for "three").
    """

    __slots__ = ("words",)

    words: tuple[SpokenWord, ...]

    def __new__(cls, text: str, words: tuple[SpokenWord, ...] = ()) -> Self:
        """``text``, and ``words`` that tell when each was said."""
        made = super().__new__(cls, text)
        made.words = words
        return made

    def later(self, ms: int) -> Transcript:
        """The same with all times moved by ``ms``."""
        moved = (
            word._replace(start_ms=word.start_ms + ms, end_ms=word.end_ms + ms)
            for word in self.words
        )
        return Transcript(self, tuple(moved))

    def followed_by(self, rest: str) -> Transcript:
        """With ``rest`` behind it, and a space between where both have text."""
        gap = " " if self and rest else ""
        words = rest.words if isinstance(rest, Transcript) else ()
        return Transcript(f"{self}{gap}{rest}", self.words + words)
