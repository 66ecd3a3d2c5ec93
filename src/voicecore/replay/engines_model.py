"""Engines that answer as they did in the recording, whatever they are asked.

A recogniser understands the recorded words that lie in the stretch it is given
(where a word lies is estimated from letters), as late as it did for the last
recorded stretch that is mostly in it. A model writes what it wrote to the turn
with that stretch (the last, unless it was asked with the same draft); if nothing was
written to it, what it wrote next, else
:data:`NO_REPLY`. A voice speaks a clause as recorded if the same was spoken,
else at the pace of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median_low
from typing import Any

from voicecore.core import events as ev
from voicecore.core.units import HEAR_RATE_HZ, NS_PER_MS
from voicecore.core.word_times import estimate_words
from voicecore.replay.engines_record import EnginesRecord, HeardSpeech, SpokenClause

NO_REPLY = "No reply to this was recorded."

_LETTERS_PER_S = 15
"""Ordinary speech, where the recording has none."""

_DELAY_NS = 300 * NS_PER_MS
"""Of a recogniser or a model that never answered in the recording."""

_NEAR = HEAR_RATE_HZ // 2

Pieces = list[tuple[int, ev.Event]]
"""``(delay_ns, event)``; turn, segment and position are for the asker to put in."""


@dataclass(frozen=True, slots=True)
class Understood:
    """A recogniser's answer to a stretch; ``failed`` in place of ``text``."""

    text: str
    delay_ns: int
    turn: int | None
    """The recorded turn that it answers for."""
    failed: ev.EngineFailed | None = None


class EnginesModel:
    """One simulated call's engines."""

    def __init__(self, record: EnginesRecord, play_rate_hz: int) -> None:
        self._record = record
        self._play_rate_hz = play_rate_hz
        self._clauses: dict[str, list[SpokenClause]] = {}
        for clause in record.clauses:
            if any(isinstance(e, ev.SpeechQueued | ev.SegmentEnd) for _, e in clause.pieces):
                self._clauses.setdefault(clause.text, []).append(clause)
        finals = [speech.delay_ns for speech in record.heard if speech.text is not None]
        self._final_ns = median_low(finals) if finals else _DELAY_NS
        firsts = [c.pieces[0][0] for cs in self._clauses.values() for c in cs]
        self._first_audio_ns = median_low(firsts) if firsts else _DELAY_NS

    def understand(self, from_sample: int, to_sample: int) -> Understood:
        """What was said in that stretch."""
        words = [
            word
            for speech in self._record.heard
            for sample, word in speech.words
            if from_sample <= sample < to_sample
        ]
        like = self._like(from_sample, to_sample)
        if like is None:
            return Understood(" ".join(words), self._final_ns, None)
        if not words and like.failed is not None:
            return Understood("", like.delay_ns, like.turn, like.failed)
        text, delay_ns = " ".join(words), like.delay_ns
        if like.text is None:
            delay_ns = self._final_ns
        elif words == [word for _, word in like.words]:
            # Word for word the same: then the white space is, too.
            text = like.text
        return Understood(text, delay_ns, like.turn)

    def partial(self, speech: HeardSpeech, text: str, from_sample: int) -> str:
        """What a stretch from ``from_sample`` on shows when ``speech`` showed ``text``."""
        before = [
            word
            for other in self._record.heard
            if other.from_sample < speech.from_sample
            for sample, word in other.words
            if sample >= from_sample
        ]
        missed = sum(sample < from_sample for sample, _ in speech.words)
        return " ".join([*before, *text.split()[missed:]]) if before or missed else text

    def write(self, recorded_turn: int | None, draft: str, asked_ns: int) -> Pieces:
        """A model's answer to a turn that was recorded as ``recorded_turn``."""
        replies = [reply for reply in self._record.replies if reply.has_text]
        own = [reply for reply in replies if reply.turn == recorded_turn]
        same = [reply for reply in own if reply.draft == draft]
        later = [reply for reply in replies if reply.began_ns >= asked_ns]
        # Of several the last: those before it were begun in pauses and came to nothing.
        chosen = same[-1] if same else own[-1] if own else later[0] if later else None
        if chosen is None:
            return [(_DELAY_NS, ev.ReplyText(0, NO_REPLY)), (_DELAY_NS, ev.ReplyEnd(0))]
        pieces = list(chosen.pieces)
        if isinstance(pieces[-1][1], ev.ReplyText | ev.ToolsUsed):
            # Cut off in the recording: what it would have written more is not known.
            pieces.append((pieces[-1][0], ev.ReplyEnd(0)))
        return pieces

    def speak(self, text: str) -> Pieces:
        """A clause's audio; a clause that was spoken twice sounds as it did each time."""
        same = self._clauses.get(text)
        if not same:
            return self._made_up(text)
        clause = same.pop(0) if len(same) > 1 else same[0]
        pieces = list(clause.pieces)
        if isinstance(pieces[-1][1], ev.SpeechQueued):
            return self._completed(clause)
        return pieces

    def score(self, sample: int) -> tuple[int, ev.TurnScored] | None:
        """A turn-detection model's word on a pause within half a second of ``sample``."""
        scores = self._record.scores
        best = min(scores, key=lambda score: abs(score[1].sample - sample), default=None)
        return best if best is not None and abs(best[1].sample - sample) <= _NEAR else None

    # -- private --------------------------------------------------------------------

    def _like(self, from_sample: int, to_sample: int) -> HeardSpeech | None:
        """The last recorded stretch that lies mostly in this one, else the one that does most."""
        best: tuple[int, HeardSpeech] | None = None
        mostly: HeardSpeech | None = None
        for speech in self._record.heard:
            end = speech.to_sample if speech.to_sample is not None else to_sample
            shared = min(end, to_sample) - max(speech.from_sample, from_sample)
            if shared <= 0:
                continue
            if speech.to_sample is not None and 2 * shared >= end - speech.from_sample:
                mostly = speech
            if best is None or shared > best[0]:
                best = (shared, speech)
        return mostly or (best[1] if best else None)

    def _pace(self) -> tuple[int, int]:
        """``(samples, letters)`` of what was spoken to its end."""
        whole = [
            c
            for cs in self._clauses.values()
            for c in cs
            if isinstance(c.pieces[-1][1], ev.SegmentEnd)
        ]
        letters = sum(len(c.text) for c in whole)
        samples = sum(c.samples for c in whole)
        return (samples, letters) if samples and letters else (self._play_rate_hz, _LETTERS_PER_S)

    def _made_up(self, text: str) -> Pieces:
        samples, letters = self._pace()
        length = len(text) * samples // letters
        words: Any = tuple(estimate_words(text, length))
        return [
            (self._first_audio_ns, ev.SpeechQueued(0, 0, 0, length, words)),
            (self._first_audio_ns, ev.SegmentEnd(0, 0)),
        ]

    def _completed(self, clause: SpokenClause) -> Pieces:
        """A clause that was cut off in the recording, its rest at the pace of the others."""
        samples, letters = self._pace()
        rest = len(clause.text) * samples // letters - clause.samples
        at_ns = clause.pieces[-1][0]
        pieces = list(clause.pieces)
        if rest > 0:
            pieces.append((at_ns, ev.SpeechQueued(0, 0, 0, rest)))
        return [*pieces, (at_ns, ev.SegmentEnd(0, 0))]
