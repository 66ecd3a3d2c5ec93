"""The web application, put together from its parts."""

from __future__ import annotations

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
from voicecore.service.problems import problems_middleware
from voicecore.service.voice_routes import VoiceRoutes


def build_app(
    settings: Settings,
    manager: CallManager,
    metrics: Metrics,
    ready: Readiness,
    console_dir: Path = CONSOLE_DIR,
) -> web.Application:
    """All routes and guards around ``manager``.

    The app owns nothing: starting and closing the manager and the engines is
    the caller's part (see :mod:`voicecore.service.server`).
    """
    guard = Guard(settings.allowed_hosts, settings.allowed_origins)
    app = web.Application(
        middlewares=[
            problems_middleware,
            guard.middleware(ProxyTrust(settings.trusted_proxies)),
        ],
        client_max_size=BODY_LIMIT_BYTES,
    )
    app.on_response_prepare.append(add_common_headers)
    VoiceRoutes(settings, manager, ready).add_to(app)
    HealthRoutes(manager, metrics, ready).add_to(app)
    add_console(app, console_dir)
    metrics.set_limit(manager.limit)
    return app
