"""A call's way in the test's hand: a path on media threads of ours, and ICE over it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from aioice import ice, stun

from fakes.media_threads import HandThreads
from transport.networks import binding_request
from voicecore.transport.hub import MediaHub
from voicecore.transport.ice_servers import TurnServer
from voicecore.transport.ice_way import PathConfig
from voicecore.transport.media_path import MediaPath, SelectedPair

PASSWORD = "p" * 22


class Sink:
    """Notes what a path tells."""

    def __init__(self) -> None:
        self.pairs: list[SelectedPair | None] = []
        self.packets: list[bytes] = []
        self.media: list[tuple[Any, ...]] = []

    def on_pair(self, pair: SelectedPair | None) -> None:
        self.pairs.append(pair)

    def on_packet(self, data: bytes) -> None:
        self.packets.append(data)

    def on_media(self, kind: int, *details: Any) -> None:
        self.media.append((kind, *details))


class Rig:
    """A path on media threads in the test's hand, and the ICE connection over it."""

    def __init__(self, hosts: list[str], **config: Any) -> None:
        self.threads = HandThreads()
        self.hub = MediaHub(self.threads, udp_port=3479, addresses=lambda: hosts)
        self.connection = ice.Connection(ice_controlling=False, local_password=PASSWORD)
        self.path = MediaPath(self.hub, self.connection, PathConfig(**config))
        self.sink = Sink()
        self.connecting: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Gather and begin ICE, without knowing any candidate of the far end."""
        await self.connection.gather_candidates()
        self.connection.remote_username, self.connection.remote_password = "far", "f" * 22
        self.path.attach(self.sink)
        self.connecting = asyncio.ensure_future(self.connection.connect())
        await asyncio.sleep(0)

    async def arrive(self, port: int, data: bytes, source: tuple[str, int]) -> None:
        self.path.on_datagram(port, data, source)
        await asyncio.sleep(0)

    async def nominate(self, port: int, source: tuple[str, int]) -> None:
        """The caller's check with USE-CANDIDATE from ``source``, and his answer to ours."""
        name = self.connection.local_username
        self.threads.sent = [sent for sent in self.threads.sent if sent[2][:2] == b"\x00\x01"]
        await self.arrive(port, binding_request(name, PASSWORD, nominate=True), source)
        for _, at, data, *to in list(self.threads.sent):
            message = stun.parse_message(data)
            if message.message_class == stun.Class.REQUEST and (at, *to) == (port, *source):
                reply = stun.Message(
                    message_method=stun.Method.BINDING,
                    message_class=stun.Class.RESPONSE,
                    transaction_id=message.transaction_id,
                )
                reply.attributes["XOR-MAPPED-ADDRESS"] = ("192.0.2.2", 3479)
                reply.add_message_integrity(b"f" * 22)
                await self.arrive(port, bytes(reply), source)
        for _ in range(5):
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self.connection.close()
        if self.connecting is not None:
            self.connecting.cancel()
            await asyncio.gather(self.connecting, return_exceptions=True)
        self.path.close()
        self.path.close()
        assert self.threads.peers == {}
        self.hub.close()


@asynccontextmanager
async def rig(*hosts: str, **config: Any) -> AsyncIterator[Rig]:
    made = Rig(list(hosts) or ["192.0.2.2"], **config)
    try:
        yield made
    finally:
        await made.close()


async def offered(made: Rig) -> list[tuple[Any, ...]]:
    """Gather; the candidates as (type, address, port, related address), best first."""
    await made.connection.gather_candidates()
    candidates = made.connection.local_candidates
    assert candidates == sorted(candidates, key=lambda c: -c.priority)
    assert len({c.priority for c in candidates}) == len(candidates)
    return [(c.type, c.host, c.port, c.related_address) for c in candidates]


async def seconds(work: Awaitable[object]) -> float:
    """How long it took, by the loop's clock."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await work
    return round(loop.time() - began_s, 3)


@contextmanager
def silence() -> Iterator[TurnServer]:
    """A TURN server that is there, and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        yield TurnServer("127.0.0.1", made.getsockname()[1], "udp", False, "user", "secret")
