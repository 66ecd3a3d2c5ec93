"""The playout ledger: which words of a reply were heard.

A reply is spoken in segments (clauses). Each lies at a stretch of playout
positions (samples handed to the network at full level, see ``transport.plane``)
and has word marks from the synthesiser, or times estimated from its text and
loudness where it gives none (``core/word_times.py``). A word counts as heard when
at least half of its samples were played and not lost on the way; the pause after
it is not part of it::

    position  0        100       200       300       400
    words     ├─ Yes, ─┤ ├─ I ──┤├── can ──┤├── do ────┤ that.
    lost                ░░░░░░░░░
    played                                        ▲ 340
    heard     "Yes, [...] can", to the end of "can"; "I" was lost, "do" not half played
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final

from voicecore.core.word_times import Pace, Word, complete_marks, estimate_words, sound_of

Stretches = Sequence[tuple[int, int]]
"""Stretches of playout positions, [begin, end), in order and apart."""

GAP: Final = "[...]"
"""Stands in a heard text for words that were lost before others were heard."""

BORDER_MS: Final = 20
"""So near to the cut, whether a word's half was played is anyone's guess."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the caller heard of a reply."""

    text: str
    """The words heard as they were written, ``[...]`` in place of words lost between them."""
    chars: int
    """Where the last word heard ends in the reply's text."""
    cut: bool
    """Whether words of the reply remain behind that."""
    borderline: tuple[str, ...] = ()
    """Words whose middle lies within 20 ms of where playback stopped."""


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """``text[char_start:char_end]`` of the reply and the playout positions of its sound."""

    char_start: int
    char_end: int
    begin: int
    end: int
    """Behind ``begin`` by one at least."""

    def heard(self, played: int, lost: Stretches = ()) -> bool:
        """Whether half of it was played up to ``played`` and not lost."""
        end = min(self.end, played)
        got = end - self.begin
        # The stretch before the first that begins within the word may reach into it.
        for index in range(max(0, bisect_left(lost, (self.begin, 0)) - 1), len(lost)):
            begin, stop = lost[index]
            if begin >= end:
                break
            got -= max(0, min(stop, end) - max(begin, self.begin))
        return 2 * got >= self.end - self.begin


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
    marks: list[Word] = field(default_factory=list)
    energy: bytearray = field(default_factory=bytearray)

    @property
    def end(self) -> int | None:
        """Position after the last sample queued, or None before the first."""
        return None if self.position is None else self.position + self.samples

    @property
    def known(self) -> tuple[int, int, int, int, bool]:
        """How much is known of it: the same as before means nothing new."""
        return len(self.text), self.samples, len(self.marks), len(self.energy), self.done

    def words(self, rate_hz: int, pace: Pace) -> list[Word]:
        """Where its words lie, as far as that can be told; all of them have ends."""
        if self.position is None:
            return []
        block, per_sample = rate_hz // 100, pace.weight_per_s / rate_hz
        energy = bytes(self.energy)
        rate = None if self.done else per_sample
        if self.marks:
            return complete_marks(self.text, self.marks, self.samples, energy, block, rate)
        return estimate_words(self.text, self.samples, energy, block, rate)

    def cut(self, words: Sequence[Word]) -> None:
        """End the segment with the last of its ``words`` of which there is half."""
        placed = [
            replace(word, end=min(word.end or 0, self.samples))
            for word in words
            if word.sample < self.samples and word.sample + (word.end or 0) <= 2 * self.samples
        ]
        self.text = self.text[: placed[-1].char_end if placed else 0]
        self.marks = placed
        self.done = True


class PlayoutLedger:
    """The segments of one reply, in the order they are spoken."""

    def __init__(self, rate_hz: int, pace: Pace | None = None) -> None:
        """``rate_hz``: of the playout positions; ``pace``: of the voice, shared by its replies."""
        self._rate_hz = rate_hz
        self._pace = Pace() if pace is None else pace
        self._segments: list[Segment] = []
        # The words of each segment, and what of it was known when they were placed.
        self._placed: dict[int, tuple[tuple[int, int, int, int, bool], list[Word]]] = {}

    def open_segment(self, text: str) -> int:
        """Note a clause that will be spoken next; returns its number."""
        self._segments.append(Segment(text, len(text) - len(text.lstrip())))
        return len(self._segments) - 1

    def grow(self, text: str) -> None:
        """The last segment goes on with ``text``, its audio being on the way (no marks)."""
        self._segments[-1].text += text

    def add_audio(
        self,
        number: int,
        position: int,
        samples: int,
        words: Sequence[Word] = (),
        energy: bytes = b"",
    ) -> None:
        """Note ``samples`` queued at ``position`` for segment ``number``.

        ``words`` begin in them or later. ``energy`` is the loudness of the
        segment's next blocks (``core/speech_energy.py``), whole blocks alone:
        it may run ahead of the samples or lag by less than a block.
        """
        segment = self._segments[number]
        if segment.position is None:
            segment.position = position
        segment.samples += samples
        segment.energy += energy
        lead = segment.lead
        segment.marks += [
            replace(w, char_start=w.char_start + lead, char_end=w.char_end + lead) for w in words
        ]

    def close_segment(self, number: int) -> None:
        """No more audio will come for segment ``number``."""
        segment = self._segments[number]
        if not segment.done and segment.energy:
            block = self._rate_hz // 100
            sound = sound_of(bytes(segment.energy), block, segment.samples)
            self._pace.learn(segment.text, sound.total / self._rate_hz)
        segment.done = True

    def abandon(self) -> None:
        """No more audio will come: what has none is forgotten, what has some is cut there."""
        self._segments = [s for s in self._segments if s.position is not None]
        self._placed.clear()
        for segment in self._segments:
            if not segment.done:
                segment.cut(segment.words(self._rate_hz, self._pace))

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

    def left_at(self, played: int) -> int | None:
        """Samples of the segment heard at ``played`` that are still to come; None: unknown."""
        number = self.segment_at(played)
        if number < 0:
            return 0
        segment = self._segments[number]
        if segment.position is None or not segment.done:
            return None
        return segment.position + segment.samples - max(played, segment.position)

    def strip_end(self) -> None:
        """The text ends without white space: more is to follow that brings its own."""
        if self._segments:
            self._segments[-1].text = self._segments[-1].text.rstrip()

    @property
    def end(self) -> int | None:
        """Position after the last sample queued, or None before the first."""
        return next((s.end for s in reversed(self._segments) if s.end is not None), None)

    @property
    def complete(self) -> bool:
        """Whether all segments have all their audio."""
        return all(segment.done for segment in self._segments)

    def words(self) -> tuple[SpokenWord, ...]:
        """All words whose place can be told, in order; those of the last may be a forecast."""
        words: list[SpokenWord] = []
        offset = 0
        for number, segment in enumerate(self._segments):
            words += self._spoken(number, offset)
            offset += len(segment.text)
        return tuple(words)

    def word_ends(self, after: int, upto: int) -> tuple[int, ...]:
        """Where words end in (``after``, ``upto``].

        The places for marks of a far end that confirms by them
        (``core/playout_marks.py``).
        """
        return tuple(word.end for word in self.words() if after < word.end <= upto)

    def heard_chars(self, played: int, lost: Stretches = ()) -> int:
        """Where in :attr:`text` the last word ends that was heard at position ``played``.

        White space and signs without a sound behind it count with it once all
        of its segment is played. ``lost`` never reached the caller.
        """
        offset = len(self.text)
        for number in range(len(self._segments) - 1, -1, -1):
            segment = self._segments[number]
            offset -= len(segment.text)
            if segment.position is None or segment.position >= played:
                continue
            words = self._spoken(number, offset)
            for word in reversed(words):
                if word.heard(played, lost):
                    last = word is words[-1]
                    return self._behind(number, offset, played) if last else word.char_end
        # Punctuation alone makes no sound: a reply of nothing else is heard.
        silent = all(segment.done and segment.position is None for segment in self._segments)
        return len(self.text) if silent else 0

    def heard_text(self, played: int, lost: Stretches = ()) -> str:
        """The text of :meth:`heard`."""
        return self.heard(played, lost).text

    def heard(self, played: int, lost: Stretches = ()) -> Heard:
        """What was heard when playback stopped at ``played``.

        Words lost on the way are left out, ``[...]`` stands where they were;
        after the last word heard there is nothing.
        """
        chars, text = self.heard_chars(played, lost), self.text
        words = self.words()
        border = self._rate_hz * BORDER_MS // 1000
        return Heard(
            text=_without_gaps(text[:chars], words, played, lost),
            chars=chars,
            cut=bool(text[chars:].strip()),
            borderline=tuple(
                text[word.char_start : word.char_end]
                for word in words
                if abs(word.begin + word.end - 2 * played) <= 2 * border
            ),
        )

    def heard_at(self, played: int, far_delay_samples: int, lost: Stretches = ()) -> Heard:
        """What had come out at the far end when ``played`` had been sent here.

        ``far_delay_samples``: its jitter buffer and half the round trip, at the
        playout rate. At the caller's first speech sample this is "heard when the
        caller began"; it is stored beside :meth:`heard`, not in its place.
        """
        return self.heard(played - far_delay_samples, lost)

    def _spoken(self, number: int, offset: int) -> list[SpokenWord]:
        """The words of a segment, its text being at ``offset`` of the reply's."""
        segment = self._segments[number]
        known, words = self._placed.get(number, (None, []))
        if known != segment.known:
            words = segment.words(self._rate_hz, self._pace)
            self._placed[number] = (segment.known, words)
        position = segment.position or 0
        return [
            SpokenWord(
                offset + word.char_start,
                offset + word.char_end,
                position + word.sample,
                position + max(word.end or 0, word.sample + 1),
            )
            for word in words
        ]

    def _behind(self, number: int, offset: int, played: int) -> int:
        """Where what goes with the last word of segment ``number`` ends."""
        segment = self._segments[number]
        if not segment.done or (segment.end or 0) > played:
            return self._spoken(number, offset)[-1].char_end
        end = offset + len(segment.text)
        for later, segment in enumerate(self._segments[number + 1 :], number + 1):
            if not segment.done or (segment.end or 0) > played or self._spoken(later, 0):
                break
            end += len(segment.text)
        return end


def _without_gaps(text: str, words: Sequence[SpokenWord], played: int, lost: Stretches) -> str:
    """``text`` with ``[...]`` for each run of words in it that were not heard."""
    within = [word for word in words if word.char_end <= len(text)]
    pieces, start = [], 0
    for heard, run in groupby(within, lambda word: word.heard(played, lost)):
        if not heard:
            *_, last = run
            pieces.append(GAP)
            start = last.char_end
            continue
        *_, last = run
        pieces.append(text[start : last.char_end].strip())
        start = last.char_end
    return " ".join([*pieces, text[start:].strip()]).strip()
