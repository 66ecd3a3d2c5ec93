"""The book of all instances as one of them sees it: one Protocol, so that tests need no Redis."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_RANDOM_BYTES = 4


class BookUnreachableError(Exception):
    """Nobody knows whether the book heard of it. ``reason`` is for logs: no address, no key."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def process_name(began_ns: int) -> str:
    """For a process that began at ``began_ns`` (Unix time); that of a later one is greater."""
    return f"{began_ns:020d}-{secrets.token_hex(_RANDOM_BYTES)}"


@dataclass(frozen=True, slots=True)
class Member:
    """Who stands in the book.

    ``name`` is the instance's and its worker's, unlike all others'; ``process`` is greater
    than that of every earlier process of that name (:func:`process_name`). ``limit``: calls
    that it can take; ``cluster_limit``: that all can, 0: no bound.
    """

    name: str
    url: str
    process: str
    lease_ms: int
    cluster_limit: int
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Word:
    """What the book answers.

    ``verdict`` is ``ok``; where calls get no place ``full``, ``limit``, ``draining`` or
    ``settling``, and ``given`` is how many get one; ``gone`` if we don't stand there as we
    think (join again), ``taken_over`` if a later process does under our name. ``share`` is
    what we may hold without asking. ``calls`` and ``members`` are of all instances;
    ``settling_ms``: how long no other place is given than those of shares, for not all who
    live may stand here yet.
    """

    verdict: str
    share: int
    calls: int
    members: int
    settling_ms: int
    given: int = 0


class Book(Protocol):
    """Atomic steps; each may raise :class:`BookUnreachableError`.

    ``turn`` numbers what was sent since the last join: what is late is ignored. ``share`` is
    what we believe that we may hold: by saying less than before we give the rest back.
    """

    async def join(
        self, me: Member, turn: int, share: int, draining: bool, sessions: Sequence[str]
    ) -> Word:
        """Say who we are and all that we have; a new ``turn``."""
        ...

    async def renew(
        self, me: Member, turn: int, share: int, draining: bool, held: int, gone: Sequence[str]
    ) -> Word:
        """Say that we are there with ``held`` calls, and that those in ``gone`` are over."""
        ...

    async def reserve(
        self,
        me: Member,
        turn: int,
        share: int,
        held: int,
        sessions: Sequence[str],
        gone: Sequence[str],
    ) -> Word:
        """Take places for ``sessions``, beside our ``held`` calls; those in ``gone`` are over.

        Where there are fewer, the first ones get them.
        """
        ...

    async def leave(self, me: Member) -> None:
        """Our entries go at once, whatever the turn."""
        ...

    async def find(self, name: str, session_id: str) -> str | None:
        """The URL of the member ``name``, if it lives and has that session."""
        ...

    async def close(self) -> None:
        """Free the connections. Twice is fine."""
        ...
