"""A WebSocket to a provider that can't hang: deadlines, pings, a bounded backlog.

RFC 6455. A connection that is half open (the peer's machine or a middlebox is gone
without a word) takes what is written for minutes; only a ping that nobody answers
tells. One goes out when nothing has come for about a second, and must be answered
within another.

What is sent is written at once, by the caller of ``send``; a task that writes is there
only while the peer's window, or our end's buffer, is full.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

    ``connect_s``: until the WebSocket is open. ``ping_interval_s``: after so long without
    a message the peer is pinged; ``ping_timeout_s``: how long anything at all may then
    take to come. A dead peer is noticed after their sum at most. ``message_bytes``: the longest
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
        self._backlog: deque[tuple[bytes, WSMsgType]] = deque()
        self._backlog_bytes = 0
        self._heard_s = loop.time()
        self._pinged_s: float | None = None
        self._writer: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._timer = loop.call_later(limits.ping_interval_s, self._watch)

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
        """Write a text or a binary message, or queue it; never blocks.

        Nothing is done once the socket has failed.
        """
        if self.failure.done():
            return
        if isinstance(message, str):
            data, kind = message.encode(), WSMsgType.TEXT
        else:
            data, kind = message, WSMsgType.BINARY
        if self._writer is None:
            self._begin(self._socket.send_frame(data, kind))
            return
        self._backlog_bytes += len(data)
        if self._backlog_bytes > self._limits.backlog_bytes:
            self._fail("backlog", "the provider takes less than is sent")
            return
        self._backlog.append((data, kind))

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
            self._note_life()
            kind = message.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                data: str | bytes = message.data
                return data
            if kind is WSMsgType.PING:
                await self._pong(message.data)
            elif kind in _CLOSING:
                self._check_close()
                return None
            elif kind is WSMsgType.ERROR:
                raise self._fail("bad_message", "the provider broke the WebSocket protocol")

    @property
    def close_code(self) -> int | None:
        """What the peer closed with; None while it is open."""
        return self._socket.close_code

    async def close(self) -> None:
        """Close and free all; half a second at most, also where the peer is gone. Twice is fine."""
        if not self.failure.done():
            self._fail("closed", "it was closed by us")
        assert self._closing is not None
        tasks = [task for task in (self._writer, self._closing) if task is not None]
        if self._writer is not None:
            self._writer.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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

    def _begin(self, sending: Coroutine[Any, Any, None]) -> None:
        """Run ``sending`` up to where it waits, which it seldom does; a task does the rest.

        A task for each chunk would take about as long as the writing itself.
        """
        try:
            waits_for = sending.send(None)
        except StopIteration:
            return
        except (aiohttp.ClientError, OSError):
            self._fail("closed", "the connection broke")
            return
        rest = _Rest(sending, waits_for)
        self._writer = self._loop.create_task(
            self._write(rest), name=f"{self.faults.engine}-socket"
        )

    async def _write(self, rest: _Rest) -> None:
        """Finish what was begun, then write what had to wait for it."""
        backlog = self._backlog
        try:
            await rest
            while backlog:
                data, kind = backlog.popleft()
                await self._socket.send_frame(data, kind)
                self._backlog_bytes -= len(data)
            if self._pinged_s is not None:
                # It fell due meanwhile.
                await self._socket.ping()
        except (aiohttp.ClientError, OSError):
            self._fail("closed", "the connection broke")
        self._writer = None

    def _note_life(self) -> None:
        """Something came: the peer lives."""
        self._heard_s = self._loop.time()
        if self._pinged_s is not None:
            self._pinged_s = None
            self._timer.cancel()
            if not self.failure.done():
                self._timer = self._loop.call_later(self._limits.ping_interval_s, self._watch)

    def _watch(self) -> None:
        """Ping, or find that the last one was not answered."""
        limits, now_s = self._limits, self._loop.time()
        if self.failure.done():
            return
        if self._pinged_s is None:
            due_s = self._heard_s + limits.ping_interval_s
            if now_s >= due_s:
                self._pinged_s, due_s = now_s, now_s + limits.ping_timeout_s
                if self._writer is None:
                    self._begin(self._socket.ping())
        else:
            due_s = self._pinged_s + limits.ping_timeout_s
            if now_s >= due_s:
                self._fail("half_open", f"no answer to a ping within {limits.ping_timeout_s:g} s")
        if not self.failure.done():
            self._timer = self._loop.call_at(due_s, self._watch)

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


class _Rest:
    """Awaits the rest of a coroutine that was begun by hand, and waits for ``first``."""

    def __init__(self, begun: Coroutine[Any, Any, None], first: Any) -> None:
        self._begun = begun
        self._first = first

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._first
        try:
            while True:
                try:
                    yield waits_for
                except BaseException as error:
                    waits_for = self._begun.throw(error)
                else:
                    waits_for = self._begun.send(None)
        except StopIteration:
            return
        finally:
            self._begun.close()
