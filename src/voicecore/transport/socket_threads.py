"""Media sockets in Python: :class:`~voicecore.transport.hub.MediaThreads` without threads.

For systems where the native plane can't run, for clients with one call, and
for tests. Everything happens in :meth:`SocketThreads.take`, on the event
loop's thread; packets of audio come to Python as events.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import selectors
import socket
from typing import Any

from voicecore.transport.hub import DATAGRAM, Destination

ARRIVED = 100
"""Kind of the event ``(ARRIVED, peer, data)``: an SRTP or SRTCP packet, as it came."""

_READS_PER_TAKE = 64
_MOST_BYTES = 2048
"""Above any MTU that reaches us; longer datagrams are cut and fail authentication."""
_RECEIVE_BUFFER_BYTES = 1 << 20
"""A second of audio of one call is 4 KB; a megabyte outlives any pause of ours."""
_SOURCES_PER_PEER = 64
"""Addresses that may be one peer's: a stranger who knows a ufrag fills no table."""
_MAGIC = b"\x21\x12\xa4\x42"
_USERNAME = 0x0006
_REQUEST = b"\x00\x01"

Source = tuple[int, Destination]


class SocketThreads:
    """See :class:`~voicecore.transport.hub.MediaThreads`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._ids = itertools.count(1)
        self._ports: dict[int, socket.socket] = {}
        self._ufrags: dict[bytes, int] = {}
        self._peers: dict[int, bytes] = {}
        self._sources: dict[Source, int] = {}
        self._sources_of: dict[int, set[Source]] = {}
        self._closed = False
        self.dropped = 0
        """Datagrams that were nobody's."""

    @property
    def fd(self) -> int:
        """Readable while a socket is."""
        return self._selector.fileno()

    def open_port(self, host: str, port: int = 0) -> int:
        """Bind a UDP socket at a local address. Raises OSError."""
        version6 = ipaddress.ip_address(host).version == 6
        sock = socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            if version6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        except OSError:
            sock.close()
            raise
        number = next(self._ids)
        self._ports[number] = sock
        self._selector.register(sock, selectors.EVENT_READ, number)
        return number

    def port_address(self, port: int) -> Destination:
        """Where the port is bound."""
        host, udp_port = self._ports[port].getsockname()[:2]
        return host, udp_port

    def close_port(self, port: int) -> None:
        """Close it."""
        sock = self._ports.pop(port, None)
        if sock is not None:
            self._selector.unregister(sock)
            sock.close()

    def add_peer(self, ufrag: str) -> int:
        """Take STUN requests for ``ufrag``. Raises ValueError if another peer has it."""
        name = ufrag.encode("ascii")
        if name in self._ufrags:
            raise ValueError("another peer has this ufrag")
        peer = next(self._ids)
        self._ufrags[name] = peer
        self._peers[peer] = name
        self._sources_of[peer] = set()
        return peer

    def remove_peer(self, peer: int) -> None:
        """Forget the peer and its addresses."""
        name = self._peers.pop(peer, None)
        if name is None:
            return
        del self._ufrags[name]
        for source in self._sources_of.pop(peer):
            del self._sources[source]

    def send(self, peer: int, port: int, data: bytes, host: str, udp_port: int) -> None:
        """Send now, and take what comes back. Raises OSError when the system refuses."""
        sock = self._ports.get(port)
        known = self._sources_of.get(peer)
        if sock is None or known is None:
            return
        source = (port, (host, udp_port))
        # A free address only: nobody takes another call's by naming it as his own.
        if source not in self._sources and len(known) < _SOURCES_PER_PEER:
            self._sources[source] = peer
            known.add(source)
        with contextlib.suppress(BlockingIOError):
            sock.sendto(data, (host, udp_port))

    def take(self) -> list[tuple[Any, ...]]:
        """Read what has come, at most a few dozen datagrams."""
        events: list[tuple[Any, ...]] = []
        if self._closed:
            return events
        ready = self._selector.select(0)
        reads = max(_READS_PER_TAKE // max(len(ready), 1), 1)
        for key, _ in ready:
            for _ in range(reads):
                try:
                    data, source = key.fileobj.recvfrom(_MOST_BYTES)  # type: ignore[union-attr]
                except OSError:
                    break
                self._sort(events, key.data, data, source[:2])
        return events

    def close(self) -> None:
        """Close all sockets."""
        self._closed = True
        for port in list(self._ports):
            self.close_port(port)
        self._selector.close()

    def _sort(
        self, events: list[tuple[Any, ...]], port: int, data: bytes, source: Destination
    ) -> None:
        # RFC 7983, section 7: 0..3 is STUN, 20..63 DTLS, 128..191 RTP and RTCP.
        first = data[0] if data else 255
        peer = self._sources.get((port, source))
        if first <= 3:
            named = self._ufrags.get(ufrag_of(data))
            peer = named if named is not None else peer
        if peer is None or not (first <= 3 or 20 <= first <= 63 or 128 <= first <= 191):
            self.dropped += 1
        elif first >= 128:
            events.append((ARRIVED, peer, data))
        else:
            events.append((DATAGRAM, peer, port, data, source))


def ufrag_of(data: bytes) -> bytes:
    """Whom a STUN binding request is for: its user name up to the colon, or ``b""``.

    RFC 8489, sections 5 and 14: 20 bytes of header, then attributes of type,
    length and value, each padded to four bytes.
    """
    if len(data) < 20 or data[:2] != _REQUEST or data[4:8] != _MAGIC:
        return b""
    at = 20
    while at + 4 <= len(data):
        kind = int.from_bytes(data[at : at + 2], "big")
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
        if kind == _USERNAME:
            value = data[at : at + length]
            return value.partition(b":")[0] if len(value) == length else b""
        at += (length + 3) & ~3
    return b""
