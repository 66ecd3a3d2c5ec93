"""Who has which call, and how many there are, over all instances: one Protocol.

An instance that is alone needs none of it and has :class:`Alone`. With Redis
(``redis_directory``) several share one limit and find each other's calls.
"""

from __future__ import annotations

from typing import Protocol


class Directory(Protocol):
    """What a process's calls know of the other processes. Belongs to the event loop."""

    async def start(self, limit: int) -> None:
        """Say that we are here and take up to ``limit`` calls. Once.

        A directory that can't be reached is no error: it is tried again behind the scenes.
        """
        ...

    async def reserve(self, session_id: str) -> None:
        """Take a place for a call of ours, before anything is made for it.

        Atomic over all instances. Raises :class:`~voicecore.errors.CapacityError`.
        """
        ...

    def release(self, session_id: str) -> None:
        """Give the place back; doesn't wait. One that has none is ignored."""
        ...

    def drain(self) -> None:
        """Tell the others that we take no more calls; doesn't wait. Twice is fine."""
        ...

    async def owner_url(self, session_id: str) -> str | None:
        """Where the instance is that has the session; None: nobody else has it."""
        ...

    def describe(self) -> dict[str, object]:
        """How it is, for ``/readyz``, in plain JSON types; empty where there is none."""
        ...

    async def close(self) -> None:
        """Leave: our entries go at once. Twice is fine."""
        ...


class Alone:
    """The directory of the only instance."""

    async def start(self, limit: int) -> None:
        """Nobody to tell."""

    async def reserve(self, session_id: str) -> None:
        """The process's own limit is all there is."""

    def release(self, session_id: str) -> None:
        """Nobody counts."""

    def drain(self) -> None:
        """Nobody to tell."""

    async def owner_url(self, session_id: str) -> str | None:
        """Nobody else."""
        return None

    def describe(self) -> dict[str, object]:
        """Nothing to tell."""
        return {}

    async def close(self) -> None:
        """Nothing is held."""
