"""What the session wants done. The driver performs actions in order, at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Root of all actions."""


@dataclass(frozen=True, slots=True)
class Listen(Action):
    """Open a recogniser stream for ``part`` of ``turn`` and feed it from ``from_sample`` on."""

    turn: int
    from_sample: int
    part: int = 0


@dataclass(frozen=True, slots=True)
class FinishListening(Action):
    """Feed the recogniser up to ``to_sample`` and ask for its final text."""

    turn: int
    to_sample: int
    part: int = 0


@dataclass(frozen=True, slots=True)
class CancelListening(Action):
    """Give the recogniser stream up: it was no turn, nothing more is told of it."""

    turn: int
    part: int = 0


@dataclass(frozen=True, slots=True)
class JudgePause(Action):
    """Ask the turn-detection model, if there is one, about the pause at ``sample``.

    The turn's audio begins at ``from_sample``; ``text`` is what was understood of it.
    """

    turn: int
    from_sample: int
    sample: int
    text: str


@dataclass(frozen=True, slots=True)
class StartReply(Action):
    """Ask the model to answer the conversation, for ``turn``.

    ``draft``: as if the caller had said that too; it is not in the conversation yet,
    and may never be.
    """

    turn: int
    draft: str = ""


@dataclass(frozen=True, slots=True)
class Speak(Action):
    """Synthesise ``text`` as segment ``segment`` of ``turn``, after those before it.

    ``canned``: play what is kept of it as PCM instead; it needs no engine.
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
class Hold(Action):
    """Fall silent within a packet and keep what is queued."""


@dataclass(frozen=True, slots=True)
class Resume(Action):
    """Go on from the very sample at which :class:`Hold` stopped."""


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
class RecordSuspicion(Action):
    """The agent fell silent because the caller seemed to speak.

    ``outcome``: ``interruption`` or ``nothing`` (it went on). ``decided_ms``: from the
    first speech sample's arrival to the decision.
    """

    outcome: str
    decided_ms: float


@dataclass(frozen=True, slots=True)
class RecordBargeIn(Action):
    """The caller interrupted the agent."""


@dataclass(frozen=True, slots=True)
class RecordSpeculation(Action):
    """A reply begun in a pause was ``used`` or ``wasted``."""

    outcome: str


@dataclass(frozen=True, slots=True)
class RecordFailure(Action):
    """An engine failed."""

    stage: str
    code: str


@dataclass(frozen=True, slots=True)
class End(Action):
    """Free everything: the call is over."""

    reason: str


# As `events.ALL_EVENTS`.
ALL_ACTIONS: tuple[type[Action], ...] = tuple(
    value
    for value in list(globals().values())
    if isinstance(value, type) and issubclass(value, Action) and value is not Action
)
