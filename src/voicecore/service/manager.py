"""What the HTTP side knows of calls: one Protocol, so that it is testable without media.

The routes speak to a :class:`CallManager` and to nothing else of a call. All
methods run on the event loop's thread; none blocks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from voicecore.core.overload import OverloadLevel
from voicecore.transport.server_notes import TurnState


@dataclass(frozen=True)
class Opened:
    """A call that exists from now on.

    ``token`` is URL-safe text without dots: it stands in a cookie behind
    ``session_id`` and a dot. ``type`` says what ``sdp`` is, ``"offer"`` or
    ``"answer"``.
    """

    session_id: str
    token: str
    sdp: str
    type: str


class CallManager(Protocol):
    """Opens, finds and ends calls.

    Errors are :class:`~voicecore.errors.PeerError` with the HTTP status that
    fits (``unknown_session`` 404, ``wrong_token`` 403, ``already_answered``
    409, ``bad_sdp`` 400, ``no_audio`` and ``no_codec`` 422, ...) and
    :class:`~voicecore.errors.CapacityError` when there is no room.
    """

    draining: bool
    """True from when the server is about to stop: no call is admitted any more."""

    @property
    def active(self) -> int:
        """Calls that hold a place now, answered or not."""
        ...

    @property
    def limit(self) -> int:
        """The most calls at once (>= 1)."""
        ...

    @property
    def overload_level(self) -> OverloadLevel:
        """What is given up now; no call is admitted while it is REFUSING."""
        ...

    def turn(self) -> Sequence[TurnState]:
        """How each TURN server is, in the order they are tried; none before the start."""
        ...

    async def start(self) -> None:
        """Get ready for the first call. Runs once, after every engine has started.

        This is where speech that must not need a living engine (the apology, the
        goodbye) is synthesised. After an EngineError it may be called again: nothing has
        been opened by then.
        """
        ...

    async def open(self) -> Opened:
        """Begin a call whose offer the server makes; the client owes the answer."""
        ...

    async def answer(self, session_id: str, sdp: str) -> None:
        """Take the client's answer to :meth:`open`'s offer, once."""
        ...

    async def accept(self, offer_sdp: str) -> Opened:
        """Begin a call from the client's offer and return the answer to it."""
        ...

    async def restart(self, session_id: str, offer_sdp: str) -> str:
        """Answer an offer that restarts ICE: the caller is reached by another way now.

        A refused offer, or a way that isn't found, leaves the call as it is. PeerError:
        ``not_connected`` and ``restart_under_way`` (409), ``no_ice_restart``,
        ``other_certificate``, ``other_sections``, ... (422) besides those of a bad offer.
        """
        ...

    async def add_candidate(
        self,
        session_id: str,
        candidate: str,
        sdp_mid: str | None,
        sdp_mline_index: int | None,
    ) -> None:
        """Take one trickled ICE candidate; ``""`` says that there will be no more."""
        ...

    def authorize(self, session_id: str, token: str) -> None:
        """Return if ``token`` opens ``session_id``; else raise 404 or 403."""
        ...

    def describe_all(self) -> list[dict[str, object]]:
        """:meth:`describe` of every call, oldest first."""
        ...

    def describe(self, session_id: str) -> dict[str, object]:
        """The call's state in plain JSON types; 404 when there is no such call."""
        ...

    async def hang_up(self, session_id: str) -> None:
        """End the call; 404 when there is no such call."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Admit no more calls, and return when the last one is over.

        They go on as before, their signaling too. After ``timeout_s`` those that are
        left hear a goodbye, for which they get 10 s; what is left then is for :meth:`close`.
        """
        ...

    async def close(self) -> None:
        """Hang up every call and free what the manager holds. Safe to repeat."""
        ...
