"""A connection before the first reply: nothing is asked that costs, nothing fails."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from fakes.chat_calls import SOON_S, collect
from fakes.chat_server import ChatServer, answer
from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.errors import MisuseError


class Front:
    """A server that notes what it is asked, and by which connection."""

    def __init__(self, status: int = 200, body: bytes = b"{}") -> None:
        self.asked: list[tuple[str, str, object]] = []
        self.never = asyncio.Event()
        self.status, self.body = status, body
        self.chat = ChatServer(*[answer("hi") for _ in range(4)])

    async def __aenter__(self) -> Front:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1?v=1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def _note(self, request: web.Request) -> None:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")
        self.asked.append((request.method, request.path_qs, peer))

    async def _models(self, request: web.Request) -> web.Response:
        self._note(request)
        if self.status == 0:
            await self.never.wait()
        return web.Response(status=self.status, body=self.body)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        return await self.chat.play(request, self.chat.replies.popleft())


@pytest.mark.parametrize("status", [200, 401, 404, 500])
async def test_the_first_reply_finds_the_connection(status: int) -> None:
    async with Front(status) as front:
        engine = OpenAiChat(front.url, "m", key="k")
        await engine.start()
        await engine.warm()
        assert await collect(engine) == ["hi"]
        await engine.close()
    (warmed, asked) = front.asked
    assert warmed[:2] == ("GET", "/v1/models?v=1")
    assert asked[:2] == ("POST", "/v1/chat/completions?v=1")
    assert warmed[2] == asked[2]


async def test_nothing_is_asked_while_a_connection_is_idle() -> None:
    async with Front() as front:
        engine = OpenAiChat(front.url, "m")
        await engine.start()
        assert await collect(engine) == ["hi"]
        await engine.warm()
        assert [method for method, _, _ in front.asked] == ["POST"]
        await engine.close()


async def test_a_list_without_end_is_not_waited_for() -> None:
    async with Front(body=b"x" * (3 << 20)) as front:
        engine = OpenAiChat(front.url, "m")
        await engine.start()
        await asyncio.wait_for(engine.warm(), SOON_S)
        assert await collect(engine) == ["hi"]
        await engine.close()
    assert front.asked[0][2] != front.asked[1][2]


async def test_a_silent_server_costs_the_time_of_connecting() -> None:
    async with Front(0) as front:
        engine = OpenAiChat(front.url, "m", connect_s=0.05)
        await engine.start()
        await asyncio.wait_for(engine.warm(), SOON_S)
        await engine.close()
    assert len(front.asked) == 1


async def test_a_server_that_is_down_is_not_told_yet() -> None:
    async with ChatServer() as server:
        url = server.url
    engine = OpenAiChat(url, "m")
    with pytest.raises(MisuseError, match="start"):
        await engine.warm()
    await engine.start()
    await engine.warm()
    await engine.close()
