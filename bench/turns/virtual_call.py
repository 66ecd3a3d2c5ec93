"""A call in virtual time: the real session and the real playout, a caller from ``listening``.

The agent speaks from the beginning, as a greeting, in G.711: what is sent can be decoded to the
very sample. Packets leave every 20 ms, ``phase_ns`` behind the caller's; the network takes no
time. Edges, looks at the voice and texts come when a server would have them. Time 0 is the
caller's first sample.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from turns.listening import PACKET_SAMPLES, Heard, HeardFrame
from voicecore._native.g711 import ulaw_decode, ulaw_encode
from voicecore._native.outbound import DRAINED, STARTED, Outbound
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation
from voicecore.core.session import Session
from voicecore.core.speech_gate import EdgeKind
from voicecore.core.state import State
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import NS_PER_MS
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.core.word_times import Word
from voicecore.service.sound import LOOK_BEFORE, LOOK_MOST, look_at
from voicecore.service.speech_energy import EnergyMeter

PLAY_HZ = 8000
PACKET_NS = 20 * NS_PER_MS
FRAME = PLAY_HZ // 50
FINAL_MS = 150.0
"""From asking the recogniser for its final text to having it."""

_HEADER_BYTES = 12
_EVENTS: dict[EdgeKind, type[ev.SpeechOnset | ev.SpeechConfirmed | ev.SpeechReleased]] = {
    EdgeKind.ONSET: ev.SpeechOnset,
    EdgeKind.CONFIRMED: ev.SpeechConfirmed,
    EdgeKind.RELEASED: ev.SpeechReleased,
}

Pcm = NDArray[np.int16]


@dataclass(frozen=True)
class AgentSpeech:
    """What the agent says: ``pcm`` at 8 kHz, and where its words lie in ``text``.

    ``cuts``: the same for a synthesiser that doesn't tell it, to part the clauses by.
    """

    text: str
    pcm: Pcm = field(repr=False)
    words: tuple[Word, ...] = ()
    cuts: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Sent:
    """A packet: when it left, its samples as the far end decodes them."""

    at_ns: int
    pcm: Pcm = field(repr=False)


@dataclass(frozen=True)
class SaidSoFar:
    """The words of the caller's that a recogniser has at ``at_ns``."""

    at_ns: int
    text: str


class VirtualCall:
    """One run: make it, then :meth:`run` once; what happened is in the lists.

    ``before_ms``: how long the agent has spoken when the caller's audio begins.
    ``final_text``: what the recogniser understands finally, whenever it is asked.
    """

    def __init__(
        self,
        settings: TurnSettings,
        heard: Heard,
        speech: AgentSpeech,
        *,
        pcm: Pcm | None = None,
        texts: Sequence[SaidSoFar] = (),
        final_text: str = "",
        phase_ns: int = 0,
        before_ms: float = 1000.0,
    ) -> None:
        self.sent: list[Sent] = []
        self.log: list[tuple[int, act.Action]] = []
        self.session = Session(
            replace(settings, greeting=speech.text), Conversation(), play_rate_hz=PLAY_HZ
        )
        self._outbound = Outbound(
            codec="pcmu", payload_type=0, ssrc=1, sequence=0, timestamp=0, rate_hz=PLAY_HZ,
            capacity_ms=120_000,
        )  # fmt: skip
        self._speech = speech
        self._cuts = speech.words or speech.cuts
        self._spoken = self._said = 0
        self._pcm = pcm
        self._edges = deque(heard.edges)
        self._frames: deque[HeardFrame] = deque(heard.frames)
        self._judged = 0
        self._voice = NO_VOICE
        self._texts = deque(texts)
        self._final_text = final_text
        self._text = ""
        self._listening: tuple[int, int] | None = None
        self._finals: list[tuple[int, tuple[int, int]]] = []
        self._tick_ns = phase_ns % PACKET_NS - round(before_ms * NS_PER_MS)
        self._scores: list[float] = []

    # -- what happened ------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Of the session."""
        return self.session.state

    def times(self, kind: type[act.Action]) -> list[int]:
        """When the session asked for it."""
        return [at_ns for at_ns, action in self.log if isinstance(action, kind)]

    @property
    def interrupted_ns(self) -> int | None:
        """When the interruption was decided; None: it was not."""
        for at_ns, action in self.log:
            if isinstance(action, act.RecordBargeIn):
                return at_ns
        return None

    @property
    def played_out(self) -> bool:
        """Whether the agent has said all it had to say."""
        return self.state is State.LISTENING and self._outbound.queued == 0

    @property
    def heard_text(self) -> str:
        """The agent's words that the conversation holds."""
        said = [m.text for m in self.session.conversation if m.role == "assistant"]
        return said[0] if said else ""

    @property
    def coded(self) -> Pcm:
        """What the agent has to say, as the far end decodes it."""
        return ulaw_decode(ulaw_encode(self._speech.pcm))

    def played(self) -> Pcm:
        """All samples that the far end played, silence included."""
        return np.concatenate([packet.pcm for packet in self.sent])

    # -- the run ------------------------------------------------------------------------

    def run(self, until: Callable[[VirtualCall], bool], *, most_ms: float = 60_000.0) -> None:
        """Go on until ``until(self)``, asked after each packet, or for ``most_ms``."""
        now_ns = self._tick_ns
        self._hand(ev.Connected(), now_ns)
        while now_ns < most_ms * NS_PER_MS:
            now_ns, step = self._next()
            step(now_ns)
            if step == self._send and until(self):
                return

    def _next(self) -> tuple[int, Callable[[int], None]]:
        steps: list[tuple[int, int, Callable[[int], None]]] = [(self._tick_ns, 4, self._send)]
        if self._frames:
            steps.append((self._frames[0].told_ns, 0, self._look))
        if self._edges:
            steps.append((self._edges[0].told_ns, 1, self._tell_edge))
        if self._texts:
            steps.append((self._texts[0].at_ns, 2, self._tell_text))
        if self._finals:
            steps.append((self._finals[0][0], 2, self._tell_final))
        deadline_ns = self.session.deadline_ns
        if deadline_ns is not None:
            steps.append((deadline_ns, 3, self._time_out))
        at_ns, _, step = min(steps, key=lambda one: one[:2])
        return at_ns, step

    def _hand(self, event: ev.Event, now_ns: int) -> None:
        events = deque([event])
        while events:
            for action in self.session.handle(events.popleft(), now_ns):
                self.log.append((now_ns, action))
                events.extend(self._perform(action, now_ns))

    # -- events -------------------------------------------------------------------------

    def _send(self, now_ns: int) -> None:
        packet = self._outbound.next_packet()
        happened, position, _ = self._outbound.poll_events()
        self.sent.append(Sent(now_ns, ulaw_decode(packet[_HEADER_BYTES:])))
        self._tick_ns += PACKET_NS
        if happened & STARTED:
            self._hand(ev.PlayoutStarted(), now_ns)
        if happened & DRAINED:
            self._hand(ev.PlayoutDrained(position), now_ns)

    def _look(self, now_ns: int) -> None:
        frame = self._frames.popleft()
        self._judged = frame.end
        self._scores = [*self._scores, frame.probability] if frame.voiced else []
        if frame.voiced:
            mean = sum(self._scores) / len(self._scores)
            self._voice = Voice(True, frame.onset, frame.loud_end, mean, 0.0)
        else:
            self._voice = NO_VOICE

    def _tell_edge(self, now_ns: int) -> None:
        told = self._edges.popleft()
        event = _EVENTS[told.edge.kind]
        self._hand(event(told.edge.sample, told.at_ns, self._outbound.position), now_ns)

    def _tell_text(self, now_ns: int) -> None:
        self._text = self._texts.popleft().text
        if self._listening is not None:
            turn, part = self._listening
            self._hand(ev.TranscriptPartial(turn, self._text, part), now_ns)

    def _tell_final(self, now_ns: int) -> None:
        _, (turn, part) = self._finals.pop(0)
        self._hand(ev.TranscriptFinal(turn, self._final_text, part), now_ns)

    def _time_out(self, now_ns: int) -> None:
        voice = self._look_closer(now_ns) if self.state is State.YIELDING else self._voice
        self._hand(ev.Timeout(self._judged, self._outbound.position, voice), now_ns)

    def _look_closer(self, now_ns: int) -> Voice:
        """As ``service.sound.look_closer`` at a ring that holds what has arrived."""
        arrived = now_ns // PACKET_NS * PACKET_SAMPLES
        start = max(self._voice.onset - LOOK_BEFORE, 0)
        if self._pcm is None or not self._voice.voiced or arrived <= self._voice.onset:
            return self._voice
        return look_at(self._voice, self._pcm[start : min(arrived, start + LOOK_MOST)], start)

    # -- actions ------------------------------------------------------------------------

    def _perform(self, action: act.Action, now_ns: int) -> list[ev.Event]:
        match action:
            case act.Hold():
                self._outbound.hold()
            case act.Resume():
                self._outbound.resume()
            case act.Flush():
                return [ev.Flushed(action.turn, self._outbound.flush())]
            case act.Speak():
                return self._speak(action)
            case act.Listen():
                self._listening = (action.turn, action.part)
            case act.FinishListening():
                at_ns = now_ns + round(FINAL_MS * NS_PER_MS)
                self._finals.append((at_ns, (action.turn, action.part)))
                self._listening = None
            case act.CancelListening():
                self._listening = None
        return []

    def _speak(self, action: act.Speak) -> list[ev.Event]:
        if action.turn:
            return []
        pcm, words = self._piece(action.text)
        position = self._outbound.written
        accepted = self._outbound.write(pcm, self._outbound.generation)
        assert accepted == len(pcm)
        energy = b"" if words else EnergyMeter(PLAY_HZ).push(pcm)
        queued = ev.SpeechQueued(action.turn, action.segment, position, accepted, words, energy)
        return [queued, ev.SegmentEnd(action.turn, action.segment)]

    def _piece(self, text: str) -> tuple[Pcm, tuple[Word, ...]]:
        """The audio of the next clause, and its words as the synthesiser would have told them."""
        speech = self._speech
        begins = speech.text.index(text, self._spoken)
        self._spoken = begins + len(text)
        starts = [w.sample for w in self._cuts if w.char_start >= self._spoken]
        end = min(starts, default=len(speech.pcm))
        pcm = speech.pcm[self._said : end]
        words = tuple(
            Word(
                w.char_start - begins,
                w.char_end - begins,
                w.sample - self._said,
                None if w.end is None else w.end - self._said,
            )
            for w in speech.words
            if begins <= w.char_start < self._spoken
        )
        self._said = end
        return pcm, words
