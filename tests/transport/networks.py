"""Fakes for ICE: a STUN and a TURN server on loopback."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aioice import stun

Address = tuple[str, int]


class _StunServer(asyncio.DatagramProtocol):
    transport: Any

    def __init__(self, seen: Address) -> None:
        self.seen = seen
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked += 1
        request = stun.parse_message(data)
        reply = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        reply.attributes["XOR-MAPPED-ADDRESS"] = self.seen
        self.transport.sendto(bytes(reply), addr)


@asynccontextmanager
async def stun_server(seen: Address) -> AsyncIterator[tuple[int, _StunServer]]:
    """A STUN server that sees everyone at ``seen``: its port, and itself."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: _StunServer(seen), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1], server
    finally:
        transport.close()


class _Relay(asyncio.DatagramProtocol):
    """One allocation: what comes goes to its client by the channel bound for the sender."""

    transport: Any

    def __init__(self, server: _TurnServer, client: Address) -> None:
        self._server = server
        self._client = client
        self.channels: dict[int, Address] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        for number, peer in self.channels.items():
            if peer == addr[:2]:
                header = number.to_bytes(2, "big") + len(data).to_bytes(2, "big")
                self._server.transport.sendto(header + data, self._client)
                self._server.relayed += 1


class _TurnServer(asyncio.DatagramProtocol):
    """RFC 8656 as far as aioice goes: ALLOCATE, CHANNEL-BIND, REFRESH, channel data."""

    transport: Any
    realm, nonce = "test", b"nonce"

    def __init__(self, password: str) -> None:
        self.key = hashlib.md5(f"user:{self.realm}:{password}".encode()).digest()
        self.relays: dict[Address, _Relay] = {}
        self.relayed = 0
        self.lifetimes: list[int] = []
        self.answers_refreshes = True
        self.serving: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if data[0] & 0xC0 == 0x40:
            relay = self.relays[addr[:2]]
            number, size = (int.from_bytes(data[i : i + 2], "big") for i in (0, 2))
            relay.transport.sendto(data[4 : 4 + size], relay.channels[number])
            self.relayed += 1
            return
        request = stun.parse_message(data)
        if not request.check_message_integrity(self.key):
            self._reply(request, addr, error=(401, "Unauthorized"))
            return
        task = asyncio.ensure_future(self._serve(request, addr[:2]))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)

    async def _serve(self, request: stun.Message, addr: Address) -> None:
        attributes: dict[str, Any] = {"LIFETIME": 600}
        self.lifetimes.append(request.attributes.get("LIFETIME", 600))
        if request.message_method == stun.Method.ALLOCATE:
            relay = _Relay(self, addr)
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: relay, local_addr=("127.0.0.1", 0)
            )
            self.relays[addr] = relay
            attributes["XOR-MAPPED-ADDRESS"] = addr
            attributes["XOR-RELAYED-ADDRESS"] = transport.get_extra_info("sockname")[:2]
        elif request.message_method == stun.Method.CHANNEL_BIND:
            number = request.attributes["CHANNEL-NUMBER"]
            self.relays[addr].channels[number] = request.attributes["XOR-PEER-ADDRESS"]
        elif not self.answers_refreshes:
            return
        self._reply(request, addr, attributes=attributes)

    def _reply(
        self,
        request: stun.Message,
        addr: Address,
        *,
        attributes: dict[str, Any] | None = None,
        error: tuple[int, str] | None = None,
    ) -> None:
        reply = stun.Message(
            message_method=request.message_method,
            message_class=stun.Class.ERROR if error else stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
            attributes=attributes or {},
        )
        if error:
            reply.attributes |= {"ERROR-CODE": error, "NONCE": self.nonce, "REALM": self.realm}
        reply.add_message_integrity(self.key)
        self.transport.sendto(bytes(reply), addr)

    def close(self) -> None:
        for relay in self.relays.values():
            relay.transport.close()
        self.transport.close()


@asynccontextmanager
async def turn_server(password: str = "secret") -> AsyncIterator[tuple[int, _TurnServer]]:
    """A TURN server for the user ``user``: its port, and itself."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: _TurnServer(password), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1], server
    finally:
        server.close()


def binding_request(ufrag: str, password: str, *, nominate: bool = False) -> bytes:
    """A connectivity check as a caller sends it (RFC 8445, section 7.1)."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    request.attributes |= {"USERNAME": f"{ufrag}:far", "PRIORITY": 1, "ICE-CONTROLLING": 1}
    if nominate:
        request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity(password.encode())
    return bytes(request)
