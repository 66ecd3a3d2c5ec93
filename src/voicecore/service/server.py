"""One running server: engines, manager and web application, started and stopped in order.

It listens before the engines are loaded, so that probes see ``/readyz`` say
why no call is taken yet (a provider is away, say), and a taken port is noticed
before the long part.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

from voicecore.engines.protocols import VadEngine
from voicecore.engines.vad.backend import Backend
from voicecore.errors import EngineError, MisuseError
from voicecore.service.access.door import Access
from voicecore.service.access.rates import Rates
from voicecore.service.admin import build_admin_app
from voicecore.service.app import build_app
from voicecore.service.config import Settings
from voicecore.service.directory import Alone, Directory
from voicecore.service.directory_factory import build_directory
from voicecore.service.ending import Ending
from voicecore.service.engine_factory import Engines, build_engines
from voicecore.service.listening import (
    ADMIN_FLAGS,
    admin_by_tls,
    urls_of,
    where_to_look,
)
from voicecore.service.manager import CallManager
from voicecore.service.metrics import Metrics
from voicecore.service.overview import Administered, OneProcess
from voicecore.service.passing_on import PassOn, to_owner
from voicecore.service.probe.deep_check import DeepCheck
from voicecore.service.probe.deep_metrics import DeepMetrics
from voicecore.service.probe.own_call import OwnCall
from voicecore.service.readiness import Readiness
from voicecore.service.secret_text import masked
from voicecore.service.sites import Runner, listen_on, runner_of
from voicecore.service.start_again import until_it_works
from voicecore.service.tls import ssl_context
from voicecore.service.traced_meter import TracedMeter
from voicecore.service.version import version
from voicecore.service.workers.administered import AllWorkers
from voicecore.service.workers.member import Member
from voicecore.service.workers.place import ADMIN, PUBLIC

_log = logging.getLogger(__name__)

_PROGRESS_S = 5.0
"""How often a drain tells how far it is."""


class ManagerFactory(Protocol):
    """Makes the manager of a server's calls from engines that have not started yet."""

    def __call__(
        self, settings: Settings, engines: Engines, metrics: Metrics, directory: Directory
    ) -> CallManager:
        """Called on the event loop's thread, with the loop running."""
        ...


def _real_manager(
    settings: Settings, engines: Engines, metrics: Metrics, directory: Directory
) -> CallManager:
    # Late, since it pulls in the media stack, which --help and its tests do without.
    from voicecore.service.calls import build_manager

    return build_manager(settings, engines, metrics, directory)


class Server:
    """A voicecore service in this process.

    ``start()`` once, then ``close()`` once (also after a failed start).
    ``report`` gets progress lines for people. ``member`` is its place among the workers of
    a host; closed here.
    """

    def __init__(
        self,
        settings: Settings,
        report: Callable[[str], None],
        manager_factory: ManagerFactory = _real_manager,
        ending: Ending | None = None,
        member: Member | None = None,
    ) -> None:
        self.settings = settings
        self.ending = ending or Ending(settings.drain_timeout_s)
        self._member = member
        self.metrics = Metrics()
        self.ready = Readiness()
        self._report = report
        self._manager_factory = manager_factory
        self._engines: Engines | None = None
        self._directory: Directory = Alone()
        self._manager: CallManager | None = None
        self._deep: DeepCheck | None = None
        self._runner: Runner | None = None
        self._admin_runner: Runner | None = None
        self._fingerprint = ""

    @property
    def urls(self) -> list[str]:
        """Where a browser finds the page; needs a started server."""
        return urls_of(self.settings, self._port)

    @property
    def _port(self) -> int:
        if self._runner is None or not self._runner.addresses:
            raise MisuseError("the server does not listen yet")
        port: int = self._runner.addresses[0][1]
        return port

    async def start(self) -> None:
        """Listen, load the engines, and admit calls.

        A provider that can't be reached now is tried again until it can; ``/readyz``
        tells of it meanwhile. Raises ConfigError (settings or port can't be used),
        MissingLibraryError or EngineError (what waiting doesn't mend).
        """
        context, self._fingerprint = ssl_context(self.settings)
        self._engines = build_engines(self.settings, TracedMeter(self.metrics.engines))
        self._directory = self._build_directory()
        self._manager = self._manager_factory(
            self.settings, self._engines, self.metrics, self._directory
        )
        self.ready.wait_for("engines", "the engines are loading")
        await self._listen(context, self._manager)
        self.ready.watch_engines(self._engines.health)
        self.metrics.watch_engines(self._engines.health)
        self.ready.watch_directory(self._directory.describe)
        required = self.settings.ice_transport_policy != "all"
        self.ready.watch_turn(self._manager.turn, required=required)
        self.metrics.watch_turn(self._manager.turn)
        await until_it_works(partial(self._engines.start, self._report), self._not_yet)
        self._tell_vad_backend(self._engines.vad)
        await until_it_works(self._manager.start, self._not_yet)
        await self._directory.start(self._manager.limit)
        self.ready.done("engines")
        if self._member is not None:
            self._member.tell()

    def _build_directory(self) -> Directory:
        if self._member is None:
            return build_directory(self.settings, self.metrics)
        shared = build_directory(self.settings, self.metrics, self._member.index)
        return self._member.directory(shared)

    def _not_yet(self, error: EngineError, wait_s: float) -> None:
        self.ready.wait_for("engines", masked(f"an engine can't start yet: {error}"))
        self._report(masked(f"{error}; tried again in {wait_s:.0f} s"))

    def _tell_vad_backend(self, vad: VadEngine) -> None:
        """Only Silero can be computed in more than one way."""
        backend = getattr(vad, "backend", None)
        if isinstance(backend, Backend):
            self.metrics.vad_backend(backend.name, backend.isa)
            self._report(f"vad {vad.name}: {' '.join(filter(None, backend[:2]))}")

    async def _listen(self, context: ssl.SSLContext | None, manager: CallManager) -> None:
        settings, member = self.settings, self._member
        ways: list[PassOn] = []
        if settings.redis_url.get_secret_value():
            ways.append(to_owner(self._directory))
        if member is not None:
            ways.append(member.pass_on)
        deep = self._deep = DeepCheck(
            OwnCall(lambda: self._runner),
            settings.deep_check_s,
            on_result=DeepMetrics(self.metrics.registry).take,
        )
        app = build_app(
            settings,
            manager,
            self.metrics,
            self.ready,
            ways=ways,
            crew=member,
            access=Access(settings, self._rates()),
            deep=deep,
        )
        self._runner = await runner_of(app, settings.trusted_proxies)
        if member is not None:
            member.begin(manager, self.metrics, self.ready)
            await member.listen(self._runner, PUBLIC, context)
            await member.listen_to_others(self._runner)
        else:
            await listen_on(self._runner, settings.host, settings.port, context)
        if settings.admin_port:
            await self._listen_to_admins(context, manager)

    def _rates(self) -> Rates | None:
        """Counted by all workers together; None: as the settings say."""
        settings = self.settings
        if self._member is None or settings.redis_url.get_secret_value():
            return None
        return Rates(settings.rate_per_key, settings.rate_per_address, self._member.windows)

    async def _listen_to_admins(self, context: ssl.SSLContext | None, manager: CallManager) -> None:
        settings, member = self.settings, self._member
        administered: Administered = OneProcess(
            settings, manager, self.metrics, self.ready, self.ending
        )
        if member is not None:
            administered = AllWorkers(member, administered, settings.drain_timeout_s)
        self._admin_runner = await runner_of(build_admin_app(settings, administered))
        context = context if admin_by_tls(settings) else None
        if member is not None:
            await member.listen(self._admin_runner, ADMIN, context)
            return
        host, port = settings.admin_host, settings.admin_port
        await listen_on(self._admin_runner, host, port, context, ADMIN_FLAGS)

    def stop_admitting(self) -> None:
        """Refuse new calls from now on; ``/readyz`` says so to balancers."""
        if self._manager is not None:
            self._manager.draining = True
            if self._member is not None and self._runner is not None:
                self._member.tell()
        self._directory.drain()

    async def drain(self) -> None:
        """Take no more calls; return when all are over, with a goodbye in the end.

        How long they get says :attr:`ending`. The web goes on: calls need it.
        """
        self.stop_admitting()
        if self._manager is None:
            return
        progress = asyncio.create_task(self._tell_drain(self._manager), name="drain-progress")
        try:
            await self._manager.drain(self.ending.left_s)
        finally:
            progress.cancel()
            await asyncio.gather(progress, return_exceptions=True)

    async def _tell_drain(self, manager: CallManager) -> None:
        while manager.active:
            calls = f"{manager.active} call{'s' if manager.active > 1 else ''}"
            left_s = round(self.ending.left_s)
            if not left_s:
                self._report(f"draining: goodbye to {calls}")
                return
            self._report(f"draining: {calls} left, up to {left_s} s")
            await asyncio.sleep(min(_PROGRESS_S, left_s))

    async def close(self) -> None:
        """Hang up all calls, stop listening, free the engines; each step even if one fails."""
        self.stop_admitting()
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        if self._deep is not None:
            steps.append(("deep check", self._deep.close))
        if self._manager is not None:
            steps.append(("calls", self._manager.close))
        if self._runner is not None:
            steps.append(("web", self._runner.cleanup))
        steps.append(("directory", self._directory.close))
        if self._admin_runner is not None:
            steps.append(("admin", self._admin_runner.cleanup))
        if self._member is not None:
            steps.append(("workers", self._member.close))
        if self._engines is not None:
            steps.append(("engines", self._engines.close))
        for name, step in steps:
            try:
                await step()
            except Exception:
                _log.exception("closing %s failed", name)

    def banner(self) -> list[str]:
        """Lines that tell a newcomer what runs and where to look."""
        assert self._manager is not None
        assert self._engines is not None
        names = ", ".join(f"{stage} {name}" for stage, name in self._engines.names.items())
        return [
            f"voicecore {version()} takes up to {self._manager.limit} calls at once ({names})",
            *where_to_look(self.settings, self._port, self._fingerprint),
        ]
