"""What workers tell each other, on a socket that nobody else reaches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from voicecore.service.manager import CallManager
from voicecore.service.problems import problems_middleware

SESSIONS, METRICS, DRAIN_S, WINDOWS = "/sessions", "/metrics", "/drain_s", "/windows"


def build_inner_app(
    manager: CallManager,
    metrics: Callable[[], Awaitable[bytes]],
    allow: Callable[[float], None],
    windows: Callable[[bytes], Awaitable[bytes]],
) -> web.Application:
    """Routes about one worker's calls and counts; ``metrics`` gives those for the wire.

    ``allow`` is told what a drain that follows is to give calls, in seconds. ``windows``
    answers about the rates that are counted here.
    """

    async def sessions(request: web.Request) -> web.Response:
        return web.json_response(manager.describe_all())

    async def hang_up(request: web.Request) -> web.Response:
        await manager.hang_up(request.match_info["session_id"])
        return web.Response(status=204)

    async def counts(request: web.Request) -> web.Response:
        return web.Response(body=await metrics())

    async def drain_s(request: web.Request) -> web.Response:
        allow(float(request.match_info["seconds"]))
        return web.Response(status=204)

    async def rates(request: web.Request) -> web.Response:
        return web.Response(body=await windows(await request.read()))

    app = web.Application(middlewares=[problems_middleware])
    app.router.add_get(SESSIONS, sessions)
    app.router.add_delete(SESSIONS + "/{session_id}", hang_up)
    app.router.add_get(METRICS, counts)
    app.router.add_post(WINDOWS, rates)
    app.router.add_put(DRAIN_S + "/{seconds}", drain_s)
    return app
