"""What the engines of a recorded call did: texts, audio lengths, and how long each took.

Delays count from the action that asked for the work: ``FinishListening``,
``StartReply``, and for a clause ``Speak`` or the end of the clause before it,
since a voice says one after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.timeline import Step
from voicecore.core.word_times import estimate_words


@dataclass(slots=True)
class HeardSpeech:
    """A stretch that a recogniser was given, ``to_sample`` None: to no end."""

    turn: int
    from_sample: int
    to_sample: int | None = None
    finished_ns: int = 0
    partials: list[tuple[int, str]] = field(default_factory=list)
    """``(now_ns, text)``"""
    text: str | None = None
    failed: ev.EngineFailed | None = None
    delay_ns: int = 0
    words: list[tuple[int, str]] = field(default_factory=list)
    """``(sample, word)``: the middle of where each word probably was said."""


@dataclass(slots=True)
class WrittenReply:
    """A model's answer: ``(delay_ns, event)``, the end or failure last if it came so far."""

    turn: int
    draft: str
    began_ns: int
    pieces: list[tuple[int, ev.Event]] = field(default_factory=list)

    @property
    def has_text(self) -> bool:
        """Whether anything was written."""
        return any(isinstance(event, ev.ReplyText) for _, event in self.pieces)


@dataclass(slots=True)
class SpokenClause:
    """A clause's audio: ``(delay_ns, event)``, the end or failure last if it came so far."""

    text: str
    began_ns: int
    pieces: list[tuple[int, ev.Event]] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """All its audio."""
        return sum(e.samples for _, e in self.pieces if isinstance(e, ev.SpeechQueued))


class EnginesRecord:
    """Read from the steps of a recording, once."""

    def __init__(self, steps: list[Step]) -> None:
        self.heard: list[HeardSpeech] = []
        self.replies: list[WrittenReply] = []
        self.clauses: list[SpokenClause] = []
        self.scores: list[tuple[int, ev.TurnScored]] = []
        """``(delay_ns, event)`` of a turn-detection model."""
        self._listening: dict[tuple[int, int], HeardSpeech] = {}
        self._writing: dict[int, WrittenReply] = {}
        self._speaking: dict[tuple[int, int], SpokenClause] = {}
        self._asked: dict[int, int] = {}
        for step in steps:
            self._take_event(step.event, step.now_ns)
            for action in step.actions or ():
                self._take_action(action, step.now_ns)
        voiced = _voiced(steps)
        for speech in self.heard:
            _place_words(speech, voiced)

    # -- private --------------------------------------------------------------------

    def _take_action(self, action: act.Action, now_ns: int) -> None:
        match action:
            case act.Listen():
                speech = HeardSpeech(action.turn, action.from_sample)
                self._listening[action.turn, action.part] = speech
                self.heard.append(speech)
            case act.FinishListening():
                if (known := self._listening.get((action.turn, action.part))) is not None:
                    known.to_sample, known.finished_ns = action.to_sample, now_ns
            case act.StartReply():
                reply = WrittenReply(action.turn, action.draft, now_ns)
                self._writing[action.turn] = reply
                self.replies.append(reply)
            case act.Speak():
                clause = SpokenClause(action.text, now_ns)
                self._speaking[action.turn, action.segment] = clause
                self.clauses.append(clause)
            case act.JudgePause():
                self._asked[action.sample] = now_ns

    def _take_event(self, event: ev.Event, now_ns: int) -> None:
        match event:
            case ev.TranscriptPartial() | ev.TranscriptFinal():
                self._take_transcript(event, now_ns)
            case ev.ReplyText() | ev.ToolsUsed() | ev.ReplyEnd():
                self._take_reply(event, now_ns)
            case ev.SpeechQueued() | ev.SegmentEnd():
                self._take_speech(event, now_ns)
            case ev.EngineFailed(stage="stt"):
                if (known := self._listening.get((event.turn, event.part))) is not None:
                    known.failed = event
                    known.delay_ns = max(now_ns - known.finished_ns, 0) if known.to_sample else 0
            case ev.EngineFailed(stage="llm"):
                self._take_reply(event, now_ns)
            case ev.EngineFailed():
                for (turn, _), clause in self._speaking.items():
                    if turn == event.turn and not _ended(clause):
                        clause.pieces.append((now_ns - clause.began_ns, event))
                        break
            case ev.TurnScored():
                delay_ns = now_ns - self._asked.get(event.sample, now_ns)
                self.scores.append((delay_ns, event))

    def _take_transcript(
        self, event: ev.TranscriptPartial | ev.TranscriptFinal, now_ns: int
    ) -> None:
        speech = self._listening.get((event.turn, event.part))
        if speech is None:
            return
        if isinstance(event, ev.TranscriptPartial):
            speech.partials.append((now_ns, event.text))
        else:
            speech.text, speech.delay_ns = event.text, max(now_ns - speech.finished_ns, 0)

    def _take_reply(
        self, event: ev.ReplyText | ev.ToolsUsed | ev.ReplyEnd | ev.EngineFailed, now_ns: int
    ) -> None:
        if (reply := self._writing.get(event.turn)) is not None:
            reply.pieces.append((now_ns - reply.began_ns, event))

    def _take_speech(self, event: ev.SpeechQueued | ev.SegmentEnd, now_ns: int) -> None:
        clause = self._speaking.get((event.turn, event.segment))
        if clause is None:
            return
        if not clause.pieces:
            before = self._speaking.get((event.turn, event.segment - 1))
            if before is not None and before.pieces:
                last_ns = before.began_ns + before.pieces[-1][0]
                clause.began_ns = min(max(clause.began_ns, last_ns), now_ns)
        clause.pieces.append((now_ns - clause.began_ns, event))


def _ended(clause: SpokenClause) -> bool:
    return bool(clause.pieces) and not isinstance(clause.pieces[-1][1], ev.SpeechQueued)


def _voiced(steps: list[Step]) -> list[tuple[int, int]]:
    """Stretches in which the gate was open, in samples."""
    stretches: list[tuple[int, int]] = []
    onset: int | None = None
    for step in steps:
        match step.event:
            case ev.SpeechOnset() | ev.SpeechConfirmed():
                onset = step.event.sample if onset is None else onset
            case ev.SpeechReleased() if onset is not None:
                stretches.append((onset, max(step.event.sample, onset)))
                onset = None
    return stretches


def _place_words(speech: HeardSpeech, voiced: list[tuple[int, int]]) -> None:
    """Share the words out over what was voiced of ``speech``, by their letters."""
    text = speech.text
    if text is None:
        text = speech.partials[-1][1] if speech.partials else ""
    if not text.strip():
        return
    parts = list(_within(speech, voiced))
    length = sum(end - start for start, end in parts)
    marks = estimate_words(text, length)
    for i, mark in enumerate(marks):
        end = marks[i + 1].sample if i + 1 < len(marks) else length
        middle = _sample_at((mark.sample + end) // 2, parts)
        speech.words.append((middle, text[mark.char_start : mark.char_end]))


def _within(speech: HeardSpeech, voiced: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    found = False
    for start, end in voiced:
        low = max(start, speech.from_sample)
        high = end if speech.to_sample is None else min(end, speech.to_sample)
        if high > low:
            found = True
            yield low, high
    if not found:
        yield speech.from_sample, max(speech.to_sample or 0, speech.from_sample + 1)


def _sample_at(offset: int, parts: list[tuple[int, int]]) -> int:
    for start, end in parts:
        if offset < end - start:
            return start + offset
        offset -= end - start
    return parts[-1][1] - 1
