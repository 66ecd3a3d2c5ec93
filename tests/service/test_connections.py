"""Connections of strangers: bounded in time, and what they send stays out of the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fakes.calls import FakeManager
from service.test_server import server
from voicecore.service import sites

SECRET = "k3y-0123456789abcdef"


@asynccontextmanager
async def connected(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple]:
    """A connection to a server that waits for 0.2 s only."""
    monkeypatch.setattr(sites, "IDLE_CONNECTION_S", 0.2)
    one = server(FakeManager())
    await one.start()
    port = int(one.urls[0].rsplit(":", 1)[1].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await one.close()


@pytest.mark.parametrize(
    "head",
    [b"", b"G", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: 1", b"\x16\x03\x01\x02"],
    ids=["nothing", "a letter", "half a head", "TLS"],
)
async def test_who_sends_no_whole_request_is_let_go(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    async with connected(monkeypatch) as (reader, writer):
        writer.write(head)
        async with asyncio.timeout(20):
            assert await reader.read() in (b"",) or head.startswith(b"\x16")


async def test_who_drips_is_let_go_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with connected(monkeypatch) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\n")
        ended = asyncio.ensure_future(reader.read())
        async with asyncio.timeout(20):
            while not ended.done():
                writer.write(b"X: y\r\n")
                await asyncio.wait({ended}, timeout=0.02)
        assert ended.result() == b""


async def test_a_kept_connection_has_its_time_from_the_last_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with connected(monkeypatch) as (reader, writer):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(request + request)
        async with asyncio.timeout(20):
            assert (await reader.read()).count(b'{"status": "ok"}') == 2


@pytest.mark.parametrize(
    "request_text",
    [
        f"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {SECRET}\x01\r\n\r\n",
        f"GET / HTTP/1.1\r\nAuthorization : Bearer {SECRET}\r\n\r\n",
        f"GET /{SECRET}\x7f\x00 HTTP/9.9\r\n\r\n",
        f"{SECRET}\r\n\r\n",
        f"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SECRET}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: {SECRET * 1000}\r\n\r\n",
    ],
    ids=range(6),
)
async def test_what_is_no_request_is_refused_and_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, request_text: str
) -> None:
    caplog.set_level(logging.DEBUG)
    async with connected(monkeypatch) as (reader, writer):
        writer.write(request_text.encode("latin-1"))
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert "no HTTP request: " in caplog.text
    assert SECRET not in caplog.text
    assert "Traceback" not in caplog.text
    assert not [one for one in caplog.records if one.levelno > logging.INFO]
