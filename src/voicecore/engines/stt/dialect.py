"""What a streaming recogniser's wire format is, apart from its connection.

A dialect is pure: it makes messages and reads them, and does no I/O, so that it is
tested on literal ones. There is one for each connection, for it counts the audio that
went into it. ``streaming.py`` does the rest, alike for all providers.

Times are milliseconds of the connection's own audio: all that was sent on it since it
opened, whatever utterance it belonged to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from voicecore.core.transcript import Transcript
from voicecore.engines.protocols import EncodedPacket

WireMessage = str | bytes
"""A text or a binary message of the WebSocket."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect. ``headers`` and ``protocols`` (the WebSocket's) may hold the key."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    protocols: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """Audio may be sent (only where the dialect ``waits_for_ready``)."""


@dataclass(frozen=True, slots=True)
class Interim:
    """What is understood of ``start_ms`` to ``end_ms``, which may change.

    It takes the place of the interim before it, and is over with the next final. The
    words' times are of the connection's audio too.
    """

    text: Transcript = field(repr=False)
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Final:
    """A text that won't change any more (``""``: nothing was said).

    All up to ``end_ms`` is settled with it: what is heard on after that needs none of
    the audio before. Finals come in order and don't overlap.
    """

    text: Transcript = field(repr=False)
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Finalised:
    """All up to ``end_ms`` is final, as :meth:`Dialect.finalise` asked.

    None: the provider doesn't say up to where; taken for the utterance that is being
    finished.
    """

    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Alive:
    """A message without a text that shows the provider hears what we send."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The provider reported an error: the connection is of no use any more.

    ``kind`` is one of ``engines/wire/faults.py``; ``message`` goes into an error that
    people read, so it holds nothing of the caller's and no key.
    """

    kind: str
    message: str
    permanent: bool = False
    retry_after_s: float = 0.0


Heard = Ready | Interim | Final | Finalised | Alive | Broken


class Dialect(Protocol):
    """One provider's wire format on one connection.

    ``rate_hz``: of the samples given to :meth:`audio`. ``keep_alive_s``: how often
    :meth:`keep_alive` is to be sent while nothing is heard; 0: never.
    ``keep_alive_ms``: how much audio its messages hold; 0 where they are no audio.
    ``waits_for_ready``: audio is held back until :meth:`take` gave :class:`Ready`.
    An attribute ``tells_late`` that is true says that nothing at all is told before
    :meth:`finalise`, so that the provider's silence until then is no sign of its death.

    The lists returned are sent in order; ``[]`` where a provider has no such message.
    """

    rate_hz: int
    keep_alive_s: float
    keep_alive_ms: int
    waits_for_ready: bool

    def address(self) -> Address:
        """Where to connect."""
        ...

    def hello(self) -> list[WireMessage]:
        """What is sent first."""
        ...

    def audio(self, data: bytes) -> list[WireMessage]:
        """Wrap little-endian int16 mono samples, 20 to 200 ms of them (less at the end)."""
        ...

    def finalise(self) -> list[WireMessage]:
        """Ask for the final text of all that was sent.

        Also sent where an utterance is given up, so that the next begins afresh.
        """
        ...

    def keep_alive(self) -> list[WireMessage]:
        """Keep the connection open in a silence."""
        ...

    def goodbye(self) -> list[WireMessage]:
        """What is sent before the connection is closed."""
        ...

    def take(self, message: WireMessage) -> list[Heard]:
        """Read a message; ``[]`` for one that says nothing of use.

        Raises ValueError, LookupError, TypeError or AttributeError for one that isn't
        of the protocol, which becomes ``stt_bad_message``; the exception's own text is
        shown nowhere.
        """
        ...

    def closed(self, code: int) -> Broken | None:
        """What a close by the provider with ``code`` means; None: nothing special."""
        ...


@runtime_checkable
class EncodedDialect(Dialect, Protocol):
    """A dialect for the caller's own packets, in the codec it was made for."""

    def encoded(self, packets: Sequence[EncodedPacket]) -> list[WireMessage]:
        """In place of :meth:`Dialect.audio`: wrap what was sent, in order."""
        ...
