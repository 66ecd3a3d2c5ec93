"""When a WebSocket pings, and what waits while its peer doesn't read: in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from aiohttp import ClientConnectionResetError, WSMessage, WSMsgType

from fakes.virtual_loop import virtually
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.socket import SocketLimits, WireSocket
from voicecore.errors import EngineError

LIMITS = SocketLimits(ping_interval_s=1.0, ping_timeout_s=0.5, backlog_bytes=1000)
PATIENT = SocketLimits(ping_interval_s=1.0, ping_timeout_s=1.5)


class Peer:
    """The aiohttp end: takes frames while ``reads`` is set, gives what the test puts in."""

    protocol = None
    close_code = None

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.reads.set()
        self.frames: list[tuple[WSMsgType, Any]] = []
        self.pinged_s: list[float] = []
        self.breaks = False
        self.answer_s: float | None = 0.02
        self._come: asyncio.Queue[WSMessage] = asyncio.Queue()

    def say(self, kind: WSMsgType = WSMsgType.TEXT) -> None:
        self._come.put_nowait(WSMessage(kind, "", None))

    async def receive(self) -> WSMessage:
        return await self._come.get()

    async def send_frame(self, data: Any, kind: WSMsgType) -> None:
        if self.breaks:
            raise ClientConnectionResetError("Cannot write to closing transport")
        self.frames.append((kind, bytes(data)))
        # As aiohttp does: what was given is written, then its buffer is waited for.
        if not self.reads.is_set():
            await self.reads.wait()

    async def ping(self) -> None:
        loop = asyncio.get_running_loop()
        self.pinged_s.append(loop.time())
        if self.answer_s is not None:
            loop.call_later(self.answer_s, self.say, WSMsgType.PONG)

    async def close(self) -> None:
        self.say(WSMsgType.CLOSED)


class Reading:
    """``async with``: a socket that somebody receives from."""

    def __init__(self, peer: Peer, limits: SocketLimits = LIMITS) -> None:
        socket: Any = peer
        self.socket = WireSocket(socket, Faults("stt", "peer"), "ws://peer/", limits)

    async def __aenter__(self) -> WireSocket:
        self.task = asyncio.create_task(self._read())
        return self.socket

    async def _read(self) -> None:
        with suppress(EngineError):
            while await self.socket.receive() is not None:
                pass

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()
        await self.task
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert rest == []


def test_a_peer_that_talks_is_not_pinged() -> None:
    async def main() -> None:
        peer = Peer()
        async with Reading(peer) as socket:
            for _ in range(50):
                peer.say()
                await asyncio.sleep(0.9)
            assert peer.pinged_s == []
            await asyncio.sleep(10.0)
            assert 8 <= len(peer.pinged_s) <= 10
            assert socket.is_open

    virtually(main())


@pytest.mark.parametrize("seed", range(20))
def test_a_dead_peer_is_noticed_in_time_whenever_it_dies(seed: int) -> None:
    print(f"seed {seed}")
    random = Random(seed)
    limits = random.choice((LIMITS, PATIENT))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        peer = Peer()
        async with Reading(peer, limits) as socket:
            for _ in range(random.randrange(12)):
                await asyncio.sleep(random.choice((0.1, 0.9, 1.01, 1.3, 2.7)))
                peer.say()
            await asyncio.sleep(random.uniform(0.0, 2.0))
            peer.answer_s = None
            died_s = loop.time()
            error = await asyncio.shield(socket.failure)
            assert error.code == "stt_half_open"
            # One that was asked before it died may have answered since.
            allowed_s = limits.ping_interval_s + limits.ping_timeout_s + 0.02
            assert loop.time() - died_s <= allowed_s + 1e-6

    virtually(main())


def test_what_waits_for_the_peer_goes_in_order() -> None:
    async def main() -> None:
        peer = Peer()
        async with Reading(peer) as socket:
            peer.reads.clear()
            sent = [b"one", "two", b"three", "four"]
            for message in sent:
                socket.send(message)
            assert peer.frames == [(WSMsgType.BINARY, b"one")]
            peer.reads.set()
            for _ in range(5):
                await asyncio.sleep(0)
            socket.send("five")
            told = [(WSMsgType.BINARY, b"one"), (WSMsgType.TEXT, b"two")]
            told += [(WSMsgType.BINARY, b"three"), (WSMsgType.TEXT, b"four")]
            assert peer.frames == [*told, (WSMsgType.TEXT, b"five")]

    virtually(main())


def test_a_message_is_written_before_send_returns() -> None:
    async def main() -> None:
        peer = Peer()
        async with Reading(peer) as socket:
            socket.send("é")
            assert peer.frames == [(WSMsgType.TEXT, "é".encode())]

    virtually(main())


def test_a_ping_that_falls_due_while_the_peer_reads_nothing_goes_out_later() -> None:
    async def main() -> None:
        peer = Peer()
        async with Reading(peer) as socket:
            peer.reads.clear()
            socket.send("one")
            await asyncio.sleep(LIMITS.ping_interval_s + 0.1)
            assert peer.pinged_s == []
            peer.reads.set()
            await asyncio.sleep(LIMITS.ping_timeout_s)
            assert len(peer.pinged_s) == 1
            assert socket.is_open

    virtually(main())


def test_what_waits_is_bounded() -> None:
    async def main() -> None:
        peer = Peer()
        async with Reading(peer) as socket:
            peer.reads.clear()
            for _ in range(11):
                socket.send(b"x" * 100)
            assert socket.is_open
            socket.send(b"x")
            assert (await socket.failure).code == "stt_backlog"

    virtually(main())


@pytest.mark.parametrize("waits", [False, True])
def test_a_connection_that_breaks_while_writing_has_failed(waits: bool) -> None:
    async def main() -> None:
        peer = Peer()
        async with Reading(peer) as socket:
            if waits:
                peer.reads.clear()
                socket.send("one")
                socket.send("two")
            peer.breaks = True
            peer.reads.set()
            if not waits:
                socket.send("one")
            assert (await socket.failure).code == "stt_closed"

    virtually(main())
