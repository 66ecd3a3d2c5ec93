"""What the admin listener shows of a process, and does to it. Of calls neither words nor audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from voicecore.core.overload import OverloadLevel
from voicecore.service.config import Settings
from voicecore.service.ending import Ending
from voicecore.service.manager import CallManager
from voicecore.service.metrics import Metrics
from voicecore.service.readiness import Readiness
from voicecore.service.version import version

_MOST_SHOWN = ("state", "connection", "age_s", "turn", "codec", "pair")
_IF_THERE = ("received", "sent", "round_trip_ms", "remote_jitter_ms", "concealed_ms")


class Administered(Protocol):
    """What the admin listener stands in front of: one process, or several as one."""

    async def overview(self) -> dict[str, object]:
        """Readiness, engines and live calls in plain JSON types."""
        ...

    async def hang_up(self, session_id: str) -> None:
        """End the call; PeerError 404 when there is no such call."""
        ...

    async def drain(self, timeout_s: float | None) -> None:
        """As SIGTERM does; None: for as long as the settings say. Twice changes nothing.

        PeerError 422 for a time that can't be given.
        """
        ...

    async def metrics(self) -> tuple[bytes, str]:
        """Prometheus' text format, and its content type."""
        ...


class OneProcess:
    """The :class:`Administered` of a process that is alone."""

    def __init__(
        self,
        settings: Settings,
        manager: CallManager,
        metrics: Metrics,
        ready: Readiness,
        ending: Ending,
    ) -> None:
        self._settings = settings
        self._manager = manager
        self._metrics = metrics
        self._ready = ready
        self._ending = ending

    async def overview(self) -> dict[str, object]:
        """See :class:`Administered`."""
        manager = self._manager
        return {
            "version": version(),
            "instance": self._settings.instance,
            "status": self._status(),
            "reasons": self._ready.reasons() or self._ready.impaired(),
            "drain_left_s": round(self._ending.left_s, 1) if self._ending.drains else None,
            "calls": {"active": manager.active, "limit": manager.limit},
            "overload": manager.overload_level.name.lower(),
            "engines": self._ready.engines(),
            "sessions": [as_row(described) for described in manager.describe_all()],
        }

    async def hang_up(self, session_id: str) -> None:
        """See :class:`Administered`."""
        await self._manager.hang_up(session_id)

    async def drain(self, timeout_s: float | None) -> None:
        """See :class:`Administered`."""
        # From this answer on nobody is taken: who drains is woken by it only after that.
        self._manager.draining = True
        self._ending.drain(timeout_s)

    async def metrics(self) -> tuple[bytes, str]:
        """See :class:`Administered`."""
        return self._metrics.render()

    def _status(self) -> str:
        manager = self._manager
        if manager.draining:
            return "draining"
        if self._ready.reasons() or self._ready.impaired():
            return "not_ready"
        if manager.active >= manager.limit or manager.overload_level is OverloadLevel.REFUSING:
            return "full"
        return "ready"


def as_row(described: Mapping[str, Any]) -> dict[str, object]:
    """One call as the page shows it, of :meth:`CallManager.describe`.

    ``received`` and ``sent`` count packets. ``loss_percent``: of the caller's that were due, how
    many never came; ``sent_loss_percent``: the same of ours, as far as the far end has said.
    ``mos_in`` and ``mos_out``: the mean estimate so far, None while it is unknown.
    """
    media: Mapping[str, Any] = described.get("media") or {}
    row: dict[str, object] = {"session_id": described["session_id"]}
    row |= {name: described.get(name) for name in _MOST_SHOWN}
    row |= {
        "loss_percent": _percent(media.get("lost"), media.get("received")),
        "sent_loss_percent": _percent(media.get("remote_lost"), media.get("sent"), of_all=True),
    }
    row |= {f"mos_{way}": score for way, score in (described.get("mos") or {}).items()}
    row |= {name: round(media[name], 2) for name in _IF_THERE if name in media}
    return row


def _percent(lost: float | None, others: float | None, *, of_all: bool = False) -> float | None:
    if lost is None or others is None:
        return None
    total = others if of_all else lost + others
    return round(100 * lost / total, 2) if total > 0 else None
