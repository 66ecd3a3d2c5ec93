"""What if: the recorded caller against a session with other settings, in virtual time.

The caller stays as recorded: edges of speech, keys, the hang-up, at their
times. All else follows from what this session decides: deadlines, engines
(``engines_model.py``), playout (``playout_model.py``). The caller can't react to
an agent that behaves otherwise: the further the two calls drift apart, the less
the rest says.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import NS_PER_S
from voicecore.replay.caller_record import CallerRecord
from voicecore.replay.engines_model import EnginesModel
from voicecore.replay.engines_record import EnginesRecord, HeardSpeech
from voicecore.replay.playout_model import PlayoutModel
from voicecore.replay.recording_file import Recording
from voicecore.replay.verbatim import Outcome, handle, new_session

_MADE_HERE = (
    ev.Timeout, ev.TranscriptPartial, ev.TranscriptFinal, ev.TurnScored, ev.ReplyText, ev.ToolsUsed,
    ev.ReplyEnd, ev.SpeechQueued, ev.SegmentEnd, ev.PlayoutStarted, ev.PlayoutDrained, ev.Flushed,
    ev.EngineFailed,
)  # fmt: skip
"""Events that follow from decisions; every other one comes from the caller."""

_TAIL_NS = 10 * NS_PER_S
"""How long a recording that breaks off is gone on with after its last input."""

_MOST_AT_ONCE = 100
"""Deadlines at one moment; more is a session that asks for the past for ever."""

Make = Callable[[int], ev.Event | None]
"""The event that is due, given the time; None: it was called off."""


@dataclass(slots=True)
class _Work:
    """Something under way; called off it tells nothing any more."""

    turn: int
    off: bool = False


@dataclass(slots=True)
class _Listening(_Work):
    part: int = 0
    from_sample: int = 0
    finishing: bool = False


class Simulation:
    """One run: make it, then :meth:`run` once."""

    def __init__(self, recording: Recording, settings: TurnSettings) -> None:
        header = recording.header
        record = EnginesRecord(recording.steps)
        self._session = new_session(settings, header.play_rate_hz)
        self._caller = CallerRecord(recording)
        self._engines = EnginesModel(record, header.play_rate_hz)
        began_ns = recording.steps[0].now_ns if recording.steps else header.began_ns
        self._playout = PlayoutModel(header.play_rate_hz, began_ns)
        self._due: list[tuple[int, int, int, Make]] = []
        self._numbers = itertools.count()
        self._log: list[Outcome] = []
        self._listening: dict[tuple[int, int], _Listening] = {}
        self._recorded_turn: dict[int, int] = {}
        self._replies: list[_Work] = []
        self._voice_free_ns = 0
        self._far_delay_ms = _far_delay_ms(recording)
        self._over = False
        self._end_ns = recording.end_ns
        if recording.finish is None:
            self._end_ns += _TAIL_NS
        for step in recording.steps:
            if not isinstance(step.event, _MADE_HERE):
                self._at(step.now_ns, 0, self._input(step.event))
        for speech in record.heard:
            for now_ns, text in speech.partials:
                self._at(now_ns, 2, self._partial(speech, text))

    def run(self) -> list[Outcome]:
        """Every event and what the session made of it, up to the end of the call."""
        at_once = last_ns = 0
        while not self._over:
            now_ns, make = self._next(last_ns)
            if now_ns > self._end_ns:
                break
            at_once = at_once + 1 if now_ns == last_ns and make == self._timeout else 0
            if at_once > _MOST_AT_ONCE:
                self._log.append(Outcome(now_ns, ev.Timeout(0, 0), None, "EndlessDeadline"))
                break
            last_ns = now_ns
            event = make(now_ns)
            if event is not None:
                self._dispatch(event, now_ns)
        return self._log

    # -- time -----------------------------------------------------------------------

    def _at(self, at_ns: int, rank: int, make: Make) -> None:
        heapq.heappush(self._due, (at_ns, rank, next(self._numbers), make))

    def _next(self, last_ns: int) -> tuple[int, Make]:
        """What comes first: an input, then the playout, an engine, a deadline."""
        choices: list[tuple[int, int, Make]] = []
        if self._due:
            at_ns, rank, _, make = self._due[0]
            choices.append((at_ns, rank, make))
        if (playout_ns := self._playout.due_ns) is not None:
            choices.append((playout_ns, 1, self._take_playout))
        if (deadline_ns := self._session.deadline_ns) is not None:
            choices.append((max(deadline_ns, last_ns), 3, self._timeout))
        if not choices:
            return self._end_ns + 1, self._timeout
        now_ns, rank, make = min(choices, key=lambda choice: choice[:2])
        if rank in (0, 2):
            heapq.heappop(self._due)
        return max(now_ns, last_ns), make

    def _dispatch(self, event: ev.Event, now_ns: int) -> None:
        events = deque([event])
        while events and not self._over:
            outcome = handle(self._session, events.popleft(), now_ns)
            self._log.append(outcome)
            if outcome.raised:
                self._over = True
                return
            for action in outcome.actions or ():
                follow = self._perform(action, now_ns)
                if follow is not None:
                    events.append(follow)

    # -- events ---------------------------------------------------------------------

    def _input(self, event: ev.Event) -> Make:
        return lambda now_ns: _with(event, played=self._playout.played(now_ns))

    def _timeout(self, now_ns: int) -> ev.Event:
        return self._caller.timeout(now_ns, self._playout.played(now_ns))

    def _take_playout(self, now_ns: int) -> ev.Event:
        return self._playout.take()

    def _partial(self, speech: HeardSpeech, text: str) -> Make:
        def make(now_ns: int) -> ev.Event | None:
            heard = [w for w in self._listening.values() if not (w.off or w.finishing)]
            if not heard:
                return None
            work = heard[-1]
            shown = self._engines.partial(speech, text, work.from_sample)
            return ev.TranscriptPartial(work.turn, shown, work.part)

        return make

    # -- actions --------------------------------------------------------------------

    def _perform(self, action: act.Action, now_ns: int) -> ev.Event | None:
        # As the table of the session's transitions: what has no row is told to nobody here.
        name = f"_do_{type(action).__name__.lower()}"
        do: Callable[[act.Action, int], ev.Event | None] | None = getattr(self, name, None)
        return None if do is None else do(action, now_ns)

    def _do_listen(self, action: act.Listen, now_ns: int) -> None:
        work = _Listening(action.turn, part=action.part, from_sample=action.from_sample)
        self._listening[action.turn, action.part] = work

    def _do_finishlistening(self, action: act.FinishListening, now_ns: int) -> None:
        work = self._listening.get((action.turn, action.part))
        if work is None or work.off or work.finishing:
            return
        work.finishing = True
        found = self._engines.understand(work.from_sample, action.to_sample)
        if found.turn is not None:
            self._recorded_turn[work.turn] = found.turn
        event: ev.Event = ev.TranscriptFinal(work.turn, found.text, work.part)
        if found.failed is not None:
            event = replace(found.failed, turn=work.turn, part=work.part)
        self._later(now_ns + found.delay_ns, work, event)

    def _do_cancellistening(self, action: act.CancelListening, now_ns: int) -> None:
        work = self._listening.pop((action.turn, action.part), None)
        if work is not None:
            work.off = True

    def _do_judgepause(self, action: act.JudgePause, now_ns: int) -> None:
        score = self._engines.score(action.sample)
        if score is not None:
            event = replace(score[1], turn=action.turn, sample=action.sample)
            self._later(now_ns + score[0], _Work(action.turn), event)

    def _do_startreply(self, action: act.StartReply, now_ns: int) -> None:
        work = self._work(action.turn)
        recorded = self._recorded_turn.get(action.turn)
        for delay_ns, event in self._engines.write(recorded, action.draft, now_ns):
            self._later(now_ns + delay_ns, work, _with(event, turn=action.turn))

    def _do_speak(self, action: act.Speak, now_ns: int) -> None:
        work = self._work(action.turn)
        began_ns = max(now_ns, self._voice_free_ns)
        for delay_ns, event in self._engines.speak(action.text):
            self._voice_free_ns = max(self._voice_free_ns, began_ns + delay_ns)
            self._at(began_ns + delay_ns, 2, self._spoken(work, action, event))

    def _spoken(self, work: _Work, action: act.Speak, event: ev.Event) -> Make:
        def make(now_ns: int) -> ev.Event | None:
            if work.off:
                return None
            placed = _with(event, turn=action.turn, segment=action.segment)
            if isinstance(placed, ev.SpeechQueued):
                return _with(placed, position=self._playout.queue(placed.samples, now_ns))
            return placed

        return make

    def _do_cancelreply(self, action: act.CancelReply, now_ns: int) -> None:
        for work in self._replies:
            work.off = work.off or work.turn == action.turn
        self._replies = [work for work in self._replies if not work.off]
        self._voice_free_ns = now_ns

    def _do_flush(self, action: act.Flush, now_ns: int) -> ev.Event:
        self._do_cancelreply(act.CancelReply(action.turn), now_ns)
        position = self._playout.flush(now_ns)
        return ev.Flushed(action.turn, position, far_delay_ms=self._far_delay_ms)

    def _do_hold(self, action: act.Hold, now_ns: int) -> None:
        self._playout.hold(now_ns)

    def _do_resume(self, action: act.Resume, now_ns: int) -> None:
        self._playout.resume(now_ns)

    def _do_end(self, action: act.End, now_ns: int) -> None:
        self._over = True

    # -- work -----------------------------------------------------------------------

    def _work(self, turn: int) -> _Work:
        for work in self._replies:
            if work.turn == turn:
                return work
        work = _Work(turn)
        self._replies.append(work)
        return work

    def _later(self, at_ns: int, work: _Work, event: ev.Event) -> None:
        self._at(at_ns, 2, lambda now_ns: None if work.off else event)


def _far_delay_ms(recording: Recording) -> float:
    """From here to the caller's ear, as it was at the first interruption."""
    for step in recording.steps:
        if isinstance(step.event, ev.Flushed):
            return step.event.far_delay_ms
    return 0.0


def _with(event: ev.Event, **values: object) -> ev.Event:
    """``event`` with those of ``values`` that it has fields for."""
    names = {field.name for field in fields(event)}
    return replace(event, **{key: value for key, value in values.items() if key in names})
