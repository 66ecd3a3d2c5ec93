"""The admin listener: live calls, drain, and metrics, apart from what callers reach.

::

    GET    /admin/sessions       the live calls: a page for browsers, else JSON
    DELETE /admin/sessions/{id}  hang up
    POST   /admin/drain          {"timeout_s": n}, or nothing: as SIGTERM
    GET    /metrics, /healthz    without the token
"""

from __future__ import annotations

import math
from pathlib import Path

from aiohttp import web

from voicecore.errors import PeerError
from voicecore.service import bodies
from voicecore.service.admin_door import AdminDoor
from voicecore.service.config import Settings
from voicecore.service.console_routes import CONSOLE_DIR, handlers_of
from voicecore.service.forwarded import ProxyTrust
from voicecore.service.guard import CommonHeaders, Guard
from voicecore.service.overview import Administered
from voicecore.service.problems import problems_middleware

PAGE_DIR = Path(__file__).parent / "admin_page"
SESSIONS = "/admin/sessions"
BODY_LIMIT_BYTES = 4096
MOST_DRAIN_S = 86_400

_OF_THE_CONSOLE = ("icon.svg", "palette.css")
"""What both pages have."""
_OPEN_PATHS = ("/metrics", "/healthz")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(), camera=(), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


def build_admin_app(settings: Settings, administered: Administered) -> web.Application:
    """The admin listener's routes and guards around ``administered``, whose life is not its own."""
    # No origin but its own: a page that may place calls may not end other people's.
    guard = Guard(settings.allowed_hosts, ())
    door = AdminDoor(settings.admin_token.get_secret_value(), _OPEN_PATHS)
    app = web.Application(
        middlewares=[
            problems_middleware,
            guard.middleware(ProxyTrust(settings.trusted_proxies)),
            door.middleware(),
        ],
        client_max_size=BODY_LIMIT_BYTES,
    )
    app.on_response_prepare.append(_add_headers)
    app.on_response_prepare.append(CommonHeaders(settings.tls_cert is not None))
    AdminRoutes(administered).add_to(app)
    return app


class AdminRoutes:
    """Handlers of the admin listener."""

    def __init__(self, administered: Administered) -> None:
        self._administered = administered
        self._page = handlers_of(PAGE_DIR, _HEADERS)

    def add_to(self, app: web.Application) -> None:
        """Register the routes with ``app``."""
        router = app.router
        router.add_get("/", self.entrance)
        router.add_get(SESSIONS, self.sessions)
        router.add_delete(SESSIONS + "/{session_id}", self.hang_up)
        router.add_post("/admin/drain", self.drain)
        router.add_get("/metrics", self.scrape)
        router.add_get("/healthz", self.alive)
        console = handlers_of(CONSOLE_DIR, _HEADERS)
        shared = {name: console[name] for name in _OF_THE_CONSOLE}
        for name, handler in (self._page | shared).items():
            router.add_get(f"/admin/page/{name}", handler)

    async def entrance(self, request: web.Request) -> web.StreamResponse:
        """There is one page."""
        raise web.HTTPFound(SESSIONS)

    async def sessions(self, request: web.Request) -> web.StreamResponse:
        """The live calls; ``?format=json`` or an Accept without text/html asks for JSON."""
        wants_page = "text/html" in request.headers.get("Accept", "")
        if wants_page and request.query.get("format") != "json":
            return await self._page["index.html"](request)
        return web.json_response(await self._administered.overview())

    async def hang_up(self, request: web.Request) -> web.Response:
        """End a call. 204."""
        await self._administered.hang_up(request.match_info["session_id"])
        return web.Response(status=204)

    async def drain(self, request: web.Request) -> web.Response:
        """Begin to stop. 202, also when that has begun already."""
        body = await bodies.read_json(request, may_be_empty=True)
        timeout_s = None if body is None else _timeout_s(bodies.as_object(body))
        await self._administered.drain(timeout_s)
        seen = await self._administered.overview()
        told = {name: seen[name] for name in ("status", "drain_left_s", "calls")}
        return web.json_response(told, status=202)

    async def scrape(self, request: web.Request) -> web.Response:
        """Prometheus' text format."""
        body, content_type = await self._administered.metrics()
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def alive(self, request: web.Request) -> web.Response:
        """200 as long as the event loop turns."""
        return web.json_response({"status": "ok"})


def _timeout_s(body: dict[str, object]) -> float | None:
    value = body.get("timeout_s")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PeerError("timeout_s must be a number", code="wrong_type", status=422)
    if not (math.isfinite(value) and 0 <= value <= MOST_DRAIN_S):
        raise PeerError(f"timeout_s must be 0 to {MOST_DRAIN_S}", code="wrong_value", status=422)
    return float(value)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: what every reply carries, errors included."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
