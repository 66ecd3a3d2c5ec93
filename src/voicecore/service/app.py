"""The web application, put together from its parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from voicecore.service.bodies import BODY_LIMIT_BYTES
from voicecore.service.config import Settings
from voicecore.service.console_routes import CONSOLE_DIR, add_console
from voicecore.service.forwarded import ProxyTrust
from voicecore.service.guard import Guard, add_common_headers
from voicecore.service.health import HealthRoutes, Readiness
from voicecore.service.manager import CallManager
from voicecore.service.metrics import Metrics
from voicecore.service.passing_on import PassOn, passing_on
from voicecore.service.problems import problems_middleware
from voicecore.service.refusals import counting_refusals
from voicecore.service.voice_routes import VoiceRoutes


def build_app(
    settings: Settings,
    manager: CallManager,
    metrics: Metrics,
    ready: Readiness,
    console_dir: Path = CONSOLE_DIR,
    ways: Sequence[PassOn] = (),
) -> web.Application:
    """All routes and guards around ``manager``; ``ways`` lead to calls that others have.

    The app owns nothing: starting and closing the manager and the engines is
    the caller's part (see :mod:`voicecore.service.server`).
    """
    guard = Guard(settings.allowed_hosts, settings.allowed_origins)
    app = web.Application(
        middlewares=[
            problems_middleware,
            counting_refusals(metrics.call_refused),
            guard.middleware(ProxyTrust(settings.trusted_proxies)),
            *([passing_on(ways)] if ways else []),
        ],
        client_max_size=BODY_LIMIT_BYTES,
    )
    app.on_response_prepare.append(add_common_headers)
    VoiceRoutes(settings, manager, ready, refused=metrics.call_refused).add_to(app)
    HealthRoutes(manager, metrics, ready).add_to(app)
    add_console(app, console_dir)
    metrics.set_limit(manager.limit)
    return app
