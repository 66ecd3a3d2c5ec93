"""Media threads in the test's hand."""

from __future__ import annotations

import contextlib
import os
from typing import Any

Address = tuple[str, int]


class HandThreads:
    """Media threads that have what the test puts into them; sends are noted."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.events: list[tuple[Any, ...]] = []
        self.taken: list[int] = []
        self.open: dict[int, Address] = {}
        self.refused: set[Address] = set()
        self.peers: dict[int, str] = {}
        self.names: dict[str, int] = {}
        self.sent: list[tuple[int, int, bytes, str, int]] = []
        self.closed = 0
        self._next = 0

    def put(self, *events: tuple[Any, ...]) -> None:
        self.events += events
        os.eventfd_write(self.fd, 1)

    def take(self) -> list[tuple[Any, ...]]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)
        out, self.events = self.events, []
        self.taken.append(len(out))
        return out

    def open_port(self, host: str, port: int = 0) -> int:
        self._next += 1
        bound = (host, port or 40_000 + self._next)
        if bound in self.refused or bound in self.open.values():
            raise OSError(98, "taken")
        self.open[self._next] = bound
        return self._next

    def port_address(self, port: int) -> Address:
        return self.open[port]

    def close_port(self, port: int) -> None:
        self.open.pop(port, None)

    def add_peer(self, ufrag: str) -> int:
        self._next += 1
        self.peers[self._next] = ufrag
        self.names[ufrag] = self._next
        return self._next

    def add_name(self, peer: int, ufrag: str) -> None:
        assert ufrag not in self.names
        self.names[ufrag] = peer

    def drop_name(self, peer: int, ufrag: str) -> None:
        assert self.names.pop(ufrag) == peer
        assert peer in self.names.values()

    def remove_peer(self, peer: int) -> None:
        self.peers.pop(peer, None)
        self.names = {name: whose for name, whose in self.names.items() if whose != peer}

    def send(self, peer: int, port: int, data: bytes, host: str, udp_port: int) -> None:
        if host == "unreachable":
            raise OSError(101, "unreachable")
        self.sent.append((peer, port, data, host, udp_port))

    def close(self) -> None:
        if not self.closed:
            os.close(self.fd)
        self.closed += 1
