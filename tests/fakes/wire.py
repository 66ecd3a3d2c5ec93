"""Media threads joined in memory: whole calls connect in virtual time, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aioice import stun

from fakes.media_threads import Address, HandThreads
from voicecore.transport.hub import DATAGRAM, MediaHub


class Wire:
    """Carries datagrams between its hubs in no time; counts them, and may be cut.

    ``dead`` are addresses from and to which nothing is carried. Of all else ``lose(data)``
    says what is lost on the way.
    """

    def __init__(self) -> None:
        self.carried = 0
        self.dead: set[str] = set()
        self.lose: Callable[[bytes], bool] = lambda data: False
        self._ends: dict[str, WiredThreads] = {}
        self._cut_at: int | None = None
        self._waiting: list[tuple[int, asyncio.Event]] = []

    def hub(self, *hosts: str) -> MediaHub:
        """A hub whose addresses are ``hosts``."""
        threads = WiredThreads(self)
        self._ends |= dict.fromkeys(hosts, threads)
        return MediaHub(threads, addresses=lambda: list(hosts))

    def cut(self, at: int | None = None) -> None:
        """Carry nothing any more, from the datagram ``at`` on (None: from now)."""
        self._cut_at = self.carried if at is None else at

    async def reached(self, count: int) -> None:
        """Wait until so many datagrams were sent, whether they were carried or not."""
        event = asyncio.Event()
        self._waiting.append((count, event))
        self._wake()
        await event.wait()

    def carry(self, source: Address, to: Address, data: bytes) -> None:
        """For the threads."""
        cut = self._cut_at is not None and self.carried >= self._cut_at
        self.carried += 1
        cut = cut or bool(self.dead & {source[0], to[0]}) or self.lose(data)
        if not cut and (end := self._ends.get(to[0])) is not None:
            end.arrive(to, data, source)
        self._wake()

    def close(self) -> None:
        """Forget the ends, which have the wire."""
        self._ends.clear()
        self._waiting.clear()

    def _wake(self) -> None:
        for count, event in self._waiting:
            if self.carried >= count:
                event.set()


class WiredThreads(HandThreads):
    """Finds a datagram's peer as the native threads do: by ufrag, then by address."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire
        self._known: dict[Address, int] = {}

    def send(self, peer: int, port: int, data: bytes, host: str, udp_port: int) -> None:
        self._known[host, udp_port] = peer
        self._wire.carry(self.open[port], (host, udp_port), data)

    def arrive(self, to: Address, data: bytes, source: Address) -> None:
        if data[0] <= 3:
            user = stun.parse_message(data).attributes.get("USERNAME", "")
            ufrag = user.partition(":")[0]
            if ufrag in self.names:
                self._known[source] = self.names[ufrag]
        peer = self._known.get(source, 0)
        port = next(number for number, bound in self.open.items() if bound == to)
        if peer in self.peers:
            self.put((DATAGRAM, peer, port, data, source))
