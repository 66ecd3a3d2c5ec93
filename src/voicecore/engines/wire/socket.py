"""A WebSocket to a provider that can't hang: deadlines, pings, a bounded backlog.

RFC 6455. A connection that is half open (the peer's machine or a middlebox is gone
without a word) takes what is written for minutes; only a ping that nobody answers
tells. One goes out about each second, and must be answered within another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp import WSMsgType

from voicecore.engines.wire.client import WireClient
from voicecore.engines.wire.faults import Faults, shown_url
from voicecore.errors import EngineError

_CLOSE_S = 0.5
"""For the closing handshake; nobody waits for it."""
_CLOSING = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED})


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Bounds of one connection.

    ``connect_s``: until the WebSocket is open. ``ping_interval_s``, ``ping_timeout_s``:
    a dead peer is noticed after their sum at most. ``message_bytes``: the longest
    message taken. ``backlog_bytes``: what may wait to be sent; beyond it the socket
    fails, since a provider that takes less than real time is as good as gone.
    """

    connect_s: float = 3.0
    ping_interval_s: float = 0.95
    ping_timeout_s: float = 0.95
    message_bytes: int = 4 << 20
    backlog_bytes: int = 1 << 20


class WireSocket:
    """One connection. Belongs to the event loop; one task at a time receives.

    ``failure`` is done with the error as soon as the connection is known to be dead,
    also while nobody receives.
    """

    def __init__(
        self,
        socket: aiohttp.ClientWebSocketResponse,
        faults: Faults,
        url: str,
        limits: SocketLimits,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.faults = faults
        self.subprotocol = socket.protocol or ""
        self.failure: asyncio.Future[EngineError] = loop.create_future()
        self._socket = socket
        self._where = shown_url(url)
        self._limits = limits
        self._loop = loop
        self._backlog: deque[str | bytes] = deque()
        self._backlog_bytes = 0
        self._ping_due = False
        self._pinged_s: float | None = None
        self._wake = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._timer = loop.call_later(limits.ping_interval_s, self._watch)
        self._writer = loop.create_task(self._write(), name=f"{faults.engine}-socket")

    @classmethod
    async def connect(
        cls,
        client: WireClient,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        protocols: Sequence[str] = (),
        limits: SocketLimits | None = None,
    ) -> WireSocket:
        """Open a WebSocket; EngineError if that fails or takes longer than ``connect_s``."""
        limits = limits or SocketLimits()
        try:
            async with asyncio.timeout(limits.connect_s):
                socket = await client.session.ws_connect(
                    url,
                    headers=headers,
                    protocols=protocols,
                    autoping=False,
                    autoclose=False,
                    compress=0,
                    max_msg_size=limits.message_bytes,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                )
        except TimeoutError:
            raise client.faults.timed_out("no connection", limits.connect_s) from None
        except (aiohttp.ClientError, OSError) as error:
            raise client.faults.of_exception(error, url) from None
        return cls(socket, client.faults, url, limits)

    @property
    def is_open(self) -> bool:
        """Whether it may be used: neither failed nor closed."""
        return not self.failure.done()

    def send(self, message: str | bytes) -> None:
        """Queue a text or a binary message; never blocks. Nothing once it has failed."""
        if not self.is_open:
            return
        self._backlog_bytes += len(message)
        if self._backlog_bytes > self._limits.backlog_bytes:
            self._fail("backlog", "the provider takes less than is sent")
            return
        self._backlog.append(message)
        self._wake.set()

    async def receive(self) -> str | bytes | None:
        """The next message; None once the peer closed in good order (code 1000).

        Raises EngineError: what ``failure`` has, or ``<stage>_closed`` for any other close.
        """
        while True:
            if self.failure.done():
                raise self.failure.result()
            try:
                message = await self._socket.receive()
            except (aiohttp.ClientError, OSError, RuntimeError) as error:
                # RuntimeError: aiohttp's word for receiving after the end.
                raise self._fail(
                    "closed", f"the connection broke ({type(error).__name__})"
                ) from None
            self._pinged_s = None
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                data: str | bytes = message.data
                return data
            if message.type is WSMsgType.PING:
                await self._pong(message.data)
            elif message.type in _CLOSING:
                self._check_close()
                return None
            elif message.type is WSMsgType.ERROR:
                raise self._fail("bad_message", "the provider broke the WebSocket protocol")

    @property
    def close_code(self) -> int | None:
        """What the peer closed with; None while it is open."""
        return self._socket.close_code

    async def close(self) -> None:
        """Close and free all; half a second at most, also where the peer is gone. Twice is fine."""
        if not self.failure.done():
            self._fail("closed", "it was closed by us")
        self._writer.cancel()
        assert self._closing is not None
        await asyncio.gather(self._writer, self._closing, return_exceptions=True)

    async def _pong(self, data: bytes) -> None:
        try:
            await self._socket.pong(data)
        except (aiohttp.ClientError, OSError):
            self._fail("closed", "the connection broke")

    def _check_close(self) -> None:
        if self.failure.done():
            raise self.failure.result()
        code = self._socket.close_code
        error = self._fail("closed", f"the provider closed the connection (code {code})")
        if code != aiohttp.WSCloseCode.OK:
            raise error

    async def _write(self) -> None:
        socket, backlog = self._socket, self._backlog
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while backlog:
                    message = backlog.popleft()
                    if isinstance(message, str):
                        await socket.send_str(message)
                    else:
                        await socket.send_bytes(message)
                    self._backlog_bytes -= len(message)
                if self._ping_due:
                    self._ping_due = False
                    await socket.ping()
        except (aiohttp.ClientError, OSError):
            self._fail("closed", "the connection broke")

    def _watch(self) -> None:
        """Ping, or find that the last one was not answered."""
        limits = self._limits
        if self.failure.done():
            return
        now_s = self._loop.time()
        if self._pinged_s is None:
            self._pinged_s, self._ping_due = now_s, True
            self._wake.set()
            self._timer = self._loop.call_later(limits.ping_timeout_s, self._watch)
        elif now_s - self._pinged_s >= limits.ping_timeout_s:
            self._fail("half_open", f"no answer to a ping within {limits.ping_timeout_s:g} s")
        else:
            self._timer = self._loop.call_later(
                self._pinged_s + limits.ping_timeout_s - now_s, self._watch
            )

    def _fail(self, kind: str, reason: str) -> EngineError:
        if not self.failure.done():
            self.failure.set_result(self.faults.error(kind, f"{reason} ({self._where})"))
            self._timer.cancel()
            self._backlog.clear()
            # Also wakes who receives. Until it is over the task is ours.
            self._closing = self._loop.create_task(self._end(), name=f"{self.faults.engine}-close")
        return self.failure.result()

    async def _end(self) -> None:
        """Say good-bye, shortly; aiohttp drops the connection where that isn't answered."""
        try:
            async with asyncio.timeout(2 * _CLOSE_S):
                await self._socket.close()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass
