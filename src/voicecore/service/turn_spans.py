"""The spans of a call's turns, made of what the session was told and what it answered.

An observer: it is given each event with the actions it led to, as a recording is, and makes of
each turn one tree, complete when the turn is over::

    turn      |-----------------------------------------------|   end of speech -> answer is over
    endpoint  |---------|                                         the wait whether he goes on
    stt          |----|                                           asked for its text -> final
    llm                 |------------------|                      asked -> all is written
    tts                      |----------------------|             first clause -> last audio
    playout                    |------------------------------|   first packet -> last

A speech-to-speech model has ``s2s`` in the place of ``llm`` and ``tts``. What the agent says
unasked (a greeting, a reminder) is a turn that begins with its text. No text gets in here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.units import NS_PER_S, ns_to_ms

Value = str | int | float | bool

_MOST_NOTES = 64
"""Of a turn; further ones are left out."""

_OPEN_TURNS = 4
"""One is answered and one is heard. Sounds that turned out to be nothing are beyond: of those
without an answer the oldest goes."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened at a moment (ns): to an engine of ``stage``."""

    stage: str
    what: str
    at_ns: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of monotonic time (ns), what is known of it, and what it is made of."""

    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value]
    children: Sequence[Span] = ()
    failed: str = ""
    """The error code, ``""`` if all went well."""
    notes: Sequence[Note] = ()


@dataclass(slots=True)
class _Turn:
    """Moments of one turn (ns); None: not yet, or never."""

    number: int
    speech_end: int | None = None
    decided: int | None = None
    stt_asked: int | None = None
    stt_final: int | None = None
    asked: int | None = None
    first_text: int | None = None
    written: int | None = None
    spoken: int | None = None
    first_audio: int | None = None
    last_audio: int | None = None
    playing: int | None = None
    voiced: bool = False
    speculative: bool = False
    interrupted: bool = False
    wasted: int = 0
    tools: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_answered(self) -> bool:
        """Whether a reply was begun."""
        return self.asked is not None or self.spoken is not None

    def begin_again(self) -> None:
        """The reply that was begun came to nothing."""
        self.wasted += 1
        self.failures.clear()
        self.asked = self.first_text = self.written = None
        self.spoken = self.first_audio = self.last_audio = self.playing = None


class TurnSpans:
    """Belongs to one call. ``engines``: their names by stage; ``on_turn`` gets each tree."""

    def __init__(self, engines: Mapping[str, str], on_turn: Callable[[Span], None]) -> None:
        self._engines = engines
        self._on_turn = on_turn
        self._turns: dict[int, _Turn] = {}
        self._speaking: _Turn | None = None
        self._notes: list[Note] = []

    def note(self, note: Note) -> None:
        """Keep ``note`` for the turn that is over next: its stage's span, if it has one."""
        if len(self._notes) < _MOST_NOTES:
            self._notes.append(note)

    def step(self, event: ev.Event, now_ns: int, actions: Sequence[act.Action]) -> None:
        """The session took ``event`` and answered with ``actions``."""
        self._take(event, now_ns)
        wasted = act.RecordSpeculation("wasted") in actions
        flushed = {action.turn for action in actions if isinstance(action, act.Flush)}
        ended: list[_Turn] = []
        for action in actions:
            match action:
                case act.FinishListening():
                    self._of(action.turn).stt_asked = now_ns
                case act.StartReply():
                    turn = self._speaking = self._of(action.turn)
                    turn.asked, turn.speculative = now_ns, bool(action.draft)
                case act.Speak():
                    turn = self._speaking = self._of(action.turn)
                    turn.spoken = turn.spoken or now_ns
                    ended = [other for other in ended if other is not turn]
                case act.CancelReply() if (found := self._turns.get(action.turn)) is not None:
                    if wasted:
                        found.begin_again()
                    else:
                        found.interrupted = found.number in flushed
                        ended.append(found)
                case act.RecordTurn() if self._speaking is not None:
                    self._answered(self._speaking, action.stages, now_ns)
                case act.End():
                    self.end(now_ns)
        for turn in ended:
            self._close(turn, now_ns)

    def end(self, now_ns: int) -> None:
        """The call is over: so is the turn that is being answered."""
        for turn in list(self._turns.values()):
            self._close(turn, now_ns)

    # -- what happened ----------------------------------------------------------------

    def _take(self, event: ev.Event, now_ns: int) -> None:
        if isinstance(event, ev.PlayoutStarted):
            if self._speaking is not None and self._speaking.playing is None:
                self._speaking.playing = now_ns
            return
        turn = self._turns.get(getattr(event, "turn", -1))
        if turn is None:
            return
        match event:
            case ev.TranscriptFinal():
                turn.stt_final = now_ns
            case ev.ReplyText():
                turn.first_text = turn.first_text or now_ns
                turn.voiced = event.voiced
            case ev.ReplyEnd():
                turn.written = now_ns
            case ev.ToolsUsed():
                turn.tools += 1
            case ev.SpeechQueued():
                turn.first_audio = turn.first_audio or now_ns
                turn.last_audio = now_ns
            case ev.EngineFailed():
                turn.failures[event.stage] = event.code

    def _answered(self, turn: _Turn, stages: Mapping[str, float], now_ns: int) -> None:
        turn.stages = stages
        turn.speech_end = now_ns - round(stages["total"] * NS_PER_S)
        if "endpoint" in stages:
            turn.decided = turn.speech_end + round(stages["endpoint"] * NS_PER_S)

    def _of(self, number: int) -> _Turn:
        turn = self._turns.get(number)
        if turn is None:
            turn = self._turns[number] = _Turn(number)
            if len(self._turns) > _OPEN_TURNS:
                unanswered = [n for n, open_ in self._turns.items() if not open_.is_answered]
                del self._turns[min(unanswered or self._turns)]
        return turn

    # -- the tree -----------------------------------------------------------------------

    def _close(self, turn: _Turn, now_ns: int) -> None:
        self._turns.pop(turn.number, None)
        if self._speaking is turn:
            self._speaking = None
        begins = [at for at in (turn.speech_end, turn.asked, turn.spoken) if at is not None]
        if not begins:
            return  # nobody answered it: it was no turn, or it belongs to the next one
        attributes: dict[str, Value] = {
            "voicecore.turn": turn.number,
            "voicecore.interrupted": turn.interrupted,
            "voicecore.speculative": turn.speculative,
            "voicecore.wasted_replies": turn.wasted,
            "voicecore.tool_rounds": turn.tools,
        }
        for stage, seconds in turn.stages.items():
            attributes[f"voicecore.{stage}_ms"] = round(1000 * seconds, 1)
        for stage, engine in self._engines.items():
            attributes[f"voicecore.engine.{stage}"] = engine
        failed = next(iter(turn.failures.values()), "")
        children = self._stages(turn, now_ns)
        start_ns = min([*begins, *(child.start_ns for child in children)])
        stages = {child.name for child in children}
        left = [note for note in self._notes if note.stage not in stages]
        self._notes.clear()
        self._on_turn(Span("turn", start_ns, now_ns, attributes, children, failed, left))

    def _stages(self, turn: _Turn, now_ns: int) -> list[Span]:
        spans = []
        if turn.speech_end is not None and turn.decided is not None:
            spans.append(Span("endpoint", turn.speech_end, turn.decided, {}))
        if turn.stt_asked is not None:
            spans.append(self._stage(turn, "stt", turn.stt_asked, turn.stt_final or now_ns))
        if turn.asked is not None:
            name = "s2s" if turn.voiced or "s2s" in self._engines else "llm"
            done = turn.last_audio if name == "s2s" else turn.written
            first = _after("first_text_ms", turn.asked, turn.first_text)
            spans.append(self._stage(turn, name, turn.asked, done or now_ns, first))
        if turn.spoken is not None:
            first = _after("first_audio_ms", turn.spoken, turn.first_audio)
            spans.append(self._stage(turn, "tts", turn.spoken, turn.last_audio or now_ns, first))
        if turn.playing is not None:
            spans.append(Span("playout", turn.playing, now_ns, {}))
        return spans

    def _stage(
        self,
        turn: _Turn,
        stage: str,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, Value] | None = None,
    ) -> Span:
        known = {"voicecore.engine": self._engines.get(stage, ""), **(attributes or {})}
        # A pause that wasn't the end asks twice: the final text may be of the part before.
        return Span(
            stage,
            start_ns,
            max(start_ns, end_ns),
            known,
            failed=turn.failures.get(stage, ""),
            notes=[note for note in self._notes if note.stage == stage],
        )


def _after(name: str, start_ns: int, at_ns: int | None) -> dict[str, Value]:
    if at_ns is None:
        return {}
    return {f"voicecore.{name}": round(ns_to_ms(max(at_ns - start_ns, 0)), 1)}
