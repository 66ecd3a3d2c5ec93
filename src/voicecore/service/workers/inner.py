"""What workers tell each other, on a socket that nobody else reaches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from voicecore.service.manager import CallManager
from voicecore.service.problems import problems_middleware

SESSIONS, METRICS = "/sessions", "/metrics"


def build_inner_app(
    manager: CallManager, metrics: Callable[[], Awaitable[bytes]]
) -> web.Application:
    """Routes about one worker's calls and counts; ``metrics`` gives those for the wire."""

    async def sessions(request: web.Request) -> web.Response:
        return web.json_response(manager.describe_all())

    async def hang_up(request: web.Request) -> web.Response:
        await manager.hang_up(request.match_info["session_id"])
        return web.Response(status=204)

    async def counts(request: web.Request) -> web.Response:
        return web.Response(body=await metrics())

    app = web.Application(middlewares=[problems_middleware])
    app.router.add_get(SESSIONS, sessions)
    app.router.add_delete(SESSIONS + "/{session_id}", hang_up)
    app.router.add_get(METRICS, counts)
    return app
