"""A call's session in virtual time: a script of events, a log of actions."""

from __future__ import annotations

import math

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation
from voicecore.core.session import Session
from voicecore.core.state import State
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import HEAR_RATE_HZ, ms_to_ns, ms_to_samples
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.core.word_times import Word

PLAY_HZ = 24_000
PLAIN = {"endpoint": "fixed", "speculate": False, "bargein_policy": "immediate"}
"""The simplest policies: a fixed silence ends a turn, any speech interrupts."""


class ScriptedCall:
    """Drives a session as the real driver does, with the clock in the test's hand.

    The caller's audio arrives without delay: position = time at 16 kHz. Policies are
    the simplest ones unless ``settings`` name others. ``confidence``, ``echo`` and
    ``change_db`` are what a look at the caller's voice shows, and that it begins ``leads_ms``
    before the gate opens; from ``stalled_from_ms`` on nothing of him arrives.
    """

    def __init__(self, **settings: object) -> None:
        self.session = Session(
            TurnSettings(**{**PLAIN, **settings}),  # type: ignore[arg-type]
            Conversation(),
            play_rate_hz=PLAY_HZ,
        )
        self.now_ms = 0.0
        self.played = 0
        self.written = 0
        self.actions: list[act.Action] = []
        self.held = False
        self.confidence = 0.9
        self.echo = 0.0
        self.change_db = math.inf
        self.leads_ms = 0.0
        self.stalled_from_ms = math.inf
        self._voice_from: int | None = None
        self.send(ev.Connected())

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(m.role, m.text) for m in self.session.conversation]

    def send(self, event: ev.Event) -> list[act.Action]:
        done = self.session.handle(event, ms_to_ns(self.now_ms))
        self.actions += done
        for action in done:
            if isinstance(action, act.Flush):
                self.held = False
                self.written = self.played
                done = done + self.send(ev.Flushed(action.turn, self.played))
            elif isinstance(action, act.Hold):
                self.held = True
            elif isinstance(action, act.Resume):
                self.held = False
        return done

    def at(self, now_ms: float) -> ScriptedCall:
        """Let time pass to ``now_ms``; timers fire on the way."""
        while True:
            deadline_ns = self.session.deadline_ns
            if deadline_ns is None or deadline_ns > ms_to_ns(now_ms):
                break
            self.now_ms = max(self.now_ms, deadline_ns / 1e6)
            heard = ms_to_samples(min(self.now_ms, self.stalled_from_ms), HEAR_RATE_HZ)
            self.send(ev.Timeout(heard, self.played, self._voice(heard)))
        self.now_ms = now_ms
        return self

    def onset(self, from_ms: float | None = None) -> list[act.Action]:
        edge = self._edge(from_ms)
        self._voice_from = edge[0]
        return self.send(ev.SpeechOnset(*edge))

    def confirm(self, from_ms: float | None = None) -> list[act.Action]:
        edge = self._edge(from_ms)
        self._voice_from = edge[0]
        return self.send(ev.SpeechConfirmed(*edge))

    def release(self, at_ms: float | None = None) -> list[act.Action]:
        self._voice_from = None
        return self.send(ev.SpeechReleased(*self._edge(at_ms)))

    def caller_speaks(self, begin_ms: float, end_ms: float) -> None:
        """A voice from ``begin_ms`` to ``end_ms``, with the edges as the gate tells them."""
        self.at(begin_ms + 32).onset(begin_ms)
        if end_ms - begin_ms >= 64:
            self.at(begin_ms + 64).confirm(begin_ms)
        self.at(end_ms + 64).release(end_ms)

    def understand(self, text: str) -> list[act.Action]:
        """The recogniser gives the final text it was asked for last."""
        asked = self.of(act.FinishListening)[-1]
        assert isinstance(asked, act.FinishListening)
        return self.send(ev.TranscriptFinal(asked.turn, text, asked.part))

    def _edge(self, at_ms: float | None) -> tuple[int, int, int]:
        at_ms = self.now_ms if at_ms is None else at_ms
        return ms_to_samples(at_ms, HEAR_RATE_HZ), ms_to_ns(at_ms), self.played

    def _voice(self, heard: int) -> Voice:
        if self._voice_from is None:
            return NO_VOICE
        onset = self._voice_from
        sound_from = onset - ms_to_samples(self.leads_ms, HEAR_RATE_HZ)
        return Voice(
            True, onset, heard, self.confidence, self.echo, sound_from, change_db=self.change_db
        )

    def caller_says(self, text: str, begin_ms: float, end_ms: float) -> None:
        """A whole turn: speech from ``begin_ms`` to ``end_ms``, the pause, the final."""
        self.at(begin_ms).onset()
        self.at(begin_ms + 64).confirm(begin_ms)
        self.at(end_ms).release()
        self.at(end_ms + 480)
        self.send(ev.TranscriptFinal(self.session.turn, text))

    def reply(self, text: str, *, samples_per_word: int = 2400, protected: bool = False) -> None:
        """The model writes ``text`` and the voice queues all of it, word by word."""
        turn = self.session.turn
        self.speak(self.send(ev.ReplyText(turn, text, protected)), samples_per_word)
        self.speak(self.send(ev.ReplyEnd(turn)), samples_per_word)

    def speak(self, actions: list[act.Action], samples_per_word: int = 2400) -> None:
        """Synthesise every Speak action, each word ``samples_per_word`` long."""
        for action in actions:
            if not isinstance(action, act.Speak):
                continue
            words, start = [], 0
            for i, word in enumerate(action.text.split()):
                begin = action.text.index(word, start)
                start = begin + len(word)
                words.append(Word(begin, start, i * samples_per_word))
            samples = len(words) * samples_per_word
            self.send(
                ev.SpeechQueued(action.turn, action.segment, self.written, samples, tuple(words))
            )
            self.written += samples
            self.send(ev.SegmentEnd(action.turn, action.segment))

    def play_to(self, position: int) -> None:
        """The ring hands out samples up to ``position``."""
        if self.played == self.written:
            return
        assert not self.held, "what is held is not played"
        self.send(ev.PlayoutStarted())
        self.played = min(position, self.written)
        if self.played == self.written:
            self.send(ev.PlayoutDrained(self.played))

    def kinds(self, done: list[act.Action] | None = None) -> list[type[act.Action]]:
        """What was done (all in all), without what was told."""
        actions = self.actions if done is None else done
        return [type(action) for action in actions if not isinstance(action, act.Notify)]

    def of(self, kind: type[act.Action]) -> list[act.Action]:
        return [action for action in self.actions if isinstance(action, kind)]

    def notes(self, kind: str) -> list[dict[str, object]]:
        return [
            dict(a.fields) for a in self.actions if isinstance(a, act.Notify) and a.kind == kind
        ]
