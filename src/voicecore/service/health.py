"""``/healthz`` (alive), ``/readyz`` (takes calls) and ``/metrics``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aiohttp import web

from voicecore.core.overload import OverloadLevel
from voicecore.errors import CapacityError, PeerError
from voicecore.service.crew import Crew
from voicecore.service.engine_metrics import EngineHealth
from voicecore.service.manager import CallManager
from voicecore.service.metrics import Metrics
from voicecore.service.probe.deep_check import DeepCheck
from voicecore.service.problems import problem
from voicecore.service.secret_text import masked


class Readiness:
    """What the server still waits for before it can take calls, and how its engines are."""

    def __init__(self) -> None:
        self._waits: dict[str, str] = {}
        self._health: EngineHealth = dict
        self._directory: Callable[[], Mapping[str, object]] = dict

    def watch_engines(self, health: EngineHealth) -> None:
        """From now on ``health`` is asked how the engines are."""
        self._health = health

    def watch_directory(self, describe: Callable[[], Mapping[str, object]]) -> None:
        """From now on ``describe`` is asked how the directory of all instances is."""
        self._directory = describe

    def directory(self) -> dict[str, object]:
        """How the directory of all instances is: told, no reason not to be ready."""
        return dict(self._directory())

    def engines(self) -> dict[str, dict[str, dict[str, str]]]:
        """By stage and engine: its ``state``, and the ``reason`` where it is down."""
        return {
            stage: {
                one.engine: {
                    "state": one.state,
                    **({"reason": masked(one.reason)} if one.reason else {}),
                }
                for one in states
            }
            for stage, states in self._health().items()
        }

    def engines_down(self) -> list[str]:
        """A sentence for each stage that has no engine left, saying why.

        Callers are taken nevertheless: they hear the apology, and by their turns it is
        found out that the engine is back.
        """
        return [
            f"{stage}: "
            + "; ".join(f"{one.engine} is down ({masked(one.reason)})" for one in states)
            for stage, states in self._health().items()
            if states and all(one.state == "down" for one in states)
        ]

    def wait_for(self, name: str, reason: str) -> None:
        """Not ready as long as ``name`` stands here; ``reason`` is for people."""
        self._waits[name] = reason

    def done(self, name: str) -> None:
        """``name`` is there; unknown names are ignored."""
        self._waits.pop(name, None)

    def reasons(self) -> list[str]:
        """Why no call can be taken; empty when ready."""
        return list(self._waits.values())

    def check(self) -> None:
        """Raise ``not_ready`` 503 while something is waited for."""
        if self._waits:
            reasons = "; ".join(self.reasons())
            raise CapacityError(f"not ready: {reasons}", retry_after_s=2, code="not_ready")


class HealthRoutes:
    """Handlers for probes and scrapers; need no token, hold no personal data."""

    def __init__(
        self,
        manager: CallManager,
        metrics: Metrics,
        ready: Readiness,
        crew: Crew | None = None,
        deep: DeepCheck | None = None,
    ) -> None:
        self._deep = deep
        self._manager = manager
        self._metrics = metrics
        self._ready = ready
        self._crew = crew

    def add_to(self, app: web.Application) -> None:
        """Register the routes with ``app``."""
        app.router.add_get("/healthz", self.alive)
        app.router.add_get("/readyz", self.admits)
        app.router.add_get("/metrics", self.scrape)

    async def alive(self, request: web.Request) -> web.Response:
        """200 as long as the event loop turns."""
        return web.json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})

    async def admits(self, request: web.Request) -> web.Response:
        """200 when a call would be taken and answered now, else 503 with all reasons.

        ``overload`` other than ``normal`` says that something is spared already;
        ``engines`` which engines of a chain are down, and why; ``directory`` how the one of
        all instances is, where there is one. Of several workers one that takes calls is
        enough, and ``workers`` tells how each is. ``?deep=1`` looks deeper: a real call to
        this process must have been answered lately, and ``deep`` tells of it.
        """
        deep = self._deep_check(request)
        try:
            told = self._admits() if self._crew is None else self._crew_admits(self._crew)
        except CapacityError as error:
            if deep is not None:
                raise _not_ready(
                    [str(error), "no call was placed to ourselves"], error.code
                ) from None
            raise
        if deep is not None:
            look = await deep.look(may_begin=not self._reasons())
            if look.trouble is not None:
                code, reason, wait_s = look.trouble
                return problem(503, code, masked(reason), {"Retry-After": str(wait_s)})
            told["deep"] = look.told()
        return web.json_response(told, headers={"Cache-Control": "no-store"})

    def _reasons(self) -> list[str]:
        """Why this process would take no call."""
        manager = self._manager
        reasons = self._ready.reasons() or self._ready.engines_down()
        if manager.draining:
            reasons.append("the server is draining: it is about to stop and takes no more calls")
        if manager.active >= manager.limit:
            reasons.append(f"all {manager.limit} places are taken")
        if manager.overload_level is OverloadLevel.REFUSING:
            reasons.append("the server is too busy for more calls")
        return reasons

    def _admits(self) -> dict[str, object]:
        manager, reasons = self._manager, self._reasons()
        if reasons:
            raise _not_ready(reasons, "draining" if manager.draining else "not_ready")
        directory = self._ready.directory()
        return {
            "status": "ready",
            "calls": {"active": manager.active, "limit": manager.limit},
            "overload": manager.overload_level.name.lower(),
            "engines": self._ready.engines(),
            **({"directory": directory} if directory else {}),
        }

    def _crew_admits(self, crew: Crew) -> dict[str, object]:
        workers = crew.workers()
        taking = [one for one in workers if one.takes_calls]
        active, limit = (
            sum(one.active for one in workers),
            sum(one.limit for one in workers if one.takes_calls),
        )
        open_ones = [one for one in taking if one.active < one.limit]
        if not any(one.state == "ready" for one in open_ones):
            reasons = self._ready.reasons() or self._ready.engines_down()
            if taking and not open_ones:
                reasons.append(f"all {limit} places are taken")
            reasons += [
                f"worker {one.worker} is {one.state}, overload {one.overload}"
                for one in workers
                if one not in taking
            ]
            raise _not_ready(reasons, "not_ready")
        return {
            "status": "ready",
            "calls": {"active": active, "limit": limit},
            "overload": min(open_ones, key=lambda one: one.level).overload,
            "engines": self._ready.engines(),
            "workers": [one.describe() for one in workers],
        }

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


def _not_ready(reasons: list[str], code: str) -> CapacityError:
    return CapacityError("; ".join(reasons), retry_after_s=2, code=code)
