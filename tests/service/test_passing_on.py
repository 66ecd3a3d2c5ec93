"""Requests about calls that somebody else has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from voicecore.service.cookie import COOKIE
from voicecore.service.directory import Alone
from voicecore.service.passing_on import PassOn, passing_on, to_owner

JSON = {"Content-Type": "application/json"}


class Recorder:
    """A way that takes the calls of ``others``, and remembers what it was asked."""

    def __init__(self, *others: str) -> None:
        self.others = others
        self.asked: list[str] = []

    async def __call__(self, request: web.Request, session_id: str) -> web.Response | None:
        self.asked.append(session_id)
        return web.Response(text="theirs") if session_id in self.others else None


@asynccontextmanager
async def site(way: PassOn) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    async def ours(request: web.Request) -> web.Response:
        return web.Response(text=f"ours {len(await request.read())}")

    app = web.Application(middlewares=[passing_on([way])], client_max_size=1 << 18)
    app.router.add_route("*", "/api/voice/session/{session_id}", ours)
    for name in ("session", "answer", "offer"):
        app.router.add_route("*", f"/api/voice/{name}", ours)
    app.router.add_get("/", ours)
    async with TestClient(TestServer(app)) as client:
        yield client


async def reply(way: PassOn, method: str, path: str, **options: Any) -> str:
    async with site(way) as client:
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


class Elsewhere(Alone):
    """Knows one session that another instance has."""

    async def owner_url(self, session_id: str) -> str | None:
        return "https://b.test/at/b" if session_id == "b-0-1f" else None


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/api/voice/session/b-0-1f?a=%26&b=1", {}),
        ("PATCH", "/api/voice/session/b-0-1f", {"json": {"candidate": None}}),
        ("DELETE", "/api/voice/session/b-0-1f", {}),
        ("POST", "/api/voice/answer", {"json": {"session_id": "b-0-1f"}}),
        ("GET", "/api/voice/session/b-0-1f", {"headers": {"X-Forwarded-Host": "evil.test"}}),
    ],
)
async def test_the_owner_is_named_with_path_and_query(
    method: str, path: str, options: dict[str, Any]
) -> None:
    async with site(to_owner(Elsewhere())) as client:
        response = await client.request(method, path, allow_redirects=False, **options)
        assert response.status == 307
        assert response.headers["Location"] == "https://b.test/at/b" + path
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["session/c-0-1f", "session/1f", "session"])
async def test_what_nobody_else_has_is_handled_here(path: str) -> None:
    method = "POST" if path == "session" else "GET"
    text = await reply(to_owner(Elsewhere()), method, f"/api/voice/{path}")
    assert text.startswith("ours")
