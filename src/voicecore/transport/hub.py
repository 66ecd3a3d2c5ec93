"""The one owner of the media sockets in Python: hands what they bring to its call.

The sockets belong to :class:`MediaThreads` (``_native.plane``). What they have
for Python, STUN and DTLS of known calls and what happened to their media, comes
in batches on one descriptor. The hub keeps one port open on each address of the machine
for all calls, so that a new call costs no socket.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from voicecore.transport.addresses import local_addresses

_LOG = logging.getLogger(__name__)

DATAGRAM = 10
"""Kind of the event ``(DATAGRAM, peer, port, data, (host, udp_port))``."""

_EVENTS_PER_TURN = 64
"""A datagram costs about 0.1 ms of aiortc: a flood leaves the loop to others in between."""

_LOOK_AGAIN_S = 30.0
"""Asking for the machine's addresses takes 2 ms; they change rarely."""

_MOST_PORTS = 64
"""Addresses that come and go (IPv6 privacy) keep their ports until there are so many."""

Destination = tuple[str, int]


class MediaThreads(Protocol):
    """Owner of UDP sockets; what it gives belongs to one of its peers or is dropped.

    Called on the event loop's thread alone. An event of any other kind than
    :data:`DATAGRAM` is ``(kind, peer, ...)``.
    """

    @property
    def fd(self) -> int:
        """Readable while :meth:`take` has something."""
        ...

    def take(self) -> list[tuple[Any, ...]]:
        """Events that wait, oldest first; a bounded number."""
        ...

    def open_port(self, host: str, port: int = 0) -> int:
        """Bind a UDP socket at a local address, return its id. Raises OSError."""
        ...

    def port_address(self, port: int) -> Destination:
        """Where the port ``port`` (an id) is bound."""
        ...

    def close_port(self, port: int) -> None:
        """Close it."""
        ...

    def add_peer(self, ufrag: str) -> int:
        """STUN requests with the user name ``<ufrag>:...``, at any port, are this peer's."""
        ...

    def add_name(self, peer: int, ufrag: str) -> None:
        """STUN requests with that name are this peer's too; four names at most at once."""
        ...

    def drop_name(self, peer: int, ufrag: str) -> None:
        """They are nobody's any more; the peer's last name stays."""
        ...

    def remove_peer(self, peer: int) -> None:
        """Nothing comes for it any more. Twice is fine."""
        ...

    def send(self, peer: int, port: int, data: bytes, host: str, udp_port: int) -> None:
        """Send at once; datagrams from that address at that port are the peer's from then on."""
        ...

    def close(self) -> None:
        """Close all sockets. Twice is fine."""
        ...


class PeerHandler(Protocol):
    """Who hears of one peer, on the event loop. None may block."""

    def on_datagram(self, port: int, data: bytes, source: Destination) -> None:
        """A STUN or DTLS datagram came at ``port``."""

    def on_media(self, kind: int, *details: Any) -> None:
        """Any other event of the peer."""


@dataclass(frozen=True, slots=True)
class Port:
    """An open port: its id, and the local address it is bound to."""

    id: int
    host: str
    udp_port: int


class MediaHub:
    """Belongs to the event loop it is made on; owns ``threads`` and closes it.

    ``udp_port`` 0 takes a free port, the same on every address where possible.
    """

    def __init__(
        self,
        threads: MediaThreads,
        *,
        udp_port: int = 0,
        addresses: Callable[[], list[str]] = local_addresses,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = threads
        self._udp_port = udp_port
        self._addresses = addresses
        self._now_s = now_s
        self._loop = asyncio.get_running_loop()
        self._handlers: dict[int, PeerHandler] = {}
        self._waiting: deque[tuple[Any, ...]] = deque()
        self._continue: asyncio.Handle | None = None
        self._ports: dict[str, Port] = {}
        self._present: list[str] = []
        self._looked_s: float | None = None
        self._closed = False
        self.unsent = 0
        """Datagrams that the system refused to send."""
        self.stray = 0
        """Events of peers that are gone."""
        self._loop.add_reader(threads.fd, self._on_readable)

    @property
    def threads(self) -> MediaThreads:
        """The owner of the sockets, for what concerns media."""
        return self._threads

    @property
    def peers(self) -> int:
        """Peers with a handler."""
        return len(self._handlers)

    def ports(self) -> list[Port]:
        """The shared ports on the addresses that the machine has now, best first.

        Raises OSError when a fixed ``udp_port`` is taken on every address.
        """
        now_s = self._now_s()
        if self._looked_s is None or now_s - self._looked_s >= _LOOK_AGAIN_S:
            self._look(now_s)
        return [self._ports[host] for host in self._present]

    def open_port(self, host: str, udp_port: int) -> Port:
        """A port of a call's own; close it with :meth:`close_port`. Raises OSError."""
        number = self._threads.open_port(host, udp_port)
        return Port(number, host, self._threads.port_address(number)[1])

    def close_port(self, port: Port) -> None:
        """Close a port of a call's own, after its peer is removed."""
        if not self._closed:
            self._threads.close_port(port.id)

    def local_addresses(self) -> list[str]:
        """The addresses for ports of a call's own."""
        return self._addresses()

    def add_peer(self, ufrag: str, handler: PeerHandler) -> int:
        """Hand what comes for ``ufrag`` to ``handler``; returns the peer's id."""
        peer = self._threads.add_peer(ufrag)
        self._handlers[peer] = handler
        return peer

    def add_name(self, peer: int, ufrag: str) -> None:
        """Hand what comes for another name to the peer's handler, too."""
        self._threads.add_name(peer, ufrag)

    def drop_name(self, peer: int, ufrag: str) -> None:
        """Nothing comes for that name any more; a peer that is gone has none."""
        if not self._closed and peer in self._handlers:
            self._threads.drop_name(peer, ufrag)

    def remove_peer(self, peer: int) -> None:
        """Nothing comes for the peer any more, not even what waits. Twice is fine."""
        self._handlers.pop(peer, None)
        if not self._closed:
            self._threads.remove_peer(peer)

    def send(self, peer: int, port: int, data: bytes, to: Destination) -> None:
        """Send for a peer; what the system refuses is counted, like a loss on the way."""
        if self._closed or peer not in self._handlers:
            return
        try:
            self._threads.send(peer, port, data, to[0], to[1])
        except (OSError, ValueError, OverflowError):
            self.unsent += 1

    def close(self) -> None:
        """Close all sockets; no handler is called any more. Twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._threads.fd)
        if self._continue is not None:
            self._continue.cancel()
        self._handlers.clear()
        self._waiting.clear()
        self._threads.close()

    # -- private --------------------------------------------------------------------

    def _look(self, now_s: float) -> None:
        found = self._addresses()
        error: OSError | None = None
        for host in found:
            if host not in self._ports:
                try:
                    self._ports[host] = self._open_shared(host)
                except OSError as refused:
                    error = refused
        self._present = [host for host in found if host in self._ports]
        if error is not None and not self._present:
            raise error
        self._looked_s = now_s
        for host in [host for host in self._ports if host not in self._present]:
            if len(self._ports) > _MOST_PORTS:
                self._threads.close_port(self._ports.pop(host).id)

    def _open_shared(self, host: str) -> Port:
        if self._udp_port:
            return self.open_port(host, self._udp_port)
        # One firewall rule for all addresses, where the number is free on all.
        for port in list(self._ports.values())[:1]:
            try:
                return self.open_port(host, port.udp_port)
            except OSError:
                break
        return self.open_port(host, 0)

    def _on_readable(self) -> None:
        if self._continue is None:
            self._deliver()

    def _deliver(self) -> None:
        self._continue = None
        if not self._waiting:
            self._waiting.extend(self._threads.take())
        for _ in range(min(len(self._waiting), _EVENTS_PER_TURN)):
            self._hand_on(self._waiting.popleft())
            if self._closed:
                return
        if self._waiting:
            self._continue = self._loop.call_soon(self._deliver)

    def _hand_on(self, event: tuple[Any, ...]) -> None:
        kind, peer, *details = event
        handler = self._handlers.get(peer)
        if handler is None:
            self.stray += 1
            return
        try:
            if kind == DATAGRAM:
                handler.on_datagram(*details)
            else:
                handler.on_media(kind, *details)
        except Exception:  # one call's fault must not end the others
            _LOG.exception("handling an event of peer %d failed", peer)


@lru_cache(maxsize=_MOST_PORTS)
def is_ipv6(host: str) -> bool:
    """Whether an address (not a name) is of version 6."""
    return ipaddress.ip_address(host).version == 6
