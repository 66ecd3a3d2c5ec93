"""What the session wants done. The driver performs actions in order, at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Root of all actions."""


@dataclass(frozen=True, slots=True)
class Listen(Action):
    """Open a recogniser stream for ``turn`` and feed it from ``from_sample`` on."""

    turn: int
    from_sample: int


@dataclass(frozen=True, slots=True)
class FinishListening(Action):
    """Feed the recogniser up to ``to_sample`` and ask for its final text."""

    turn: int
    to_sample: int


@dataclass(frozen=True, slots=True)
class StartReply(Action):
    """Ask the model to answer the conversation, for ``turn``."""

    turn: int


@dataclass(frozen=True, slots=True)
class Speak(Action):
    """Synthesise ``text`` as segment ``segment`` of ``turn``, after those before it.

    ``canned``: play the apology kept as PCM instead; it needs no engine.
    """

    turn: int
    segment: int
    text: str
    canned: bool = False


@dataclass(frozen=True, slots=True)
class CancelReply(Action):
    """Stop the model and the synthesiser of ``turn``, or free them when they are done."""

    turn: int


@dataclass(frozen=True, slots=True)
class Flush(Action):
    """Stop playback now; report the position reached as ``Flushed(turn)``."""

    turn: int


@dataclass(frozen=True, slots=True)
class Notify(Action):
    """Tell the client (``docs/events.md``)."""

    kind: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RecordTurn(Action):
    """A turn was answered: seconds from the end of speech to each stage."""

    stages: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RecordBargeIn(Action):
    """The caller interrupted the agent."""


@dataclass(frozen=True, slots=True)
class RecordFailure(Action):
    """An engine failed."""

    stage: str
    code: str


@dataclass(frozen=True, slots=True)
class End(Action):
    """Free everything: the call is over."""

    reason: str
