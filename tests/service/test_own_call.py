"""The child by which a service calls itself. It is a process, so this is ``slow``."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from voicecore.service.probe.own_call import OwnCall

pytestmark = pytest.mark.slow


SRC = Path(__file__).parents[2] / "src"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sockets are made; the child is of this source."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(SRC))
    return tmp_path


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def runner_of(handler: Any) -> web.AppRunner:
    app = web.Application()
    app.router.add_post("/api/voice/session", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    return runner


async def test_it_tells_what_it_was_told_and_shows_nobody_s_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICECORE_PROBE_KEY", "of somebody else")
    shown: list[str | None] = []

    async def full(request: web.Request) -> web.Response:
        shown.append(request.headers.get("Authorization"))
        error = {"code": "at_capacity", "message": "full"}
        return web.json_response({"error": error}, status=503)

    runner = await runner_of(full)
    try:
        report = await OwnCall(lambda: runner)()
    finally:
        await runner.cleanup()
    assert shown == [None]
    assert (report.failed_stage, report.reason) == ("http", "HTTP status 503: at_capacity, full")
    assert left_in(folder) == []


async def test_who_is_broken_off_leaves_nothing(folder: Path) -> None:
    called = asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError

    runner = await runner_of(silent)
    try:
        call = asyncio.ensure_future(OwnCall(lambda: runner)())
        async with asyncio.timeout(60):
            await called.wait()
            assert len(left_in(folder)) == 1
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            assert call.cancelled()
            assert left_in(folder) == []
    finally:
        await runner.cleanup()


async def test_without_a_listener_there_is_no_call() -> None:
    report = await OwnCall(lambda: None)()
    assert (report.failed_stage, report.ok) == ("probe", False)
