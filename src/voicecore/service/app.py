"""The web application, put together from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from voicecore.service.access.door import Access
from voicecore.service.bodies import BODY_LIMIT_BYTES
from voicecore.service.config import Settings
from voicecore.service.console_routes import CONSOLE_DIR, add_console
from voicecore.service.crew import Crew
from voicecore.service.forwarded import ProxyTrust
from voicecore.service.guard import CommonHeaders, Guard
from voicecore.service.health import HealthRoutes
from voicecore.service.manager import CallManager
from voicecore.service.metrics import Metrics
from voicecore.service.openapi import add_openapi
from voicecore.service.passing_on import PassOn, passing_on
from voicecore.service.probe.deep_check import DeepCheck
from voicecore.service.problems import problems_middleware
from voicecore.service.readiness import Readiness
from voicecore.service.refusals import counting_refusals
from voicecore.service.version import version
from voicecore.service.voice_routes import VoiceRoutes


def build_app(
    settings: Settings,
    manager: CallManager,
    metrics: Metrics,
    ready: Readiness,
    console_dir: Path = CONSOLE_DIR,
    ways: Sequence[PassOn] = (),
    crew: Crew | None = None,
    access: Access | None = None,
    deep: DeepCheck | None = None,
) -> web.Application:
    """All routes and guards around ``manager``; ``ways`` lead to calls that others have.

    ``crew`` are the workers of whom this process is one; ``deep`` the check behind
    ``/readyz?deep=1``, where there is one.

    The app owns ``access`` (made of the settings if None) and nothing else: starting and
    closing the manager and the engines is the caller's part (see
    :mod:`voicecore.service.server`). Raises ConfigError, see :class:`Access`.
    """
    door = access or Access(settings)
    guard = Guard(settings.allowed_hosts, settings.allowed_origins)
    app = web.Application(
        middlewares=[
            problems_middleware,
            counting_refusals(metrics.call_refused),
            guard.middleware(ProxyTrust(settings.trusted_proxies)),
            door.middleware(),
            *([passing_on(ways)] if ways else []),
        ],
        client_max_size=BODY_LIMIT_BYTES,
    )
    app.on_response_prepare.append(CommonHeaders(settings.tls_cert is not None))
    app.on_cleanup.append(lambda _: door.close())
    VoiceRoutes(settings, manager, ready, refused=metrics.call_refused).add_to(app)
    # With an admin listener metrics are told there alone.
    health = HealthRoutes(manager, metrics, ready, crew, deep)
    health.add_to(app, metrics=not settings.admin_port)
    add_openapi(app, version())
    add_console(app, console_dir)
    metrics.set_limit(manager.limit)
    return app
