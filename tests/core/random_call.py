"""A call at random, but only of what can happen: a caller, engines and a playout, by one seed.

Edges come in the order of the gate, finals only when asked for, audio is played only while it is
queued and not held. Everything else is up to the seed: what is said, how long each engine takes,
what fails, when the network stalls and when keys are pressed. Every rule that must hold of any
call is checked at every step.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from core.random_playout import PLAY_HZ, RandomPlayout
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation, Message, ToolCall
from voicecore.core.session import Session
from voicecore.core.state import State
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import HEAR_RATE_HZ, NS_PER_MS, NS_PER_S, ms_to_ns
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.core.word_times import Word

SPEAKS_MS = 9_000
"""So long the caller makes sounds and presses keys; then he only listens."""
CALL_MS = 120_000
"""By then a call is at rest: the longest answer takes 10 s, and nobody answers it."""
GOODBYE = "farewell I have to stop"
PARTING_MS = 9_500
"""A call is over so soon after its goodbye was asked for."""
_WORD = 4_800
_MOST_AT_ONCE = 60
_SAID = ("", "mm-hm", "yeah", "stop", "wait", "")


def random_settings(rng: random.Random) -> TurnSettings:
    """Any policy with any other."""
    return TurnSettings(
        endpoint=rng.choice(("adaptive", "adaptive", "fixed")),
        speculate=rng.random() < 0.6,
        speculation_budget=rng.choice((0, 1, 6)),
        bargein_policy=rng.choice(("staged", "staged", "immediate")),
        min_words=rng.choice((0, 0, 0, 2)),
        greeting=rng.choice(("", "g0 to all of you. g1 can I help?")),
        greeting_protected=rng.random() < 0.5,
        apology="Sorry.",
        max_monologue_s=rng.choice((0, 0, 2)),
        idle_prompt_s=rng.choice((0, 0, 4)),
        idle_goodbye_s=rng.choice((0, 8)),
        keypad_wait_ms=rng.choice((0, 700, 2000)),
    )


@dataclass
class Sound:
    """What the gate makes of one sound of the caller's (16 kHz samples)."""

    begin: int
    end: int
    voice: Voice


@dataclass
class Answer:
    """What the driver makes of an answer until it is cancelled."""

    number: int
    turn: int
    live: bool = True
    voice_at_ns: int = 0


class RandomCall:
    """Make it, :meth:`run` it once; :attr:`log` is what the session decided."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self._tools = random.Random(f"tools {seed}")
        self._end = random.Random(f"end {seed}")
        self._farewell_ns: int | None = None
        self._farewell = ""
        self.heard_goodbye = False
        self._used: set[str] = set()
        self.settings = settings = random_settings(rng)
        self.session = Session(self.settings, Conversation(), play_rate_hz=PLAY_HZ)
        self.log: list[tuple[int, act.Action]] = []
        self.now_ns = 0
        self.events = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = 0
        self._inbox: list[ev.Event] = []
        self._at_once = 0
        # The caller.
        self._stalls: list[tuple[int, int]] = []
        self._sound: Sound | None = None
        self._told_ms = 0
        self._streams: dict[tuple[int, int], str] = {}
        self._said = 0
        self._told: dict[int, set[str]] = {}
        self._failed: set[int] = set()
        self._turns = {0}
        # The agent.
        self._answers: list[Answer] = []
        self._late: set[str] = set()
        self._guarded = {"g0", "g1"} if settings.greeting_protected else set()
        self._guarded.add("farewell")
        self._flushed: set[int] = set()
        self._answered_upto = 0
        self._playout = RandomPlayout(rng, self._after, self._hand)

    def run(self) -> RandomCall:
        """The whole call."""
        self._plan()
        self._hand(ev.Connected())
        while self.session.state is not State.ENDED:
            deadline_ns = self.session.deadline_ns
            due_ns = self._queue[0][0] if self._queue else None
            if deadline_ns is not None and (due_ns is None or deadline_ns < due_ns):
                self._pass_to(deadline_ns)
                if self.now_ns > ms_to_ns(CALL_MS):
                    break
                self._time_out()
            elif due_ns is None:
                break
            else:
                at_ns, _, step = heapq.heappop(self._queue)
                self._pass_to(at_ns)
                step()
        self._check_end()
        return self

    # -- what happens -----------------------------------------------------------------

    def _plan(self) -> None:
        rng = self.rng
        at_ms = rng.choice((0, 300, 2000))
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            begin_ms = rng.randrange(SPEAKS_MS)
            self._stalls.append((begin_ms, begin_ms + rng.choice((100, 600, 3000))))
        while at_ms < SPEAKS_MS:
            at_ms += rng.choice((40, 90, 200, 300, 700, 2500)) + rng.randrange(100)
            length_ms = rng.choice((30, 40, 80, 150, 300, 600, 900, 3000)) + rng.randrange(30)
            self._plan_sound(at_ms, at_ms + length_ms)
            at_ms += length_ms + 100
        for _ in range(rng.choice((0, 0, 1, 4))):
            digit = rng.choice("0123456789*#!")
            self._at(rng.randrange(SPEAKS_MS), partial(self._hand, ev.Digit(digit, 80)))
        if rng.random() < 0.1:
            self._at(rng.randrange(SPEAKS_MS), partial(self._hand, ev.Hangup("caller_hung_up")))
        if self._end.random() < 0.25:
            self._at(self._end.randrange(2 * SPEAKS_MS), self._part)

    def _part(self) -> None:
        """The server is to stop; it may say so twice."""
        if self.session.state is not State.ENDED:
            self._farewell_ns = self.now_ns
        text = self._end.choice((GOODBYE, GOODBYE, GOODBYE, ""))
        self._farewell = text
        for _ in range(self._end.choice((1, 2))):
            self._hand(ev.Farewell(text))

    def _plan_sound(self, begin_ms: int, end_ms: int) -> None:
        rng = self.rng
        begin, end = begin_ms * 16, end_ms * 16
        voice = Voice(
            True,
            begin,
            begin,
            rng.choice((0.95, 0.9, 0.4)),
            rng.choice((0.0, 0.0, 0.0, 0.9)),
            rng.choice((-1, max(begin - 1600, 0), begin)),
            rng.choice((float("inf"), 8.0, 2.0)),
        )
        sound = Sound(begin, end, voice)
        lag_ms = rng.choice((2, 20, 40))
        self._tell_edge(begin_ms + 32, lag_ms, partial(self._edge, ev.SpeechOnset, sound))
        if end_ms - begin_ms >= 64:
            self._tell_edge(begin_ms + 64, lag_ms, partial(self._edge, ev.SpeechConfirmed, sound))
        released_ms = end_ms + rng.choice((32, 64, 96))
        self._tell_edge(released_ms, lag_ms, partial(self._edge, ev.SpeechReleased, sound))

    def _tell_edge(self, at_ms: int, lag_ms: int, step: Callable[[], None]) -> None:
        arrives_ms = max([at_ms, *(end for begin, end in self._stalls if begin <= at_ms < end)])
        self._told_ms = max(arrives_ms + lag_ms, self._told_ms)
        self._at(self._told_ms, step)

    def _edge(
        self, kind: type[ev.SpeechOnset | ev.SpeechConfirmed | ev.SpeechReleased], sound: Sound
    ) -> None:
        released = kind is ev.SpeechReleased
        self._sound = None if released else sound
        sample = sound.end if released else sound.begin
        self._hand(kind(sample, sample * NS_PER_S // HEAR_RATE_HZ, self._playout.played))

    def _time_out(self) -> None:
        now_ms = self.now_ns // NS_PER_MS
        reached_ms = min([now_ms, *(b for b, e in self._stalls if b <= now_ms < e)])
        heard = max(reached_ms - 20, 0) * 16
        voice, sound = NO_VOICE, self._sound
        if sound is not None:
            v = sound.voice
            loud_end = max(min(heard, sound.end), sound.begin)
            voice = Voice(True, v.onset, loud_end, v.confidence, v.echo, v.sound_from, v.change_db)
        self._hand(ev.Timeout(heard, self._playout.played, voice))

    # -- time -------------------------------------------------------------------------

    def _at(self, at_ms: float, step: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._queue, (ms_to_ns(at_ms), self._order, step))

    def _after(self, ms: float, step: Callable[[], None]) -> None:
        self._at(self.now_ns / NS_PER_MS + ms, step)

    def _pass_to(self, at_ns: int) -> None:
        if at_ns > self.now_ns:
            self._at_once = 0
            self.now_ns = at_ns
        self._at_once += 1
        assert self._at_once < _MOST_AT_ONCE, "it turns in circles"
        self._playout.pass_to(self.now_ns)

    def _hand(self, event: ev.Event) -> None:
        """As the driver: what an action causes at once comes after the actions before it."""
        self._inbox.append(event)
        if len(self._inbox) > 1:
            return
        while self._inbox:
            self.events += 1
            for action in self.session.handle(self._inbox[0], self.now_ns):
                self.log.append((self.now_ns, action))
                self._perform(action)
            self._inbox.pop(0)
            self._check()

    # -- rules ------------------------------------------------------------------------

    def _check(self) -> None:
        state = self.session.state
        self._turns.add(self.session.turn)
        playout = self._playout
        if playout.held:
            assert state in (State.PAUSING, State.YIELDING, State.ENDED), f"held while {state}"
        if state is State.YIELDING:
            assert playout.held or playout.played == playout.written, "not silent while it yields"
            assert self.session.deadline_ns is not None, "yields for ever"

    def _check_end(self) -> None:
        session = self.session
        users = [m.text for m in session.conversation if m.role == "user"]
        words = " ".join(users).split()
        once = [word for word in words if word[-1] == "."]
        assert len(once) == len(set(once)), f"said twice: {users}"
        messages = session.conversation.messages
        asked = [call.call_id for m in messages for call in m.tool_calls]
        answered = [after.tool_call_id for before, after in pairwise(messages) if before.tool_calls]
        assert asked == answered, f"calls {asked}, results behind them {answered}"
        assert len(asked) == len(set(asked)), f"told twice: {asked}"
        assert self._used <= set(asked), f"forgotten: {self._used - set(asked)}"
        if self._farewell_ns is not None:
            self._check_farewell(self._farewell_ns)
        if session.state is State.ENDED:
            return
        for turn in self._turns - self._failed:
            lost = self._told.get(turn, set()) - set(once)
            assert not lost, f"turn {turn} lost {lost}"
        assert session.state is State.LISTENING, f"left in {session.state}"
        assert not self._streams, f"nobody ends {self._streams}"
        assert not any(answer.live for answer in self._answers)
        assert self._answered_upto == len(users), f"unanswered: {users[self._answered_upto :]}"

    def _check_farewell(self, asked_ns: int) -> None:
        assert self.session.state is State.ENDED, f"left in {self.session.state}"
        ended_ns, ending = next((at, a) for at, a in self.log if isinstance(a, act.End))
        assert ended_ns <= asked_ns + ms_to_ns(PARTING_MS), "the goodbye took too long"
        after = [a for at, a in self.log if at > asked_ns and isinstance(a, act.StartReply)]
        assert not after, "an answer was begun for which there is no time"
        said = [a for _, a in self.log if isinstance(a, act.Speak) and a.text == GOODBYE]
        assert len(said) <= 1
        if self._farewell and ending.reason == "server_drained":
            assert self.session.conversation.messages[-1].text == GOODBYE, "it was not heard"
            self.heard_goodbye = True

    # -- actions ----------------------------------------------------------------------

    def _perform(self, action: act.Action) -> None:
        match action:
            case act.Hold():
                self._playout.hold()
            case act.Resume():
                self._playout.resume()
            case act.Flush():
                self._flushed.add(action.turn)
                self._inbox.append(ev.Flushed(action.turn, self._playout.flush()))
            case act.Listen():
                self._listen(action.turn, action.part)
            case act.FinishListening():
                self._finish(action.turn, action.part)
            case act.CancelListening():
                del self._streams[action.turn, action.part]
            case act.JudgePause():
                if self.rng.random() < 0.3:
                    scored = ev.TurnScored(action.turn, action.sample, self.rng.random())
                    self._after(self.rng.randrange(20, 300), partial(self._hand, scored))
            case act.StartReply():
                self._flushed.discard(action.turn)
                self._answer(action)
            case act.Speak():
                self._speak(action)
            case act.CancelReply():
                for answer in self._answers:
                    if answer.turn == action.turn:
                        answer.live = False

    def _listen(self, turn: int, part: int) -> None:
        key, rng = (turn, part), self.rng
        assert key not in self._streams
        self._said += 1
        text = rng.choice((*_SAID, f"w{self._said}.", f"w{self._said}. and more of it"))
        self._streams[key] = text

        def tell(event: ev.Event) -> None:
            if key in self._streams:
                if isinstance(event, ev.EngineFailed):
                    del self._streams[key]
                    self._failed.add(turn)
                self._hand(event)

        for _ in range(rng.randrange(3)):
            believed = ev.TranscriptPartial(turn, text[: rng.randrange(12)], part)
            self._after(rng.randrange(50, 1500), partial(tell, believed))
        if rng.random() < 0.05:
            failed = ev.EngineFailed(turn, "stt", "boom", part)
            self._after(rng.randrange(1500), partial(tell, failed))

    def _finish(self, turn: int, part: int) -> None:
        key = (turn, part)
        if key not in self._streams:
            return  # It has failed.

        def final() -> None:
            text = self._streams.pop(key, None)
            if text is not None:
                self._told.setdefault(turn, set()).update(w for w in text.split() if "." in w)
                self._hand(ev.TranscriptFinal(turn, text, part))

        self._after(self.rng.choice((10, 150, 150, 400, 2000)), final)

    def _answer_for(self, turn: int) -> Answer:
        answer = self._answers[-1] if self._answers else None
        if answer is None or answer.turn != turn or not answer.live:
            answer = Answer(len(self._answers), turn)
            self._answers.append(answer)
        return answer

    def _answer(self, action: act.StartReply) -> None:
        rng = self.rng
        answer = self._answer_for(action.turn)
        conversation = self.session.conversation
        drafted = conversation.with_draft(action.draft) if action.draft else conversation
        self._answered_upto = sum(m.role == "user" for m in drafted)
        at_ms = float(rng.choice((20, 100, 300, 1500)))
        pieces = rng.randrange(6)
        for i in range(pieces):
            text = f"a{answer.number}p{i} is what I say{rng.choice(('.', ',', '?'))} "
            guarded = rng.random() < 0.15
            if guarded:
                self._guarded.add(f"a{answer.number}p{i}")
            event: ev.Event = ev.ReplyText(action.turn, text, guarded)
            self._after(at_ms, partial(self._tell, answer, event))
            if self._tools.random() < 0.15:
                event = ev.ToolsUsed(action.turn, _exchange(f"t{answer.number}p{i}"))
                self._after(at_ms, partial(self._tell, answer, event, kept=not action.draft))
            at_ms += rng.choice((5, 50, 400))
        end: ev.Event = ev.ReplyEnd(action.turn)
        if rng.random() < 0.06:
            end = ev.EngineFailed(action.turn, "llm", "boom")
        self._after(at_ms, partial(self._tell, answer, end))

    def _tell(self, answer: Answer, event: ev.Event, kept: bool = False) -> None:
        """What comes late is told too, as long as no newer answer has the same number."""
        if not answer.live:
            if self._answers[-1].turn == answer.turn and self._answers[-1] is not answer:
                return
            if isinstance(event, ev.EngineFailed | ev.SpeechQueued):
                return
            if isinstance(event, ev.ReplyText):
                self._late.add(event.text.split()[0])
        if kept and isinstance(event, ev.ToolsUsed) and self.session.state is not State.ENDED:
            self._used.add(event.exchange.messages[0].tool_calls[0].call_id)
        self._hand(event)

    def _speak(self, action: act.Speak) -> None:
        rng = self.rng
        assert action.turn not in self._flushed or action.canned, "a cut answer speaks"
        assert not self._late & set(action.text.split()), "a late text is spoken"
        answer = self._answer_for(action.turn)
        if action.canned:
            self._answered_upto = sum(m.role == "user" for m in self.session.conversation)
        begin_ns = max(answer.voice_at_ns, self.now_ns)
        begin_ns += ms_to_ns(rng.choice((10, 80, 300)))
        answer.voice_at_ns = begin_ns
        fails = not action.canned and rng.random() < 0.03

        def synthesised() -> None:
            if not answer.live:
                return
            if fails:
                self._hand(ev.EngineFailed(action.turn, "tts", "boom"))
                return
            self._write(action)
            self._hand(ev.SegmentEnd(action.turn, action.segment))

        self._after((begin_ns - self.now_ns) / NS_PER_MS, synthesised)

    def _write(self, action: act.Speak) -> None:
        words, start = [], 0
        for i, word in enumerate(action.text.split()):
            begin = action.text.index(word, start)
            start = begin + len(word)
            words.append(Word(begin, start, i * _WORD))
        samples, marks = len(words) * _WORD, tuple(words)
        protected = bool(self._guarded & set(action.text.split()))
        position = self._playout.write(samples, protected=protected)
        self._hand(ev.SpeechQueued(action.turn, action.segment, position, samples, marks))


def _exchange(call_id: str) -> ToolExchange:
    call = ToolCall(call_id, "look", "{}")
    result = Message("tool", "found", tool_call_id=call_id)
    return ToolExchange((Message("assistant", "", tool_calls=(call,)), result))
