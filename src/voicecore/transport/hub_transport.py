"""A port of the media hub, as an asyncio datagram transport."""

from __future__ import annotations

import asyncio
from typing import Any

from voicecore.transport.hub import MediaHub, Port


class HubTransport(asyncio.DatagramTransport):
    """Sends for one peer through one port. Closing it leaves the port open."""

    def __init__(
        self, hub: MediaHub, peer: int, port: Port, protocol: asyncio.DatagramProtocol
    ) -> None:
        super().__init__({"sockname": (port.host, port.udp_port)})
        self._hub = hub
        self._peer = peer
        self._protocol: asyncio.DatagramProtocol | None = protocol
        self._closed = False
        self.port = port

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Send now; a datagram that can't be sent is lost."""
        if not self._closed:
            self._hub.send(self._peer, self.port.id, bytes(data), (addr[0], addr[1]))

    def is_closing(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    def close(self) -> None:
        """Send nothing more, and tell the protocol so."""
        protocol, self._protocol = self._protocol, None
        self._closed = True
        if protocol is not None:
            protocol.connection_lost(None)

    def abort(self) -> None:
        """As :meth:`close`: nothing is buffered."""
        self.close()
