"""A call as a pure state machine: events in, actions out.

:class:`Session` decides and performs nothing. The driver hands it events with
the current monotonic time, performs the actions it returns, in order, and
calls again with :class:`~voicecore.core.events.Timeout` when
:attr:`Session.deadline_ns` is reached. One session belongs to one call and to
one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation, Message
from voicecore.core.reply import Reply
from voicecore.core.turn_clock import TurnClock
from voicecore.core.turn_table import TABLE, State
from voicecore.core.units import HEAR_RATE_HZ, ms_to_ns, ms_to_samples, samples_to_ns
from voicecore.errors import MisuseError

_PROGRESS_MS = 500
"""How often a speaking agent's progress is told to the client."""

_TAIL_MS = 200
"""Silence after the last word that a recogniser gets: it settles the last phonemes."""

_MEDIA_SLACK_MS = 64
"""What was judged of the caller's audio may lag the clock by a packet, a VAD frame and the
wait for a batch, not by more."""

_RECHECK_MS = (10, 40)
"""After a pause that was long enough on the clock: what is missing of it is awaited, but not
less than the first, and not more than the second, since after a stall all comes at once."""

_STALL_CAP_MS = 2000
"""A stalled network holds a turn open no longer than this."""

_WATCH_MS = 500
"""How often is looked whether a caller who speaks still arrives."""

_FAILURES = {
    "stt": "The speech recogniser failed; please say that again.",
    "llm": "The language model failed; please ask again.",
    "tts": "The voice failed; please ask again.",
}


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """How turns are taken. All in ms; see ``voicecore.service.config`` for defaults."""

    silence_ms: int = 480
    preroll_ms: int = 320
    greeting: str = ""
    apology: str = "Sorry, something went wrong on my side. Please say that again."


class Session:
    """One call's turn-taking.

    ``play_rate_hz``: rate of all playout positions it is given.
    """

    def __init__(
        self, settings: TurnSettings, conversation: Conversation, *, play_rate_hz: int
    ) -> None:
        self.state = State.CONNECTING
        self.conversation = conversation
        self.turn = 0
        self.deadline_ns: int | None = None
        self.stale_events = 0
        self._settings = settings
        self._play_rate_hz = play_rate_hz
        self._reply: Reply | None = None
        self._cut: Reply | None = None
        self._unanswered = False
        self._awaited: set[int] = set()
        self._stt_failed: set[int] = set()
        self._pause: tuple[int, int] | None = None
        self._arrived = (0, 0)
        self._listened_to = 0
        self._clock: TurnClock | None = None
        self._drained_at = -1

    def handle(self, event: ev.Event, now_ns: int) -> list[act.Action]:
        """Take ``event`` at ``now_ns`` (monotonic); return what to do.

        Raises :class:`~voicecore.errors.MisuseError` on an event that the
        transition table does not allow in the current state.
        """
        row = TABLE.get((self.state, type(event)))
        if row is None:
            raise MisuseError(
                f"{type(event).__name__} is not possible while {self.state.value}",
                code="illegal_event",
            )
        handler_name, leads_to = row
        handler: Callable[[ev.Event, int], list[act.Action]] = getattr(self, handler_name)
        before = self.state
        actions = handler(event, now_ns)
        if self.state not in leads_to:
            raise AssertionError(f"{handler_name} led from {before.value} to {self.state.value}")
        if self.state is not before:
            actions.append(act.Notify("state", {"state": self.state.value}))
        return actions

    # -- call ---------------------------------------------------------------

    def on_connected(self, event: ev.Connected, now_ns: int) -> list[act.Action]:
        """Greet, or wait for the caller's first words."""
        self.state = State.LISTENING
        if not self._settings.greeting:
            return []
        self.state = State.THINKING
        reply = self._reply = Reply(self.turn, self._play_rate_hz, None)
        return [
            *reply.add_text(self._settings.greeting),
            *reply.end_text(),
            act.Notify("agent", {"turn": self.turn, "text": reply.text}),
        ]

    def on_hangup(self, event: ev.Hangup, now_ns: int) -> list[act.Action]:
        """The call is over."""
        self.state = State.ENDED
        self.deadline_ns = None
        return [act.Notify("bye", {"reason": event.reason}), act.End(event.reason)]

    def ignore(self, event: ev.Event, now_ns: int) -> list[act.Action]:
        """Nothing to do in this state."""
        return []

    def on_stale(self, event: ev.Event, now_ns: int) -> list[act.Action]:
        """Something of a turn that is over: counted, never spoken."""
        self.stale_events += 1
        return []

    # -- the caller's voice ---------------------------------------------------

    def on_turn_begins(self, event: ev.SpeechConfirmed, now_ns: int) -> list[act.Action]:
        """The caller takes the floor."""
        self.state = State.HEARING
        self.turn += 1
        self._watch(event.sample, now_ns)
        preroll = ms_to_samples(self._settings.preroll_ms, HEAR_RATE_HZ)
        # What an earlier utterance already took is not heard twice.
        from_sample = max(event.sample - preroll, self._listened_to, 0)
        return [act.Listen(self.turn, from_sample)]

    def on_pause_over(
        self, event: ev.SpeechOnset | ev.SpeechConfirmed, now_ns: int
    ) -> list[act.Action]:
        """The caller goes on: it was a pause."""
        self._watch(event.sample, now_ns)
        return []

    def on_pause(self, event: ev.SpeechReleased, now_ns: int) -> list[act.Action]:
        """The caller's voice ended; wait whether he goes on."""
        self._pause = (event.sample, event.at_ns)
        self.deadline_ns = event.at_ns + ms_to_ns(self._settings.silence_ms)
        return []

    def on_hearing_timeout(self, event: ev.Timeout, now_ns: int) -> list[act.Action]:
        """The pause was long enough, if it really was silence that arrived."""
        if self.deadline_ns is None or now_ns < self.deadline_ns:
            return []
        if self._pause is None:
            return self._on_watch(event.media_sample, now_ns)
        sample, at_ns = self._pause
        silence_ms = self._settings.silence_ms
        enough = ms_to_samples(silence_ms - _MEDIA_SLACK_MS, HEAR_RATE_HZ)
        missing = sample + enough - event.media_sample
        if missing > 0 and now_ns < at_ns + ms_to_ns(silence_ms + _STALL_CAP_MS):
            least_ns, most_ns = (ms_to_ns(ms) for ms in _RECHECK_MS)
            wait_ns = samples_to_ns(missing, HEAR_RATE_HZ)
            self.deadline_ns = now_ns + min(max(wait_ns, least_ns), most_ns)
            return []
        return self._end_of_turn(sample, at_ns, now_ns)

    def _watch(self, sample: int, now_ns: int) -> None:
        """The caller speaks; what was heard of him reaches ``sample`` or beyond."""
        self._pause = None
        self._arrived = (sample, now_ns)
        self.deadline_ns = now_ns + ms_to_ns(_WATCH_MS)

    def _on_watch(self, sample: int, now_ns: int) -> list[act.Action]:
        """A stall in the middle of a word tells no pause: it is seen here."""
        reached, since_ns = self._arrived
        end_ns = since_ns + ms_to_ns(self._settings.silence_ms + _STALL_CAP_MS)
        if sample > reached:
            self._watch(sample, now_ns)
        elif now_ns < end_ns:
            self.deadline_ns = min(now_ns + ms_to_ns(_WATCH_MS), end_ns)
        else:
            return self._end_of_turn(reached, since_ns, now_ns)
        return []

    def _end_of_turn(self, sample: int, at_ns: int, now_ns: int) -> list[act.Action]:
        self.state = State.THINKING
        self._pause = self.deadline_ns = None
        self._clock = TurnClock(at_ns)
        self._clock.mark("endpoint", now_ns)
        self._listened_to = sample + ms_to_samples(_TAIL_MS, HEAR_RATE_HZ)
        if self.turn in self._stt_failed:
            return self._apologise_for_hearing()
        self._awaited.add(self.turn)
        return [act.FinishListening(self.turn, self._listened_to)]

    def on_barge_in(self, event: ev.SpeechConfirmed, now_ns: int) -> list[act.Action]:
        """The caller takes the floor from the agent: stop, cancel, listen, remember."""
        actions: list[act.Action] = []
        reply, self._reply = self._reply, None
        if reply is not None:
            self._cut = reply
            actions += [act.Flush(reply.turn), act.CancelReply(reply.turn)]
            if self.state is State.SPEAKING:
                actions += [
                    act.RecordBargeIn(),
                    act.Notify("barge_in", {"turn": reply.turn}),
                ]
        return actions + self.on_turn_begins(event, now_ns)

    def on_flushed(self, event: ev.Flushed, now_ns: int) -> list[act.Action]:
        """Playback has stopped: what was heard by now is what was said."""
        reply, self._cut = self._cut, None
        if reply is None or reply.turn != event.turn:
            return []
        return self._remember(reply, event.position)

    # -- the recogniser ---------------------------------------------------------

    def on_partial(self, event: ev.TranscriptPartial, now_ns: int) -> list[act.Action]:
        """Show what is being understood."""
        if event.turn != self.turn:
            self.stale_events += 1
            return []
        return [act.Notify("transcript", _transcript(event.turn, event.text, final=False))]

    def on_final(self, event: ev.TranscriptFinal, now_ns: int) -> list[act.Action]:
        """The words of a turn are known: answer, if it is the caller's last."""
        if event.turn not in self._awaited:
            self.stale_events += 1
            return []
        self._awaited.discard(event.turn)
        text = event.text.strip()
        if text:
            self.conversation.add(Message("user", text))
            self._unanswered = True
        if self._clock is not None and event.turn == self.turn:
            self._clock.mark("stt", now_ns)
        shown = act.Notify("transcript", _transcript(event.turn, text, final=True))
        if self.state is not State.THINKING or self._awaited or self._reply is not None:
            return [shown]
        if not self._unanswered:
            self.state = State.LISTENING
            return [shown]
        self._reply = Reply(self.turn, self._play_rate_hz, self._clock)
        # Asking comes first: showing can wait a microsecond, the caller can't.
        return [act.StartReply(self.turn), shown]

    # -- the answer ---------------------------------------------------------------

    def on_reply_text(self, event: ev.ReplyText, now_ns: int) -> list[act.Action]:
        """Speak each clause as soon as it is complete."""
        reply = self._current(event.turn)
        if reply is None:
            return []
        self._mark(reply, "llm", now_ns)
        return [
            *reply.add_text(event.text),
            act.Notify("agent", {"turn": reply.turn, "text": reply.text}),
        ]

    def on_reply_end(self, event: ev.ReplyEnd, now_ns: int) -> list[act.Action]:
        """Speak what is left."""
        reply = self._current(event.turn)
        if reply is None:
            return []
        return [*reply.end_text(), *self._finish_if_played(reply)]

    def on_speech_queued(self, event: ev.SpeechQueued, now_ns: int) -> list[act.Action]:
        """Note where the words lie in the playout."""
        reply = self._current(event.turn)
        if reply is not None:
            self._mark(reply, "tts", now_ns)
            reply.ledger.add_audio(event.segment, event.position, event.samples, list(event.words))
        return []

    def on_segment_end(self, event: ev.SegmentEnd, now_ns: int) -> list[act.Action]:
        """A clause has all its audio."""
        reply = self._current(event.turn)
        if reply is None:
            return []
        reply.ledger.close_segment(event.segment)
        return self._finish_if_played(reply)

    def on_playout_started(self, event: ev.PlayoutStarted, now_ns: int) -> list[act.Action]:
        """The first packet of the answer is out."""
        reply = self._reply
        if reply is None:
            return []
        self.state = State.SPEAKING
        self.deadline_ns = now_ns + ms_to_ns(_PROGRESS_MS)
        clock = reply.clock
        if clock is None or clock.complete:
            return []
        clock.mark("packet", now_ns)
        return [
            act.RecordTurn(clock.durations()),
            act.Notify("latency", {"turn": reply.turn, **clock.milliseconds()}),
        ]

    def on_progress_timeout(self, event: ev.Timeout, now_ns: int) -> list[act.Action]:
        """Tell how much of the answer was played."""
        reply = self._reply
        if reply is None or self.deadline_ns is None or now_ns < self.deadline_ns:
            return []
        self.deadline_ns = now_ns + ms_to_ns(_PROGRESS_MS)
        chars = reply.ledger.heard_chars(event.played)
        if chars == reply.told_chars:
            return []
        reply.told_chars = chars
        return [act.Notify("heard", {"turn": reply.turn, "chars": chars})]

    def on_drained(self, event: ev.PlayoutDrained, now_ns: int) -> list[act.Action]:
        """Everything queued was played; perhaps that was all."""
        self._drained_at = event.position
        return [] if self._reply is None else self._finish_if_played(self._reply)

    def on_engine_failed(self, event: ev.EngineFailed, now_ns: int) -> list[act.Action]:
        """Apologise for this turn; the call lives."""
        actions: list[act.Action] = [
            act.RecordFailure(event.stage, event.code),
            act.Notify("error", {"code": event.code, "message": _FAILURES[event.stage]}),
        ]
        if event.stage == "stt":
            return actions + self._hearing_failed(event.turn)
        reply = self._reply
        if reply is None or reply.turn != event.turn:
            return actions
        if event.stage == "tts":
            actions.append(act.CancelReply(reply.turn))
            reply.abandon_audio()
        reply.give_up_text()
        return actions + self._apologise(reply)

    # -- shared -----------------------------------------------------------------

    def _hearing_failed(self, turn: int) -> list[act.Action]:
        if turn in self._awaited:
            self._awaited.discard(turn)
            if turn == self.turn and self.state is State.THINKING and self._reply is None:
                return self._apologise_for_hearing()
        elif turn == self.turn and self.state is State.HEARING:
            # The caller still speaks: let him finish, then say so.
            self._stt_failed = {turn}
        return []

    def _apologise_for_hearing(self) -> list[act.Action]:
        self._stt_failed.clear()
        reply = self._reply = Reply(self.turn, self._play_rate_hz, None)
        reply.give_up_text()
        return self._apologise(reply)

    def _apologise(self, reply: Reply) -> list[act.Action]:
        speak = reply.apologise(self._settings.apology)
        return [speak, act.Notify("agent", {"turn": reply.turn, "text": reply.text})]

    def _current(self, turn: int) -> Reply | None:
        if self._reply is not None and self._reply.turn == turn:
            return self._reply
        self.stale_events += 1
        return None

    def _mark(self, reply: Reply, stage: str, now_ns: int) -> None:
        if reply.clock is not None:
            reply.clock.mark(stage, now_ns)

    def _finish_if_played(self, reply: Reply) -> list[act.Action]:
        if not reply.finished(self._drained_at):
            return []
        self._reply = None
        self.state = State.LISTENING
        self.deadline_ns = None
        return [act.CancelReply(reply.turn), *self._remember(reply, self._drained_at)]

    def _remember(self, reply: Reply, played: int) -> list[act.Action]:
        message = reply.as_heard(played)
        if message.text:
            self.conversation.add(message)
            self._unanswered = False
        return [
            act.Notify(
                "agent_done",
                {
                    "turn": reply.turn,
                    "text": reply.text,
                    "heard": message.text,
                    "unheard": message.unheard,
                    "interrupted": message.interrupted,
                },
            )
        ]


def _transcript(turn: int, text: str, *, final: bool) -> dict[str, object]:
    return {"turn": turn, "text": text, "final": final}
