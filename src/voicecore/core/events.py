"""What can happen to a call. Every event is handled with the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass

from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.core.word_times import Word

Stretches = tuple[tuple[int, int], ...]
"""Playout positions ``[start, end)``, in order, none touching the next."""


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all events."""


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """Media flows: the call may begin."""


@dataclass(frozen=True, slots=True)
class SpeechOnset(Event):
    """Perhaps the caller speaks, from ``sample`` (16 kHz), due at ``at_ns``.

    ``played``: how far the agent's audio was sent when this became known.
    """

    sample: int
    at_ns: int
    played: int = 0


@dataclass(frozen=True, slots=True)
class SpeechConfirmed(Event):
    """The gate is sure of speech from ``sample`` on: it was voiced for ``start_ms``."""

    sample: int
    at_ns: int
    played: int = 0


@dataclass(frozen=True, slots=True)
class SpeechReleased(Event):
    """The caller's voice ended at ``sample``; a pause or the end of his turn."""

    sample: int
    at_ns: int
    played: int = 0


@dataclass(frozen=True, slots=True)
class Timeout(Event):
    """The session's deadline has come.

    ``media_sample``: how far the caller's audio has arrived and was judged
    (16 kHz): every edge up to there was an event before this one.
    ``played``: how far the agent's audio was sent (playout rate).
    ``voice``: what is known of the caller's voice by now.
    """

    media_sample: int
    played: int
    voice: Voice = NO_VOICE


@dataclass(frozen=True, slots=True)
class TranscriptPartial(Event):
    """What the recogniser believes so far of part ``part`` of ``turn``."""

    turn: int
    text: str
    part: int = 0


@dataclass(frozen=True, slots=True)
class TranscriptFinal(Event):
    """What the recogniser understood of part ``part`` of ``turn`` (``""``: nothing)."""

    turn: int
    text: str
    part: int = 0


@dataclass(frozen=True, slots=True)
class TurnScored(Event):
    """A turn-detection model's word on the pause at ``sample``: the turn is over, 0 to 1."""

    turn: int
    sample: int
    probability: float


@dataclass(frozen=True, slots=True)
class Digit(Event):
    """The caller pressed a key: ``0`` to ``9``, ``*``, ``#``, ``A`` to ``D`` or ``!``."""

    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ReplyText(Event):
    """The next piece of the model's answer to ``turn``.

    ``protected``: it may not be interrupted. ``voiced``: it needs no synthesis, its
    audio is queued as segment 0 beside it (speech to speech).
    """

    turn: int
    text: str
    protected: bool = False
    voiced: bool = False


@dataclass(frozen=True, slots=True)
class ToolsUsed(Event):
    """The model's answer to ``turn`` has used tools, with these results."""

    turn: int
    exchange: ToolExchange


@dataclass(frozen=True, slots=True)
class ReplyEnd(Event):
    """The model has said all it will to ``turn``."""

    turn: int


@dataclass(frozen=True, slots=True)
class SpeechQueued(Event):
    """Audio of a segment went into the playout ring at ``position``.

    ``energy``: how loud the segment's next blocks of 10 ms are, where the
    synthesiser gives no ``words`` (``core/speech_energy.py``).
    """

    turn: int
    segment: int
    position: int
    samples: int
    words: tuple[Word, ...] = ()
    energy: bytes = b""


@dataclass(frozen=True, slots=True)
class SegmentEnd(Event):
    """All audio of a segment is in the playout ring."""

    turn: int
    segment: int


@dataclass(frozen=True, slots=True)
class PlayoutStarted(Event):
    """The first packet with the agent's voice after silence went out."""


@dataclass(frozen=True, slots=True)
class PlayoutDrained(Event):
    """The playout ring ran empty at ``position``; ``lost`` never reached the caller."""

    position: int
    lost: Stretches = ()


@dataclass(frozen=True, slots=True)
class Flushed(Event):
    """Playout stopped; ``position`` is the end of what was played at full level.

    ``lost``: stretches before it that never reached the caller. ``far_delay_ms``:
    how long a sample takes from here to the caller's ear, as far as is known.
    """

    turn: int
    position: int
    lost: Stretches = ()
    far_delay_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineFailed(Event):
    """An engine failed for ``turn`` (``part`` of it: stt alone).

    ``stage``: ``stt``, ``llm``, ``tts`` or ``s2s``.
    """

    turn: int
    stage: str
    code: str
    part: int = 0


@dataclass(frozen=True, slots=True)
class Farewell(Event):
    """The server is to stop: say ``text`` as soon as the turn allows, and end.

    Nothing interrupts it. The call ends as ``server_drained``; at once where ``text`` is
    empty.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Hangup(Event):
    """The call is over, for ``reason`` (a machine-readable word)."""

    reason: str


# `Event.__subclasses__()` would also name the twins that slotted dataclasses leave behind.
ALL_EVENTS: tuple[type[Event], ...] = tuple(
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, Event) and value is not Event
)
