"""All workers of a host as the admin listener sees them."""

from __future__ import annotations

from typing import Any

from voicecore.errors import PeerError
from voicecore.service.crew import Crew
from voicecore.service.overview import Administered, as_row


class AllWorkers:
    """The :class:`~voicecore.service.overview.Administered` of ``crew``; ``own`` is this worker's.

    What it tells of engines is of this worker.
    """

    def __init__(self, crew: Crew, own: Administered, timeout_s: float) -> None:
        """``timeout_s``: ``drain_timeout_s``, which is what their supervisor waits."""
        self._crew = crew
        self._own = own
        self._timeout_s = timeout_s

    async def overview(self) -> dict[str, object]:
        """See :class:`Administered`; ``workers`` tells how each is."""
        own, sessions = await self._own.overview(), await self._crew.sessions_of_all()
        workers = self._crew.workers()
        taking = [one for one in workers if one.takes_calls]
        shown: dict[str, Any] = {
            **own,
            "calls": {
                "active": sum(one.active for one in workers),
                "limit": sum(one.limit for one in workers),
            },
            "sessions": [as_row(described) for described in sessions],
            "workers": [one.describe() for one in workers],
        }
        if taking and own["status"] != "draining":
            free = any(one.active < one.limit for one in taking)
            shown |= {"status": "ready" if free else "full", "reasons": []}
        return shown

    async def hang_up(self, session_id: str) -> None:
        """See :class:`Administered`."""
        await self._crew.hang_up(session_id)

    async def drain(self, timeout_s: float | None) -> None:
        """See :class:`Administered`; PeerError 422 for longer than the settings say."""
        if timeout_s is not None and timeout_s > self._timeout_s:
            raise PeerError(
                f"calls of several workers get drain_timeout_s = {self._timeout_s:g} at most",
                code="wrong_value",
                status=422,
            )
        await self._crew.drain_all(timeout_s)
        # The others begin a moment later; the answer to this tells of a drain already.
        await self._own.drain(timeout_s)

    async def metrics(self) -> tuple[bytes, str]:
        """See :class:`Administered`."""
        return await self._crew.metrics()
