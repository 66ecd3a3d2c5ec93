"""Tells the other workers how many places are taken here, at the moment it changes."""

from __future__ import annotations

from collections.abc import Callable

from voicecore.service.directory import Directory


class Counted:
    """A :class:`~voicecore.service.directory.Directory` around another that counts along.

    ``on_count`` is told the number of places that are taken.
    """

    def __init__(self, inner: Directory, on_count: Callable[[int], None]) -> None:
        self._inner = inner
        self._on_count = on_count
        self._held: set[str] = set()

    @property
    def count(self) -> int:
        """Places that are taken, of calls and of those that are being opened."""
        return len(self._held)

    async def start(self, limit: int) -> None:
        """See :class:`Directory`."""
        await self._inner.start(limit)

    async def reserve(self, session_id: str) -> None:
        """See :class:`Directory`; counted before anybody else is asked."""
        self._held.add(session_id)
        self._on_count(self.count)
        try:
            await self._inner.reserve(session_id)
        except BaseException:
            self._drop(session_id)
            raise

    def release(self, session_id: str) -> None:
        """See :class:`Directory`."""
        self._drop(session_id)
        self._inner.release(session_id)

    def drain(self) -> None:
        """See :class:`Directory`."""
        self._inner.drain()

    async def owner_url(self, session_id: str) -> str | None:
        """See :class:`Directory`."""
        return await self._inner.owner_url(session_id)

    def describe(self) -> dict[str, object]:
        """See :class:`Directory`."""
        return self._inner.describe()

    async def close(self) -> None:
        """See :class:`Directory`."""
        await self._inner.close()

    def _drop(self, session_id: str) -> None:
        self._held.discard(session_id)
        self._on_count(self.count)
