"""A WebSocket that can't hang, against a real server behind a front that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from fakes.faulty_front import Fault, FaultyFront
from voicecore.engines.wire.client import WireClient
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.socket import SocketLimits, WireSocket
from voicecore.errors import EngineError

pytestmark = pytest.mark.slow

FAST = SocketLimits(connect_s=0.3, ping_interval_s=0.1, ping_timeout_s=0.1)


class Echo:
    """Answers each message with itself; ``close`` closes with that code, ``ping`` pings."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.headers: dict[str, str] = {}
        self.gone = asyncio.Event()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        self.headers = dict(request.headers)
        socket = web.WebSocketResponse(protocols=("one", "two"))
        await socket.prepare(request)
        async for message in socket:
            self.seen.append(message.data)
            if message.type is WSMsgType.TEXT and message.data.startswith("close"):
                await socket.close(code=int(message.data.split()[1]))
            elif message.data == "ping":
                await socket.ping()
                await socket.send_str("pinged")
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        self.gone.set()
        return socket


@asynccontextmanager
async def echoing(
    limits: SocketLimits = FAST, fault: Fault = Fault.NONE, **more: Any
) -> AsyncIterator[tuple[WireSocket, Echo, FaultyFront]]:
    echo = Echo()
    app = web.Application()
    app.router.add_get("/", echo.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = WireClient(Faults("stt", "echo"))
    await client.start()
    try:
        async with FaultyFront(f"http://127.0.0.1:{runner.addresses[0][1]}/", fault) as front:
            if fault is Fault.REFUSES:
                await front.refuse()
            socket = await WireSocket.connect(client, front.url, limits=limits, **more)
            try:
                yield socket, echo, front
            finally:
                await socket.close()
                await socket.close()
    finally:
        await client.close()
        await runner.cleanup()
        rest = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        assert rest == []


async def test_messages_go_both_ways() -> None:
    async with echoing(headers={"X-Key": "k"}, protocols=("two",)) as (socket, echo, _):
        socket.send("text")
        socket.send(b"\x00\x01")
        assert await socket.receive() == "text"
        assert await socket.receive() == b"\x00\x01"
        assert echo.headers["X-Key"] == "k"
        assert socket.subprotocol == "two"
        assert socket.is_open
    assert not socket.is_open
    assert echo.gone.is_set()


async def test_pings_are_answered_and_asked() -> None:
    async with echoing() as (socket, _, _front):
        socket.send("ping")
        assert await socket.receive() == "pinged"
        # Far longer than the limits: the server's answers keep it open while we receive.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await socket.receive()
        socket.send("still")
        assert await socket.receive() == "still"


async def test_a_half_open_connection_is_noticed_by_its_silence() -> None:
    async with echoing() as (socket, _, front):
        socket.send("one")
        assert await socket.receive() == "one"
        front.freeze()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with pytest.raises(EngineError) as caught:
            await socket.receive()
        assert caught.value.code == "stt_half_open"
        assert loop.time() - began_s < 1.0
        assert socket.failure.result() is caught.value
        with pytest.raises(EngineError):
            await socket.receive()


async def test_a_failure_is_known_while_nobody_receives() -> None:
    async with echoing() as (socket, _, front):
        front.freeze()
        error = await asyncio.wait_for(asyncio.shield(socket.failure), 2)
        assert error.code == "stt_half_open"


@pytest.mark.parametrize(("code", "error_code"), [(1000, None), (1011, "stt_closed")])
async def test_the_peer_closes(code: int, error_code: str | None) -> None:
    async with echoing() as (socket, _, _front):
        socket.send(f"close {code}")
        if error_code is None:
            assert await socket.receive() is None
        else:
            with pytest.raises(EngineError, match=str(code)) as caught:
                await socket.receive()
            assert caught.value.code == error_code
        assert socket.close_code == code
        assert not socket.is_open
        socket.send("into the void")


async def test_a_backlog_is_bounded() -> None:
    limits = SocketLimits(ping_interval_s=9, backlog_bytes=50_000_000)
    async with echoing(limits) as (socket, _, front):
        front.freeze()
        for _ in range(60):
            socket.send(b"x" * 1_000_000)
        assert socket.failure.done()
        assert socket.failure.result().code == "stt_backlog"


async def test_a_cut_connection_is_an_error() -> None:
    async with echoing() as (socket, _, front):
        front.cut()
        with pytest.raises(EngineError) as caught:
            await socket.receive()
        assert caught.value.code == "stt_closed"


@pytest.mark.parametrize(
    ("fault", "code", "permanent", "retry_after_s"),
    [
        (Fault.REFUSES, "stt_unreachable", False, 0),
        (Fault.SILENT, "stt_timeout", False, 0),
        (Fault.DRIP, "stt_timeout", False, 0),
        (Fault.RATE_LIMITED, "stt_rate_limited", False, 1),
        (Fault.BROKEN, "stt_http_status", False, 0),
        (Fault.WRONG_KEY, "stt_key", True, 0),
        (Fault.EXPIRED, "stt_key", True, 0),
    ],
)
async def test_a_connection_that_does_not_stand_says_why(
    fault: Fault, code: str, permanent: bool, retry_after_s: float
) -> None:
    with pytest.raises(EngineError) as caught:
        async with echoing(fault=fault):
            raise AssertionError("it stands")
    error = caught.value
    assert (error.code, error.permanent, error.retry_after_s) == (code, permanent, retry_after_s)
    assert str(error).startswith("echo: ")


async def test_garbage_breaks_the_protocol() -> None:
    async with echoing(fault=Fault.GARBAGE) as (socket, _, _front):
        socket.send("hello")
        with pytest.raises(EngineError) as caught:
            await socket.receive()
        assert caught.value.code == "stt_bad_message"


async def test_too_long_a_message_is_refused() -> None:
    async with echoing(SocketLimits(message_bytes=1000)) as (socket, _, _front):
        socket.send(b"x" * 2000)
        with pytest.raises(EngineError) as caught:
            await socket.receive()
        assert caught.value.code in ("stt_bad_message", "stt_closed")
