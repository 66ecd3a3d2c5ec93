"""What a call remembers between two events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from voicecore.core.actions import Action, Notify
from voicecore.core.barge_in import BargeInPolicy, Evidence
from voicecore.core.conversation import Conversation
from voicecore.core.endpoint import EndpointPolicy
from voicecore.core.keypad import Keypad
from voicecore.core.reply import Reply
from voicecore.core.speculation import SpeculationBudget
from voicecore.core.state import State
from voicecore.core.turn_clock import TurnClock
from voicecore.core.turn_settings import TurnSettings, barge_in_of, endpoint_of
from voicecore.core.turns.caller_turn import CallerTurn
from voicecore.core.units import HEAR_RATE_HZ, NS_PER_MS, samples_to_ns
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.core.word_times import Pace

Actions = list[Action]


@dataclass(slots=True)
class Pause:
    """The caller has been silent since ``sample``, which was due at ``at_ns``.

    ``broken``: something is voiced again, perhaps he goes on. ``score``: the
    turn-detection model's word on it.
    """

    sample: int
    at_ns: int
    broken: bool = False
    score: float | None = None


@dataclass(slots=True)
class Suspicion:
    """Somebody makes a sound while the agent has the floor.

    ``onset``: its first sample, due at ``onset_ns``; the agent fell silent at
    ``began_ns``, having sent ``played``. ``voice_from``: where the present stretch
    of voice began, None while there is none; ``ended``: where the last one ended,
    and when that was due. ``speech`` and ``sound``: samples of the stretches before.
    ``voice``: the present one as last looked at.
    """

    onset: int
    onset_ns: int
    began_ns: int
    played: int
    thinking: bool
    voice_from: int | None
    speech: int = 0
    sound: int = 0
    ended: tuple[int, int] = (0, 0)
    voice: Voice = NO_VOICE
    turn: CallerTurn | None = None

    def look(self, voice: Voice) -> None:
        """Note what is known of the present stretch."""
        if voice.voiced and self.voice_from is not None:
            self.voice = voice

    def end(self, sample: int, at_ns: int) -> None:
        """The present stretch ended at ``sample``."""
        if self.voice_from is not None:
            self.speech += max(sample - self.voice_from, 0)
            self.sound += max(sample - self._sound_from(self.voice_from), 0)
        self.voice_from = None
        self.ended = (sample, at_ns)

    def evidence(self, now_ns: int) -> Evidence:
        """What is known of it by ``now_ns``."""
        speech, sound, quiet_ms = self.speech, self.sound, None
        if self.voice_from is None:
            quiet_ms = (now_ns - self.ended[1]) / NS_PER_MS
        else:
            loud_end = max(self.voice.loud_end, self.voice_from)
            speech += loud_end - self.voice_from
            sound += loud_end - self._sound_from(self.voice_from)
        turn = self.turn
        return Evidence(
            speech_ms=speech * 1000 / HEAR_RATE_HZ,
            sound_ms=sound * 1000 / HEAR_RATE_HZ,
            quiet_ms=quiet_ms,
            held_ms=(now_ns - self.began_ns) / NS_PER_MS,
            confidence=self.voice.confidence if self.voice.voiced else 1.0,
            echo=self.voice.echo,
            change_db=self.voice.change_db,
            text="" if turn is None else turn.text,
            settled=turn is None or turn.is_settled,
            thinking=self.thinking,
        )

    def outlook(self, now_ns: int) -> Evidence:
        """The same if the voice has gone on up to now: what has not arrived is counted too."""
        evidence = self.evidence(now_ns)
        if self.voice_from is None:
            return evidence
        loud_end = max(self.voice.loud_end, self.voice_from)
        due_ns = self.onset_ns + samples_to_ns(loud_end - self.onset, HEAR_RATE_HZ)
        coming_ms = max(now_ns - due_ns, 0) / NS_PER_MS
        return replace(
            evidence,
            speech_ms=evidence.speech_ms + coming_ms,
            sound_ms=evidence.sound_ms + coming_ms,
        )

    def _sound_from(self, voice_from: int) -> int:
        # What was seen of an earlier stretch says nothing of where this one begins.
        seen = self.voice.voiced and self.voice.onset >= voice_from
        known = seen and 0 <= self.voice.sound_from < voice_from
        # What came before the last stretch's end was counted with that one.
        return max(self.voice.sound_from, self.ended[0]) if known else voice_from


@dataclass(slots=True)
class Cut:
    """A reply that was flushed and whose last position is awaited.

    ``by_turn``: the caller's turn that interrupted it. ``began``: how far it was sent
    when he began to speak.
    """

    reply: Reply
    by_turn: int
    began: int | None


@dataclass(slots=True)
class Parting:
    """The call is to end with ``text``, which was asked for at ``asked_ns``.

    ``said``: that has begun. ``clause``: the agent's segment that is finished before,
    ``look_ns``: when to look whether it is.
    """

    text: str
    asked_ns: int
    said: bool = False
    clause: int | None = None
    look_ns: int = 0


@dataclass(slots=True)
class CallMemory:
    """One call. ``state`` and ``deadline_ns`` are read by the driver."""

    settings: TurnSettings
    conversation: Conversation
    play_rate_hz: int
    endpoint: EndpointPolicy
    barge_in: BargeInPolicy
    budget: SpeculationBudget
    keypad: Keypad
    state: State = State.CONNECTING
    deadline_ns: int | None = None
    stale_events: int = 0

    # The caller.
    turn: int = 0
    """The newest turn that is the caller's; numbers may be left out, none comes twice."""
    numbered: int = 0
    caller: CallerTurn | None = None
    awaited: dict[int, CallerTurn] = field(default_factory=dict)
    """Turns that are over, but not yet understood."""
    unanswered: bool = False
    pause: Pause | None = None
    arrived: tuple[int, int] = (0, 0)
    """How far the speaking caller was heard, and since when no more than that."""
    ended_at: int | None = None
    """Where the caller's last turn ended, until something answers it."""
    stalled: tuple[int, int] | None = None
    """The voice, by its onset, that was given up in a stall; how far it had arrived."""
    listened_to: int = 0
    suspicion: Suspicion | None = None
    quiet: tuple[int, int] = (0, 0)
    """Since when nobody has spoken (ns), and how often the caller was reminded."""
    quiet_sample: int | None = None
    """How far his audio had come then; None: that was not looked at yet."""
    reminding: bool = False
    """The present reply reminds a silent caller: to be silent goes on after it."""

    # The agent.
    reply: Reply | None = None
    asked: int = -1
    """The newest turn that was answered for good: what its tools did has happened."""
    speculating: bool = False
    """The reply was begun in a pause: it isn't heard before the turn is decided to be over."""
    clock: TurnClock | None = None
    cut: Cut | None = None
    cut_short: tuple[int, list[tuple[str, bool]]] | None = None
    """Of the last reply that was interrupted: by which turn, and the pieces not heard."""
    pace: Pace = field(default_factory=Pace)
    """Of the agent's voice: what one answer taught serves the next."""
    drained_at: int = -1
    last_words: str = ""
    leaving: str = ""
    """Why the call ends when the present reply has been heard; ``""``: it goes on."""
    parting: Parting | None = None

    @property
    def says_goodbye(self) -> bool:
        """Whether the server takes its leave: nothing interrupts that."""
        return self.parting is not None and self.parting.said

    def next_number(self) -> int:
        """A number for a turn of the caller's, greater than all before."""
        self.numbered = max(self.numbered, self.turn) + 1
        return self.numbered

    def begin_reply(self, turn: int, clock: TurnClock | None = None) -> Reply:
        """The agent's answer to ``turn`` from here on."""
        self.reply = Reply(
            turn,
            self.play_rate_hz,
            clock,
            self.pace,
            language=self.settings.language,
            plain_speech=self.settings.plain_speech,
        )
        return self.reply

    def stale(self) -> Actions:
        """Count something that comes too late, and do nothing."""
        self.stale_events += 1
        return []


def new_memory(settings: TurnSettings, conversation: Conversation, play_rate_hz: int) -> CallMemory:
    """A call before its first event."""
    return CallMemory(
        settings,
        conversation,
        play_rate_hz,
        endpoint_of(settings),
        barge_in_of(settings),
        SpeculationBudget(settings.speculation_budget if settings.speculate else 0),
        Keypad(settings.keypad_wait_ms),
    )


def transcript(turn: int, text: str, *, final: bool) -> Notify:
    """Show the caller's words."""
    return Notify("transcript", {"turn": turn, "text": text, "final": final})


def agent_text(reply: Reply) -> Notify:
    """Show what the agent is to say."""
    return Notify("agent", {"turn": reply.turn, "text": reply.text})
