"""A caller behind a network that stalls: nothing comes for a while, then all of it at once.

The session, the speech gate and the media clock together, in virtual time. Packets of 20 ms
take 5 ms; what is sent during a stall arrives at its end. Frames are judged 10 ms after they
arrived, and the session's timer may fire in between.
"""

from __future__ import annotations

import itertools

import pytest

from voicecore._native.speech_gate import BLOCK_SAMPLES, MediaClock, SpeechGate
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation
from voicecore.core.session import Session
from voicecore.core.speech_gate import EDGE_KINDS, EdgeKind
from voicecore.core.state import State
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import HEAR_RATE_HZ, ms_to_ns

SILENCE_MS = 480
STEP_MS = 5
PACKET_MS = 20
DELAY_MS = 5
JUDGE_MS = 10
FRAME = 512
EVENTS = {
    EdgeKind.ONSET: ev.SpeechOnset,
    EdgeKind.CONFIRMED: ev.SpeechConfirmed,
    EdgeKind.RELEASED: ev.SpeechReleased,
}
Spans = list[tuple[int, int]]


class Line:
    """One caller, who speaks in ``speech`` (ms) through a network that stalls in ``stalls``."""

    def __init__(self, speech: Spans, stalls: Spans, *, sends_until_ms: int = 1 << 30) -> None:
        self.session = Session(
            TurnSettings(endpoint="fixed", silence_ms=SILENCE_MS, speculate=False),
            Conversation(),
            play_rate_hz=24_000,
        )
        self.session.handle(ev.Connected(), 0)
        self.ends_ms: list[int] = []
        self.turn_ends_at_ms: list[float] = []
        self._speech = speech
        self._stalls = stalls
        self._sends_until_ms = sends_until_ms
        self._gate = SpeechGate()
        self._clock = MediaClock(HEAR_RATE_HZ)
        self._sent = 0
        self._waiting: list[tuple[int, int]] = []
        self._position = 0

    def run(self, until_ms: int) -> Line:
        for now_ms in range(0, until_ms, STEP_MS):
            self._receive(now_ms)
            deadline_ns = self.session.deadline_ns
            if deadline_ns is not None and deadline_ns <= ms_to_ns(now_ms):
                self._send(ev.Timeout(self._gate.position, 0), now_ms)
            self._judge(now_ms)
        return self

    def _arrival(self, sent_ms: int) -> int:
        return next((end for begin, end in self._stalls if begin <= sent_ms < end), sent_ms)

    def _receive(self, now_ms: int) -> None:
        while self._sent < self._sends_until_ms:
            due_ms = self._arrival(self._sent + PACKET_MS) + DELAY_MS
            if due_ms > now_ms:
                return
            self._sent += PACKET_MS
            self._position = self._sent * 16
            self._clock.observe(self._position, ms_to_ns(now_ms))
            self._waiting.append((now_ms + JUDGE_MS, self._position))

    def _judge(self, now_ms: int) -> None:
        if not self._waiting or self._waiting[0][0] > now_ms:
            return
        ready = [position for due, position in self._waiting if due <= now_ms]
        self._waiting = [entry for entry in self._waiting if entry[0] > now_ms]
        while ready and self._gate.position + FRAME <= ready[-1]:
            start = self._gate.position
            blocks = range(start, start + FRAME, BLOCK_SAMPLES)
            loud = [self._speaks((at + BLOCK_SAMPLES / 2) / 16) for at in blocks]
            score = 0.95 if sum(loud) >= 2 else 0.02
            powers = [1e-2 if is_loud else 1e-6 for is_loud in loud]
            for kind, sample in self._gate.push(score, start, start + FRAME, powers):
                event = EVENTS[EDGE_KINDS[kind]](sample, self._clock.time_of(sample))
                self._send(event, now_ms)

    def _speaks(self, at_ms: float) -> bool:
        return any(begin <= at_ms < end for begin, end in self._speech)

    def _send(self, event: ev.Event, now_ms: int) -> None:
        for action in self.session.handle(event, ms_to_ns(now_ms)):
            if isinstance(action, act.FinishListening):
                self.ends_ms.append(now_ms)
                self.turn_ends_at_ms.append(action.to_sample / 16)


def test_without_a_stall_a_turn_ends_after_its_silence() -> None:
    line = Line([(1000, 2000)], []).run(4000)
    assert line.ends_ms == [pytest.approx(2000 + SILENCE_MS + DELAY_MS, abs=STEP_MS)]


@pytest.mark.parametrize("stall_ms", [200, 500, 1900])
def test_a_stall_anywhere_splits_no_turn(stall_ms: int) -> None:
    # Speech, a pause just short of the end of a turn, and speech again.
    speech = [(1000, 2000), (2400, 3000)]
    for begin in range(1000, 3400, 60):
        line = Line(speech, [(begin, begin + stall_ms)]).run(5500)
        (ended_ms,) = line.ends_ms
        # When the silence was there: as it was without the stall, or as soon as it came.
        came_ms = 3000 + SILENCE_MS + DELAY_MS
        if begin < came_ms < begin + stall_ms + DELAY_MS:
            came_ms = begin + stall_ms + DELAY_MS
        assert came_ms - 80 <= ended_ms <= came_ms + 60, f"stall at {begin} ms"
        assert line.turn_ends_at_ms[0] == pytest.approx(3200, abs=16)


def test_many_stalls_split_no_turn() -> None:
    speech = [(1000, 2000), (2400, 3000), (3300, 4000), (4400, 5000)]
    stalls = [(begin, begin + 500) for begin in range(1100, 5600, 700)]
    line = Line(speech, stalls).run(9000)
    assert len(line.ends_ms) == 1
    assert 5000 + SILENCE_MS <= line.ends_ms[0] <= 6000


def test_words_behind_the_end_of_a_stall_belong_to_the_turn() -> None:
    # He went on while the network stalled; its end and the timer come at the same time.
    for begin, length in itertools.product(range(2040, 2400, 30), range(480, 560, 10)):
        line = Line([(1000, 2000), (2300, 3000)], [(begin, begin + length)]).run(3600)
        assert len(line.ends_ms) == 1, f"stall of {length} ms at {begin} ms"
        assert line.ends_ms[0] > 3000


@pytest.mark.parametrize("last_ms", [1500, 2000, 2200, 2400])
def test_a_network_that_stays_away_ends_the_turn_after_all(last_ms: int) -> None:
    # In the middle of a word, at its end, in the pause.
    line = Line([(1000, 2000)], [], sends_until_ms=last_ms).run(8000)
    assert line.session.state is State.THINKING
    (ended_ms,) = line.ends_ms
    stalled_ms = ended_ms - min(last_ms, 2000)
    assert 1500 <= stalled_ms <= SILENCE_MS + 2000 + 300
    assert line.turn_ends_at_ms[0] <= last_ms + 200


def test_a_long_speech_is_not_taken_for_a_stall() -> None:
    assert Line([(1000, 20_000)], []).run(20_000).ends_ms == []
