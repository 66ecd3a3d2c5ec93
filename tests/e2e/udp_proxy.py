"""A bad network in user space: UDP between a caller and the server, through our hands.

Two sockets. The caller is told that the server is at :attr:`UdpProxy.front`, the
server that the caller is at :attr:`UdpProxy.back`; each direction runs through a
seeded :class:`native.netem.Netem` in real time. STUN and DTLS suffer like media.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import Any

from native.netem import Netem

_MAX_ON_THE_WAY = 4096
_CANDIDATE = re.compile(
    r"^a=candidate:(\S+) (\d+) udp (\d+) (\S+) (\d+) typ host.*$", re.IGNORECASE | re.MULTILINE
)

Address = tuple[str, int]


class _Side(asyncio.DatagramProtocol):
    """One socket; what comes in leaves by the other one."""

    def __init__(self, proxy: UdpProxy, path: Netem) -> None:
        self.transport: Any = None
        self.peer: Address | None = None
        self.path = path
        self.out: _Side | None = None
        self._proxy = proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.peer = addr[:2]
        self._proxy.carry(self, data)

    @property
    def address(self) -> Address:
        host, port = self.transport.get_extra_info("sockname")[:2]
        return str(host), int(port)


class UdpProxy:
    """``async with UdpProxy(seed, loss=0.05, …) as proxy``; keywords are Netem's.

    ``to_server`` and ``to_caller`` hold the last datagrams that were taken up, whether or
    not they were lost on the way.
    """

    def __init__(self, seed: int = 1, *, delay_ms: float = 5.0, **conditions: Any) -> None:
        conditions.setdefault("fifo", False)
        paths = [Netem(seed + side, delay_ms=delay_ms, **conditions) for side in (0, 1)]
        self._front = _Side(self, paths[0])
        self._back = _Side(self, paths[1])
        self._front.out, self._back.out = self._back, self._front
        self._on_the_way = 0
        self._timers: dict[_Side, asyncio.TimerHandle] = {}
        self.to_server: deque[bytes] = deque(maxlen=_MAX_ON_THE_WAY)
        self.to_caller: deque[tuple[int, bytes]] = deque(maxlen=_MAX_ON_THE_WAY)
        self.dropped_full = 0

    async def __aenter__(self) -> UdpProxy:
        return self

    async def __aexit__(self, *_: object) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for side in (self._front, self._back):
            if side.transport is not None:
                side.transport.close()

    @property
    def lost(self) -> int:
        """Datagrams lost on purpose, both ways."""
        return self._front.path.lost + self._back.path.lost

    @property
    def server(self) -> Address:
        """Where the server's socket is."""
        assert self._back.peer is not None
        return self._back.peer

    async def server_sdp(self, sdp: str) -> str:
        """The server's description as the caller gets it: reachable through us alone."""
        address = _first_address(sdp)
        await self._bind(address[0])
        self._back.peer = address
        return _with_only(sdp, self._front.address)

    async def caller_sdp(self, sdp: str) -> str:
        """The caller's description as the server gets it."""
        address = _first_address(sdp)
        await self._bind(address[0])
        self._front.peer = address
        return _with_only(sdp, self._back.address)

    def inject(self, datagram: bytes) -> None:
        """Send to the server as if the caller had, at once."""
        self._back.transport.sendto(datagram, self.server)

    def carry(self, side: _Side, data: bytes) -> None:
        """Put a datagram on its way (called by the sockets)."""
        if side is self._front:
            self.to_server.append(data)
        else:
            self.to_caller.append((time.monotonic_ns(), data))
        if self._on_the_way >= _MAX_ON_THE_WAY:
            self.dropped_full += 1
            return
        self._on_the_way += 1
        before = side.path.next_ns()
        lost = side.path.lost
        side.path.send(data, time.monotonic_ns())
        self._on_the_way -= side.path.lost - lost
        if side.path.next_ns() != before:
            self._arm(side)

    def _arm(self, side: _Side) -> None:
        if (old := self._timers.pop(side, None)) is not None:
            old.cancel()
        due_ns = side.path.next_ns()
        if due_ns is not None:
            delay_s = max(due_ns - time.monotonic_ns(), 0) / 1e9
            loop = asyncio.get_running_loop()
            self._timers[side] = loop.call_later(delay_s, self._deliver, side)

    def _deliver(self, side: _Side) -> None:
        out = side.out
        assert out is not None
        for _, data in side.path.deliver(time.monotonic_ns()):
            self._on_the_way = max(self._on_the_way - 1, 0)
            if out.peer is not None and not out.transport.is_closing():
                out.transport.sendto(data, out.peer)
        self._arm(side)

    async def _bind(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        for side in (self._front, self._back):
            if side.transport is None:
                await loop.create_datagram_endpoint(lambda side=side: side, local_addr=(host, 0))


def _first_address(sdp: str) -> Address:
    """The first IPv4 host candidate."""
    for match in _CANDIDATE.finditer(sdp):
        if ":" not in match[4]:
            return match[4], int(match[5])
    raise AssertionError("the description has no IPv4 host candidate")


def _with_only(sdp: str, address: Address) -> str:
    """``sdp`` with ``address`` as the one candidate of each section that had any."""
    lines, seen = [], False
    for line in sdp.replace("\r\n", "\n").split("\n"):
        if line.startswith("m="):
            seen = False
        if line.startswith("a=candidate:"):
            if not seen:
                host, port = address
                lines.append(f"a=candidate:1 1 udp 2130706431 {host} {port} typ host")
            seen = True
            continue
        lines.append(line)
    return "\r\n".join(lines)
