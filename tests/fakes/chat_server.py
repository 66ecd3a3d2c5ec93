"""A chat-completions server that plays a script over a real loopback socket.

Every request takes the next queued :class:`Reply`. A reply is a list of steps:
bytes are sent, an ``asyncio.Event`` is waited for, :data:`CUT` closes the
connection in mid-answer. Nothing here sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

CUT = object()
DONE = b"data: [DONE]\n\n"

Step = bytes | asyncio.Event | object


def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    """One event as such servers send it."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    data = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def say(*pieces: str) -> list[bytes]:
    """A role delta, then one chunk for each piece."""
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": p}) for p in pieces)]


def end(reason: str = "stop") -> list[bytes]:
    """Finish reason, a usage chunk without choices, and the end mark."""
    usage = b'data: {"choices": [], "usage": {"total_tokens": 7}}\n\n'
    return [chunk({}, reason), usage, DONE]


def answer(*pieces: str) -> Reply:
    """A whole, ordinary answer."""
    return Reply([*say(*pieces), *end()])


def fragment(index: int | None, arguments: str, call_id: str = "", name: str = "") -> bytes:
    """A chunk with one tool-call fragment; empty fields are left out, as servers do."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    call: dict[str, Any] = {"function": function}
    if index is not None:
        call["index"] = index
    if call_id:
        call |= {"id": call_id, "type": "function"}
    return chunk({"tool_calls": [call]})


def asks_for(*calls: tuple[str, str, str]) -> Reply:
    """An answer that asks for tools: ``(call_id, name, arguments)``, arguments in 3 parts."""
    steps: list[Step] = [chunk({"role": "assistant", "content": None})]
    for index, (call_id, name, arguments) in enumerate(calls):
        third = max(1, len(arguments) // 3)
        steps.append(fragment(index, arguments[:third], call_id, name))
        steps += [fragment(index, arguments[third : 2 * third])]
        steps += [fragment(index, arguments[2 * third :])]
    return Reply([*steps, *end("tool_calls")])


@dataclass
class Reply:
    """What the server does with one request."""

    steps: Sequence[Step] = ()
    status: int = 200
    content_type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    before: asyncio.Event | None = None
    """Waited for before the response's head is sent."""


class Exchange:
    """One request as the server saw it."""

    def __init__(self, request: web.Request, body: Any) -> None:
        self.path = request.path_qs
        self.headers = dict(request.headers)
        self.body = body
        self.peer = request.transport.get_extra_info("peername") if request.transport else None
        self.disconnected = asyncio.Event()
        """Set when the client went away before the reply was played to its end."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.body["messages"]
        return messages


class ChatServer:
    """``async with ChatServer(reply, …) as server``: listens on ``server.url``.

    ``think``: makes a reply where none is queued, however often it is asked.
    """

    def __init__(
        self, *replies: Reply, think: Callable[[Exchange], Reply] = lambda _: Reply(status=599)
    ) -> None:
        self.replies = deque(replies)
        self.think = think
        self.exchanges: list[Exchange] = []
        self.arrived = asyncio.Event()
        """Set by each request; a test that waits for another one clears it first."""
        self.url = ""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Without it aiohttp lets a handler run on after its client left.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            # Whoever only connects before he asks.
            return web.json_response({"object": "list", "data": []})
        exchange = Exchange(request, await request.json())
        self.exchanges.append(exchange)
        self.arrived.set()
        reply = self.replies.popleft() if self.replies else self.think(exchange)
        try:
            return await self.play(request, reply)
        except (asyncio.CancelledError, ConnectionError):
            exchange.disconnected.set()
            raise

    async def play(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        """Answer ``request`` with ``reply``."""
        if reply.before is not None:
            await reply.before.wait()
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_type = reply.content_type
        if CUT in reply.steps[:1]:
            return self._cut(request, response)
        await response.prepare(request)
        for step in reply.steps:
            if isinstance(step, bytes):
                await response.write(step)
            elif isinstance(step, asyncio.Event):
                await step.wait()
            else:
                return self._cut(request, response)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    def _cut(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.close()
        return response
