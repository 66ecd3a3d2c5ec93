"""What can happen to a call. Every event is handled with the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass

from voicecore.core.word_times import Word


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all events."""


@dataclass(frozen=True, slots=True)
class Connected(Event):
    """Media flows: the call may begin."""


@dataclass(frozen=True, slots=True)
class SpeechOnset(Event):
    """Perhaps the caller speaks, from ``sample`` (16 kHz), due at ``at_ns``."""

    sample: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class SpeechConfirmed(Event):
    """The caller does speak, from ``sample`` on."""

    sample: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class SpeechReleased(Event):
    """The caller's voice ended at ``sample``; a pause or the end of his turn."""

    sample: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Timeout(Event):
    """The session's deadline has come.

    ``media_sample``: how far the caller's audio has arrived and was judged
    (16 kHz): every edge up to there was an event before this one.
    ``played``: how far the agent's audio was sent (playout rate).
    """

    media_sample: int
    played: int


@dataclass(frozen=True, slots=True)
class TranscriptPartial(Event):
    """What the recogniser believes so far of ``turn``."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class TranscriptFinal(Event):
    """What the recogniser understood of ``turn`` (``""``: nothing)."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyText(Event):
    """The next piece of the model's answer to ``turn``."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyEnd(Event):
    """The model has said all it will to ``turn``."""

    turn: int


@dataclass(frozen=True, slots=True)
class SpeechQueued(Event):
    """Audio of a segment went into the playout ring at ``position``."""

    turn: int
    segment: int
    position: int
    samples: int
    words: tuple[Word, ...] = ()


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
    """The playout ring ran empty at ``position``."""

    position: int


@dataclass(frozen=True, slots=True)
class Flushed(Event):
    """Playout stopped; ``position`` is the end of what was played at full level."""

    turn: int
    position: int


@dataclass(frozen=True, slots=True)
class EngineFailed(Event):
    """Stage ``stt``, ``llm`` or ``tts`` failed for ``turn``."""

    turn: int
    stage: str
    code: str


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
