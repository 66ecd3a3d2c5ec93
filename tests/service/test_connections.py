"""Connections of strangers: bounded in time, and what they send stays out of the log."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fakes.calls import FakeManager
from service.test_server import server
from voicecore.service import connections, sites, tls_site
from voicecore.service.connections import ConnectionLimit
from voicecore.service.forwarded import ProxyTrust
from voicecore.service.tls import make_certificate

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
        # Closed, with a reset if a drop was on its way just then.
        assert isinstance(ended.exception(), ConnectionResetError) or ended.result() == b""


async def test_a_kept_connection_has_its_time_from_the_last_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with connected(monkeypatch) as (reader, writer):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer.write(request + request)
        async with asyncio.timeout(20):
            assert (await reader.read()).count(b'{"status": "ok"}') == 2


@pytest.mark.slow
async def test_who_reads_nothing_of_his_replies_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.5)
    one = server(FakeManager())
    await one.start()
    port = int(one.urls[0].rsplit(":", 1)[1].strip("/"))
    loop = asyncio.get_running_loop()
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        deaf.setblocking(False)
        request = b"GET /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n"

        async def ask_for_ever() -> None:
            while True:
                await loop.sock_sendall(deaf, request)
                await asyncio.sleep(0)

        try:
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(ask_for_ever(), 20)
        finally:
            await one.close()


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


class Door:
    """A server that counts its connections."""

    def __init__(self) -> None:
        self.handlers: list[object] = []

    def connection_made(self, handler: object, transport: object) -> None:
        self.handlers.append(handler)

    def connection_lost(self, handler: object, exc: BaseException | None = None) -> None:
        if handler in self.handlers:
            self.handlers.remove(handler)


class Wire:
    """A transport that says where it comes from; ``""``: over a unix socket."""

    def __init__(self, address: str) -> None:
        self.address, self.aborted = address, False

    def get_extra_info(self, name: str) -> object:
        assert name in ("peername", "socket")
        if name == "socket":
            return None
        return (self.address, 5000) if self.address else ""

    def abort(self) -> None:
        self.aborted = True


class Crowd:
    """Connections to a watched server."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.door: Any = Door()
        self.now_s = 0.0
        trust = ProxyTrust(["10.0.0.0/8"])
        limit = ConnectionLimit(
            trust, most, most_of_one, lambda: self.now_s, soon=lambda act: act()
        )
        limit.watch(self.door)

    def comes(self, address: str) -> object | None:
        """What stands for the connection; None if it was closed at once."""
        handler, wire = object(), Wire(address)
        self.door.connection_made(handler, wire)
        assert (handler in self.door.handlers) is not wire.aborted
        if wire.aborted:
            self.door.connection_lost(handler)  # as aiohttp does
            return None
        return handler


def test_one_address_gets_so_many_connections_and_all_together_so_many() -> None:
    crowd = Crowd(most=6, most_of_one=2)
    first = crowd.comes("192.0.2.1")
    assert first
    assert crowd.comes("192.0.2.1")
    assert not crowd.comes("192.0.2.1")
    assert not crowd.comes("::ffff:192.0.2.1")
    assert crowd.comes("2001:db8::1")
    assert crowd.comes("2001:db8::2")
    assert not crowd.comes("2001:db8::3"), "one /64"
    crowd.door.connection_lost(first)
    assert crowd.comes("192.0.2.1")
    assert crowd.comes("192.0.2.7")
    last = crowd.comes("192.0.2.8")
    assert last
    assert not crowd.comes("127.0.0.1"), "there are six"
    assert crowd.comes(""), "another worker's"
    crowd.door.connection_lost(last)
    crowd.door.connection_lost(last)
    assert crowd.comes("127.0.0.1")
    assert not crowd.comes("192.0.2.9")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3"])
def test_who_stands_for_many_is_not_one_of_them(address: str) -> None:
    crowd = Crowd(most=50, most_of_one=2)
    assert all(crowd.comes(address) for _ in range(50))
    assert not crowd.comes(address)


def test_what_is_refused_is_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    crowd = Crowd(most=1, most_of_one=1)
    crowd.comes("192.0.2.1")
    for _ in range(100):
        crowd.comes("192.0.2.1")
    assert [one.getMessage() for one in caplog.records] == [
        "too many connections from one address (1): 1 closed so far"
    ]
    crowd.now_s += 60
    crowd.comes("192.0.2.2")
    assert caplog.records[-1].getMessage() == "too many connections at once: 101 closed so far"
    assert "192.0.2" not in caplog.text


async def test_a_server_closes_what_is_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 2)
    trouble: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context))
    one = server(FakeManager())
    await one.start()
    port = int(one.urls[0].rsplit(":", 1)[1].strip("/"))
    kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    try:
        for wire in kept:
            assert await answered(*wire)
        assert not await answered(*await asyncio.open_connection("127.0.0.1", port))
        kept.pop()[1].close()
        async with asyncio.timeout(20):
            kept.append(await asyncio.open_connection("127.0.0.1", port))
            while not await answered(*kept[-1]):
                kept[-1] = await asyncio.open_connection("127.0.0.1", port)
    finally:
        for _, writer in kept:
            writer.close()
        await one.close()
    gc.collect()
    assert not trouble, "each would be a traceback in the log"


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    pem = tmp_path / "both.pem"
    pem.write_bytes(make_certificate(["localhost"], datetime.now(UTC)))
    return {"tls_cert": pem, "tls_key": pem}


async def test_a_connection_without_a_handshake_counts_and_has_its_time(
    monkeypatch: pytest.MonkeyPatch, tls: dict[str, Any]
) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 3)
    monkeypatch.setattr(tls_site, "HANDSHAKE_S", 0.5)
    trusting = ssl.create_default_context(cafile=str(tls["tls_cert"]))
    one = server(FakeManager(), **tls)
    await one.start()
    port = int(one.urls[0].rsplit(":", 1)[1].strip("/"))
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    try:
        reader, _ = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(0.4):  # it is closed before the others are
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        async with asyncio.timeout(20):
            for other, _ in silent:
                with contextlib.suppress(ConnectionError):
                    assert await other.read() == b""
            wire = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trusting, server_hostname="localhost"
            )
            assert await answered(*wire)
            wire[1].close()
    finally:
        for _, writer in silent:
            writer.close()
        await one.close()


async def test_by_tls_all_is_as_without(tls: dict[str, Any]) -> None:
    """A request that comes with the end of the handshake, one after it, a long one, many."""
    trusting = ssl.create_default_context(cafile=str(tls["tls_cert"]))
    one = server(FakeManager(), **tls)
    await one.start()
    port = int(one.urls[0].rsplit(":", 1)[1].strip("/"))
    try:
        async with asyncio.timeout(20):
            wires = await asyncio.gather(*(spoken_at_once(port, trusting) for _ in range(20)))
            assert all(said.startswith(b"HTTP/1.1 200 OK") for said in wires)
            where = {"ssl": trusting, "server_hostname": "localhost"}
            reader, writer = await asyncio.open_connection("127.0.0.1", port, **where)
            assert await answered(reader, writer)
            body = b'{"session_id": "s", "pad": "' + b"x" * 200_000 + b'"}'
            writer.write(
                b"POST /api/voice/answer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            assert b" 422 " in await reader.read()
            writer.close()
            assert not await answered(*await asyncio.open_connection("127.0.0.1", port))
    finally:
        await one.close()


async def spoken_at_once(port: int, context: ssl.SSLContext) -> bytes:
    """What is answered to a request that is sent in one go with the client's last handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            raw = await reader.read(65_536)
            if not raw:
                writer.close()
                return b""
            incoming.write(raw)
    tls.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    writer.write(outgoing.read())
    while True:
        try:
            part = tls.read(65_536)
        except ssl.SSLWantReadError:
            if not (raw := await reader.read(65_536)):
                break
            incoming.write(raw)
            continue
        if not part:
            break
        said += part
    writer.close()
    return said


async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether a request over the connection is; a connection that isn't is closed."""
    with contextlib.suppress(ConnectionError):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if await reader.readline() == b"HTTP/1.1 200 OK\r\n":
            return True
    writer.close()
    return False
