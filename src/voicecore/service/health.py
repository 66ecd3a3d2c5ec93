"""``/healthz`` (alive), ``/readyz`` (takes calls) and ``/metrics``."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web

from voicecore.core.overload import OverloadLevel
from voicecore.errors import PeerError
from voicecore.service.crew import Crew
from voicecore.service.manager import CallManager
from voicecore.service.metrics import Metrics
from voicecore.service.probe.deep_check import DeepCheck
from voicecore.service.problems import problem
from voicecore.service.readiness import Readiness
from voicecore.service.secret_text import masked


class _Verdict(NamedTuple):
    """Why no call is taken (empty: one is), and else what is told."""

    reasons: list[str]
    told: dict[str, object]


class HealthRoutes:
    """Handlers for probes and scrapers; need no token, hold no personal data.

    ``crew``: the workers of whom this process is one; ``deep``: the check behind
    ``?deep=1``.
    """

    def __init__(
        self,
        manager: CallManager,
        metrics: Metrics,
        ready: Readiness,
        crew: Crew | None = None,
        deep: DeepCheck | None = None,
    ) -> None:
        self._manager = manager
        self._metrics = metrics
        self._ready = ready
        self._crew = crew
        self._deep = deep

    def add_to(self, app: web.Application, *, metrics: bool = True) -> None:
        """Register the routes with ``app``; without ``metrics`` those are told elsewhere."""
        app.router.add_get("/healthz", self.alive)
        app.router.add_get("/readyz", self.admits)
        if metrics:
            app.router.add_get("/metrics", self.scrape)

    async def alive(self, request: web.Request) -> web.Response:
        """200 as long as the event loop turns."""
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def admits(self, request: web.Request) -> web.StreamResponse:
        """200 when a call would be taken and answered now, else 503 with all reasons.

        ``overload`` other than ``normal`` says that something is spared already;
        ``engines`` which engines of a chain are down, and why; ``turn`` the same of TURN
        servers, ``directory`` how the one of all instances is, where there are any. Of
        several workers one that takes calls is enough, and ``workers`` tells how each is.
        ``?deep=1`` looks deeper: a real call to this process must have been answered
        lately, and ``deep`` tells of it.
        """
        deep = self._deep_check(request)
        reasons, told = self._own() if self._crew is None else self._of_all(self._crew)
        if reasons and deep is not None:
            reasons.append("no call was placed to ourselves")
        if reasons:
            code = "draining" if self._manager.draining else "not_ready"
            return problem(503, code, "; ".join(reasons), {"Retry-After": "2"})
        if deep is not None:
            if self._crew is not None:
                elsewhere = await self._crew.in_turn(request, deep.period_s)
                if elsewhere is not None:
                    return elsewhere
            look = await deep.look(may_begin=not self._own().reasons)
            if look.trouble is not None:
                code, reason, wait_s = look.trouble
                return problem(503, code, masked(reason), {"Retry-After": str(wait_s)})
            told["deep"] = look.told()
        if directory := self._ready.directory():
            told["directory"] = directory
        if turn := self._ready.turn():
            told["turn"] = turn
        shown = {"status": "ready", **told, "engines": self._ready.engines()}
        return web.json_response(shown, headers={"Cache-Control": "no-store"})

    def _own(self) -> _Verdict:
        manager = self._manager
        reasons = self._ready.reasons() or self._ready.impaired()
        if manager.draining:
            reasons.append("the server is draining: it is about to stop and takes no more calls")
        if manager.active >= manager.limit:
            reasons.append(f"all {manager.limit} places are taken")
        if manager.overload_level is OverloadLevel.REFUSING:
            reasons.append("the server is too busy for more calls")
        told: dict[str, object] = {
            "calls": {"active": manager.active, "limit": manager.limit},
            "overload": manager.overload_level.name.lower(),
        }
        return _Verdict(reasons, told)

    def _of_all(self, crew: Crew) -> _Verdict:
        workers = crew.workers()
        taking = [one for one in workers if one.takes_calls]
        with_room = [one for one in taking if one.active < one.limit]
        limit = sum(one.limit for one in taking)
        if not any(one.state == "ready" for one in with_room):
            reasons = self._ready.reasons() or self._ready.impaired()
            if taking and not with_room:
                reasons.append(f"all {limit} places are taken")
            reasons += [f"worker {one.worker} {one.why_not}" for one in workers if one.why_not]
            return _Verdict(reasons or ["no worker has both room and its engines"], {})
        told: dict[str, object] = {
            "calls": {"active": sum(one.active for one in workers), "limit": limit},
            "overload": min(one.level for one in with_room).name.lower(),
            "workers": [one.describe() for one in workers],
        }
        return _Verdict([], told)

    def _deep_check(self, request: web.Request) -> DeepCheck | None:
        wanted = request.query.get("deep", "0")
        if wanted not in ("0", "1"):
            raise PeerError("deep must be 0 or 1", code="wrong_value", status=422)
        if wanted == "1" and self._deep is None:
            raise PeerError("this server has no deep check", code="no_deep_check", status=404)
        return self._deep if wanted == "1" else None

    async def scrape(self, request: web.Request) -> web.Response:
        """Prometheus' text format; of all workers where there are several."""
        if self._crew is None:
            body, content_type = self._metrics.render()
        else:
            body, content_type = await self._crew.metrics()
        return web.Response(
            body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"}
        )
