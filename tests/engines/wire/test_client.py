"""Requests with deadlines, against a real server behind a front that breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from fakes.faulty_front import Fault, FaultyFront
from voicecore.engines.wire.client import HttpLimits, WireClient
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError, MisuseError

FAST = HttpLimits(connect_s=0.3, first_byte_s=0.3, next_byte_s=0.3)


class Server:
    """Sends ``pieces``, waiting for :attr:`go_on` after the first."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.gone = asyncio.Event()
        self.bodies: list[bytes] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        response = web.StreamResponse()
        response.content_type = "audio/pcm"
        await response.prepare(request)
        try:
            await response.write(b"first")
            await self.go_on.wait()
            await response.write(b"second")
        except (ConnectionError, asyncio.CancelledError):
            self.gone.set()
            raise
        return response


@asynccontextmanager
async def serving(
    fault: Fault = Fault.NONE, passes: int = 0
) -> AsyncIterator[tuple[WireClient, Server, FaultyFront]]:
    server = Server()
    app = web.Application()
    app.router.add_post("/", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = WireClient(Faults("tts", "voice"))
    await client.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with FaultyFront(url, fault, passes=passes) as front:
            if fault is Fault.REFUSES:
                await front.refuse()
            yield client, server, front
    finally:
        server.go_on.set()
        await client.close()
        await client.close()
        await runner.cleanup()


async def test_an_answer_is_read_as_it_comes() -> None:
    async with serving() as (client, server, front):
        server.go_on.clear()
        async with client.stream("POST", front.url, limits=FAST, json={"a": 1}) as answer:
            assert (answer.status, answer.content_type) == (200, "audio/pcm")
            assert await answer.read() == b"first"
            server.go_on.set()
            assert await answer.read() == b"second"
            assert await answer.read() == b""
        assert server.bodies == [b'{"a": 1}']


async def test_connections_are_kept_for_the_next() -> None:
    async with serving() as (client, _, front):
        for _ in range(3):
            async with client.stream("POST", front.url, limits=FAST) as answer:
                assert await answer.read_all(100) == b"firstsecond"
        assert front.connections == 1


async def test_leaving_early_closes_the_connection() -> None:
    async with serving() as (client, server, front):
        server.go_on.clear()
        async with client.stream("POST", front.url, limits=FAST) as answer:
            await answer.read()
        await asyncio.wait_for(server.gone.wait(), 2)


async def test_too_long_an_answer_is_refused() -> None:
    async with serving() as (client, _, front):
        with pytest.raises(EngineError) as caught:
            async with client.stream("POST", front.url, limits=FAST) as answer:
                await answer.read_all(8)
        assert caught.value.code == "tts_bad_message"


@pytest.mark.parametrize(
    ("fault", "passes", "code"),
    [
        (Fault.REFUSES, 0, "tts_unreachable"),
        (Fault.SILENT, 0, "tts_timeout"),
        (Fault.DRIP, 0, "tts_timeout"),
        (Fault.CUT, 4, "tts_closed"),
        (Fault.RATE_LIMITED, 0, "tts_rate_limited"),
        (Fault.BROKEN, 0, "tts_http_status"),
        (Fault.WRONG_KEY, 0, "tts_key"),
        (Fault.EXPIRED, 0, "tts_key"),
    ],
)
async def test_each_fault_is_an_error_in_time(fault: Fault, passes: int, code: str) -> None:
    async with serving(fault, passes) as (client, _, front):
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with pytest.raises(EngineError) as caught:
            async with client.stream("POST", front.url, limits=FAST) as answer:
                await answer.read_all(1000)
        assert caught.value.code == code
        assert loop.time() - began_s < 1.5


async def test_a_stall_in_the_middle_is_given_up() -> None:
    async with serving() as (client, server, front):
        server.go_on.clear()
        with pytest.raises(EngineError) as caught:
            async with client.stream("POST", front.url, limits=FAST) as answer:
                await answer.read_all(1000)
        assert caught.value.code == "tts_timeout"


async def test_it_must_be_started() -> None:
    client = WireClient(Faults("tts", "voice"))
    with pytest.raises(MisuseError, match="start"):
        async with client.stream("POST", "http://127.0.0.1:1/", limits=FAST):
            pass
