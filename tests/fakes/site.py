"""A real HTTP server around the fake call manager."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fakes.calls import FakeManager
from voicecore.service.app import build_app
from voicecore.service.config import Settings
from voicecore.service.metrics import Metrics
from voicecore.service.probe.deep_check import DeepCheck
from voicecore.service.readiness import Readiness


@dataclass
class Site:
    """A running app and what it was built from."""

    client: TestClient[web.Request, web.Application]
    manager: FakeManager
    metrics: Metrics
    ready: Readiness

    @property
    def origin(self) -> str:
        """The server's own origin."""
        return str(self.client.make_url("/")).rstrip("/")

    async def open(self) -> dict[str, Any]:
        """Open a call; the client's cookie jar keeps the cookie."""
        async with self.client.post("/api/voice/session") as reply:
            assert reply.status == 200
            body: dict[str, Any] = await reply.json()
            return body


MakeSite = Callable[..., Awaitable[Site]]


async def make_site(
    stack: AsyncExitStack,
    console_dir: Path,
    limit: int = 3,
    deep: DeepCheck | None = None,
    **settings: Any,
) -> Site:
    """A site that ``stack`` ends; keywords beyond ``limit`` and ``deep`` are settings."""
    manager, metrics, ready = FakeManager(limit), Metrics(), Readiness()
    app = build_app(Settings(**settings), manager, metrics, ready, console_dir, deep=deep)
    client = await stack.enter_async_context(TestClient(TestServer(app)))
    return Site(client, manager, metrics, ready)
