"""The playout ledger: which words of a reply have been played.

A reply is spoken in segments (clauses). Each lies at a stretch of playout
positions (samples handed to the network, see ``transport.plane``) and has word
marks from the synthesiser, or marks estimated from its letters where it gives
none. A word counts as heard when at least half of it was played.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from voicecore.core.word_times import Word, estimate_words


@dataclass(slots=True)
class Segment:
    """A clause on its way: ``position`` is where its first sample lies.

    The synthesiser saw ``text`` without its first ``lead`` characters (white
    space) and counts from there.
    """

    text: str
    lead: int = 0
    position: int | None = None
    samples: int = 0
    done: bool = False
    words: list[Word] = field(default_factory=list)

    def cut(self) -> None:
        """End the segment with the last word that has audio."""
        placed = [word for word in self.words if word.sample < self.samples]
        self.text = self.text[: placed[-1].char_end if placed else 0]
        self.words = placed
        self.done = True

    def heard_chars(self, played: int, rate_hz: int) -> int:
        """How many characters of ``text`` were heard when ``played`` was reached."""
        if self.position is None:
            # Punctuation alone makes no sound: nothing of it can be missed.
            return len(self.text) if self.done else 0
        offset = played - self.position
        if self.done and offset >= self.samples:
            return len(self.text)
        words = self.words or estimate_words(self.text, self._length(rate_hz))
        heard = 0
        for i, word in enumerate(words):
            end = words[i + 1].sample if i + 1 < len(words) else self._length(rate_hz)
            # The last word of an unfinished segment may still grow; half of
            # what is known of it is the best that can be said.
            if (offset - word.sample) * 2 < max(end - word.sample, 1):
                break
            heard = word.char_end
        return heard

    def _length(self, rate_hz: int) -> int:
        if self.done:
            return self.samples
        # About 15 characters a second is ordinary speech; what is already
        # there can't be shorter than it is.
        return max(self.samples, len(self.text) * rate_hz // 15)


class PlayoutLedger:
    """The segments of one reply, in the order they are spoken."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._segments: list[Segment] = []

    def open_segment(self, text: str) -> int:
        """Note a clause that will be spoken next; returns its number."""
        self._segments.append(Segment(text, len(text) - len(text.lstrip())))
        return len(self._segments) - 1

    def add_audio(self, number: int, position: int, samples: int, words: list[Word]) -> None:
        """Note ``samples`` queued at ``position`` for segment ``number``."""
        segment = self._segments[number]
        if segment.position is None:
            segment.position = position
        segment.samples += samples
        lead = segment.lead
        segment.words += [Word(w.char_start + lead, w.char_end + lead, w.sample) for w in words]

    def close_segment(self, number: int) -> None:
        """No more audio will come for segment ``number``."""
        self._segments[number].done = True

    def abandon(self) -> None:
        """No more audio will come: what has none is forgotten, what has some is cut there."""
        self._segments = [s for s in self._segments if s.position is not None]
        for segment in self._segments:
            if not segment.done:
                segment.cut()

    @property
    def text(self) -> str:
        """All text of all segments."""
        return "".join(segment.text for segment in self._segments)

    @property
    def segments(self) -> int:
        """How many there are."""
        return len(self._segments)

    def segment_at(self, played: int) -> int:
        """The segment that is heard next at ``played``; -1: none that is known."""
        for number, segment in enumerate(self._segments):
            if segment.position is None or not segment.done:
                return number
            if played < segment.position + segment.samples:
                return number
        return -1

    def strip_end(self) -> None:
        """The text ends without white space: more is to follow that brings its own."""
        if self._segments:
            self._segments[-1].text = self._segments[-1].text.rstrip()

    @property
    def end(self) -> int | None:
        """Position after the last sample queued, or None before the first."""
        placed = [s for s in self._segments if s.position is not None]
        last = placed[-1] if placed else None
        return None if last is None or last.position is None else last.position + last.samples

    @property
    def complete(self) -> bool:
        """Whether all segments have all their audio."""
        return all(segment.done for segment in self._segments)

    def heard_chars(self, played: int) -> int:
        """How many characters of :attr:`text` were heard at position ``played``."""
        total = 0
        for segment in self._segments:
            heard = segment.heard_chars(played, self._rate_hz)
            total += heard
            if heard < len(segment.text):
                break
        return total
