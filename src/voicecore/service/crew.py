"""All workers of this host's service, as health, metrics and administration see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from voicecore.core.overload import OverloadLevel


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker, for ``/readyz``; ``state`` is a word."""

    worker: int
    state: str
    level: OverloadLevel
    active: int
    limit: int
    takes_calls: bool

    @property
    def overload(self) -> str:
        """What is given up there, as a word."""
        return self.level.name.lower()

    @property
    def why_not(self) -> str:
        """Why it takes no calls, full or not; ``""``: it does."""
        if self.takes_calls:
            return ""
        refuses = self.level is OverloadLevel.REFUSING
        return "is too busy for more calls" if refuses else f"is {self.state}"

    def describe(self) -> dict[str, object]:
        """In plain JSON types."""
        return {
            "worker": self.worker,
            "state": self.state,
            "overload": self.overload,
            "calls": {"active": self.active, "limit": self.limit},
        }


class Crew(Protocol):
    """What one worker can say and do for all. A service of one process has none.

    Belongs to the event loop. Who doesn't answer within two seconds is left out.
    """

    def workers(self) -> Sequence[WorkerView]:
        """How all are now, in their order; cheap."""
        ...

    async def metrics(self) -> tuple[bytes, str]:
        """The exposition text of all and its content type."""
        ...

    async def in_turn(self, request: web.Request, period_s: float) -> web.StreamResponse | None:
        """The answer to ``request`` of the worker whose turn this period is; None: it is ours.

        Those that have room take turns, so what each does once a period the service does
        once a period.
        """
        ...

    async def sessions_of_all(self) -> list[dict[str, object]]:
        """``CallManager.describe_all`` of all, by worker."""
        ...

    async def hang_up(self, session_id: str) -> None:
        """End the call, whoever has it. PeerError 404 when nobody has it."""
        ...

    async def drain_all(self, timeout_s: float | None = None) -> None:
        """Have the service stop as by SIGTERM: all drain, and exit. Twice is once.

        ``timeout_s``: what calls get, if not what the settings say; no longer than that.
        """
        ...
