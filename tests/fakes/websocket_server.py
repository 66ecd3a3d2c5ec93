"""WebSocket servers on a real loopback socket, for fakes of streaming providers.

What a provider sends and understands is its subclass's; here are handshakes, keys, what
was received, and answers that wait: for a gate (an ``asyncio.Event``) or, in benches,
for a delay.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import WSMsgType, web


@dataclass(frozen=True)
class Refusal:
    """What a handshake is answered instead of 101."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)


class Connection:
    """One WebSocket as the server sees it. ``messages``: all that was received."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.path = request.path
        self.query = request.query.copy()
        self.headers = dict(request.headers)
        self.messages: list[str | bytes] = []
        self.closed = asyncio.Event()
        self.transport = request.transport
        self._socket = socket
        self._changed = asyncio.Condition()
        self._outgoing: asyncio.Queue[tuple[float, str | tuple[int, bytes]]] = asyncio.Queue()

    @property
    def texts(self) -> list[Any]:
        """The text messages, parsed."""
        return [json.loads(message) for message in self.messages if isinstance(message, str)]

    @property
    def audio(self) -> bytes:
        """All binary messages."""
        return b"".join(message for message in self.messages if isinstance(message, bytes))

    def say(self, message: str | Mapping[str, Any], delay_s: float = 0.0) -> None:
        """Send a text, after all that was said before."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._outgoing.put_nowait((asyncio.get_running_loop().time() + delay_s, text))

    def hang_up(self, code: int = 1000, reason: bytes = b"") -> None:
        """Close, after all that was said before."""
        self._outgoing.put_nowait((0.0, (code, reason)))

    def cut(self) -> None:
        """Break the connection without a word."""
        assert self.transport is not None
        self.transport.abort()  # type: ignore[attr-defined]

    async def until(self, condition: Callable[[Self], bool]) -> None:
        """Wait until ``condition`` holds, looked at after each message."""
        async with self._changed:
            await self._changed.wait_for(lambda: condition(self))

    async def note(self, message: str | bytes) -> None:
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    async def speak(self, gate: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while True:
                due_s, what = await self._outgoing.get()
                if due_s > loop.time():
                    await asyncio.sleep(due_s - loop.time())
                await gate.wait()
                if isinstance(what, str):
                    await self._socket.send_str(what)
                else:
                    await self._socket.close(code=what[0], message=what[1])


class WebSocketServer:
    """``async with WebSocketServer() as server``: listens on ``server.url``.

    ``refusals`` are what the next handshakes get. ``gate`` is set: clear it, and no
    answer leaves. ``delay_s``: of every answer; ``tls``: speak it; both for benches.
    """

    path = "/"

    def __init__(
        self,
        *,
        keys: Collection[str] = ("good-key",),
        delay_s: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.keys = keys
        self.delay_s = delay_s
        self.tls = tls
        self.connections: list[Connection] = []
        self.refusals: deque[Refusal] = deque()
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""
        self._arrived = asyncio.Condition()
        app = web.Application()
        app.router.add_get(self.path, self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"{'wss' if self.tls else 'ws'}://{host}:{port}{self.path}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gate.set()
        for connection in self.connections:
            if not connection.closed.is_set():
                connection.cut()
        await self._runner.cleanup()

    @property
    def open_connections(self) -> int:
        return sum(not connection.closed.is_set() for connection in self.connections)

    async def connection(self, index: int = 0) -> Connection:
        """The ``index``-th that was accepted; waits for it."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.connections) > index)
        return self.connections[index]

    def refusal(self, request: web.Request) -> Refusal | None:
        """How a handshake with a wrong key is answered; None: it is accepted."""
        return None

    def opened(self, connection: Connection) -> None:
        """A connection stands."""

    def take(self, connection: Connection, message: str | bytes) -> None:
        """A message came."""

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        refusal = self.refusals.popleft() if self.refusals else self.refusal(request)
        if refusal is not None:
            return web.json_response(
                refusal.body, status=refusal.status, headers=dict(refusal.headers)
            )
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        connection = Connection(request, socket)
        speaker = asyncio.get_running_loop().create_task(connection.speak(self.gate))
        self.opened(connection)
        async with self._arrived:
            self.connections.append(connection)
            self._arrived.notify_all()
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    self.take(connection, message.data)
                    await connection.note(message.data)
        finally:
            connection.closed.set()
            speaker.cancel()
            await asyncio.gather(speaker, return_exceptions=True)
        return socket
