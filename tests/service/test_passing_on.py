"""Requests about calls that somebody else has."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from voicecore.service.cookie import COOKIE
from voicecore.service.passing_on import passing_on

JSON = {"Content-Type": "application/json"}


class Recorder:
    """A way that takes the calls of ``others``, and remembers what it was asked."""

    def __init__(self, *others: str) -> None:
        self.others = others
        self.asked: list[str] = []

    async def __call__(self, request: web.Request, session_id: str) -> web.Response | None:
        self.asked.append(session_id)
        return web.Response(text="theirs") if session_id in self.others else None


async def reply(way: Recorder, method: str, path: str, **options: Any) -> str:
    async def ours(request: web.Request) -> web.Response:
        return web.Response(text=f"ours {len(await request.read())}")

    app = web.Application(middlewares=[passing_on([way])], client_max_size=1 << 18)
    app.router.add_route("*", "/api/voice/session/{session_id}", ours)
    for name in ("session", "answer", "offer"):
        app.router.add_route("*", f"/api/voice/{name}", ours)
    app.router.add_get("/", ours)
    async with TestClient(TestServer(app)) as client:
        response = await client.request(method, path, **options)
        return await response.text()


@pytest.mark.parametrize(
    ("method", "path", "options", "named"),
    [
        ("GET", "/api/voice/session/a-0-1", {}, "a-0-1"),
        ("POST", "/api/voice/answer", {"json": {"session_id": "a-0-1"}}, "a-0-1"),
        ("POST", "/api/voice/answer", {"cookies": {COOKIE: "a-0-1.token"}}, "a-0-1"),
        ("DELETE", "/api/voice/session", {"cookies": {COOKIE: "a-0-1.token"}}, "a-0-1"),
        ("POST", "/api/voice/session", {"cookies": {COOKIE: "a-0-1.token"}}, ""),
        ("POST", "/api/voice/offer", {"json": {"sdp": "v=0"}}, ""),
        ("POST", "/api/voice/session", {"json": {"session_id": "a-0-1"}}, ""),
        ("POST", "/api/voice/answer", {"data": b"\xff{", "headers": JSON}, ""),
        ("POST", "/api/voice/answer", {"data": b"[" * 100_000, "headers": JSON}, ""),
        ("POST", "/api/voice/answer", {"json": {"session_id": 7}}, ""),
        ("POST", "/api/voice/answer", {"json": ["session_id"]}, ""),
    ],
)
async def test_the_session_is_found_where_a_request_names_it(
    method: str, path: str, options: dict[str, Any], named: str
) -> None:
    way = Recorder("a-0-1")
    text = await reply(way, method, path, **options)
    assert way.asked == [named]
    assert text.split()[0] == ("theirs" if named else "ours")


async def test_the_body_is_still_there_for_the_handler() -> None:
    assert await reply(Recorder(), "POST", "/api/voice/answer", json={"a": 1}) == "ours 8"


@pytest.mark.parametrize("path", ["/", "/api/voice/nowhere"])
async def test_what_is_no_voice_route_is_nobody_elses(path: str) -> None:
    way = Recorder("")
    await reply(way, "GET", path)
    assert way.asked == []
