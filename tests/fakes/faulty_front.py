"""A provider's bad day: a TCP front that breaks the connections to a wire-format server.

It stands between an adapter and any local server, and knows nothing of either's
protocol beyond the end of an HTTP head. What it does may be changed at any time: new
connections get the new fault, :meth:`FaultyFront.freeze` and :meth:`FaultyFront.cut`
meet those that stand.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_HEAD_END = b"\r\n\r\n"
_GARBAGE = bytes(range(0x80, 0x100)) * 8
_DRIP_S = 0.25
"""A byte each quarter of a second: no message is ever whole in time."""


class Fault(Enum):
    """What becomes of a connection."""

    NONE = "works"
    REFUSES = "refuses connections"
    SILENT = "accepts, then silent"
    HALF_OPEN = "half-open after a while"
    CUT = "closes in mid-message"
    GARBAGE = "sends garbage"
    DRIP = "slow drip"
    RATE_LIMITED = "429 with Retry-After"
    BROKEN = "500"
    WRONG_KEY = "wrong key (401)"
    EXPIRED = "expired token"


_CANNED = {
    Fault.RATE_LIMITED: ("429 Too Many Requests", "Retry-After: 1\r\n", '{"error":"slow down"}'),
    Fault.BROKEN: ("500 Internal Server Error", "", '{"error":"oops"}'),
    Fault.WRONG_KEY: ("401 Unauthorized", "", '{"error":"invalid key"}'),
    Fault.EXPIRED: ("403 Forbidden", "", '{"error":"token expired"}'),
}


class FaultyFront:
    """``async with FaultyFront(server.url) as front: Adapter(url=front.url)``.

    ``passes``: how many bytes of the answer (after its HTTP head) go through before
    ``CUT``, ``GARBAGE`` and ``HALF_OPEN`` strike. ``port``: 0 for any that is free.
    ``connections`` counts those ever accepted, ``open`` those that stand.
    """

    def __init__(
        self, url: str, fault: Fault = Fault.NONE, *, passes: int = 0, port: int = 0
    ) -> None:
        self.fault = fault
        self.passes = passes
        self.connections = 0
        self._parts = urlsplit(url)
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._passing = _set_event()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The server's, but for the port."""
        return urlunsplit(self._parts._replace(netloc=f"127.0.0.1:{self._port}"))

    @property
    def open(self) -> int:
        """Connections that stand now."""
        return len(self._tasks)

    async def listen(self) -> None:
        """Accept connections, on the same port each time."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Accept no more; the port answers that nobody is there."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def freeze(self) -> None:
        """On the connections that stand nothing passes any more, and nobody is told."""
        self._passing.clear()
        self._passing = _set_event()

    def cut(self) -> None:
        """Drop all connections that stand."""
        for task in self._tasks:
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault, passing = self.fault, self._passing
        upstream: asyncio.StreamWriter | None = None
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                if fault in _CANNED:
                    await self._answer_canned(reader, writer, fault)
                    return
                if fault is Fault.SILENT:
                    await reader.read(-1)
                    return
                assert self._parts.hostname is not None
                back, upstream = await asyncio.open_connection(
                    self._parts.hostname, self._parts.port
                )
                up = asyncio.ensure_future(self._pass(reader, upstream, passing))
                try:
                    await self._answer(back, reader, writer, fault, passing)
                finally:
                    up.cancel()
                    await asyncio.gather(up, return_exceptions=True)
                if fault is Fault.HALF_OPEN:
                    # Nothing passes any more. That the client leaves is noticed all the same.
                    while await reader.read(1 << 16):
                        pass
            finally:
                for each in (writer, upstream):
                    if each is not None:
                        each.transport.abort() if fault is Fault.CUT else each.close()

    async def _answer_canned(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault
    ) -> None:
        head = (await reader.readuntil(_HEAD_END)).lower()
        _, _, length = head.partition(b"content-length:")
        if length:
            await reader.readexactly(int(length.partition(b"\r")[0]))
        status, headers, body = _CANNED[fault]
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )
        await writer.drain()

    async def _answer(
        self,
        back: asyncio.StreamReader,
        client: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: Fault,
        passing: asyncio.Event,
    ) -> None:
        if fault in (Fault.CUT, Fault.GARBAGE, Fault.HALF_OPEN):
            writer.write(await back.readuntil(_HEAD_END))
            left = self.passes
            while left > 0 and (data := await back.read(left)):
                writer.write(data)
                left -= len(data)
            if fault is Fault.GARBAGE:
                writer.write(_GARBAGE)
                await writer.drain()
                await back.read(-1)
            elif fault is Fault.CUT:
                # Half of what comes next, so that a message is open.
                data = await back.read(1024)
                writer.write(data[: len(data) // 2])
                await writer.drain()
        elif fault is Fault.DRIP:
            while (data := await back.read(1)) and not writer.transport.is_closing():
                writer.write(data)
                await asyncio.sleep(_DRIP_S)
        else:
            await self._pass(back, writer, passing)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        # RuntimeError: uvloop's word for writing to what is closed.
        with suppress(OSError, RuntimeError):
            while data := await reader.read(1 << 16):
                await passing.wait()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
