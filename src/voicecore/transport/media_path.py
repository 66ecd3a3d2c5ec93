"""The way of one call's datagrams, over its ICE restarts; who hears of it."""

from __future__ import annotations

import logging
import secrets
from typing import Any, NamedTuple, Protocol

from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport.hub import Destination, MediaHub, Port
from voicecore.transport.hub_transport import HubTransport
from voicecore.transport.ice_way import PathConfig, Way
from voicecore.transport.server_notes import ServerFault

_LOG = logging.getLogger(__name__)

RELAYED = -1
"""The port id of a pair whose datagrams go through a TURN server."""

_UFRAG_BYTES = 6
"""RFC 8445, section 5.3, wants 24 bits; 48 keep the names of one port's calls apart."""


class SelectedPair(NamedTuple):
    """The pair in use: our port's id (:data:`RELAYED`: none), and where the caller is."""

    port: int
    host: str
    udp_port: int
    local_type: str
    remote_type: str


class PathSink(Protocol):
    """Who hears of a path. All calls come on the event loop; none may block."""

    def on_pair(self, pair: SelectedPair | None) -> None:
        """The pair in use changed; None: there is none any more."""

    def on_packet(self, data: bytes) -> None:
        """SRTP or SRTCP came through a relay, as it was."""

    def on_media(self, kind: int, *details: Any) -> None:
        """An event of the media threads for this peer."""


class MediaPath:
    """Owns a call's peer id, its ways, and ports of its own if it has some.

    ``connection`` is aiortc's, which reads and sends by it as long as the call lasts. An
    ICE restart (``ice_restart``) makes another way beside the one in use; from its first
    pair on it is the one in use, and its pair stands in ``connection``.
    """

    def __init__(
        self, hub: MediaHub, connection: ice_seam.IceConnection, config: PathConfig
    ) -> None:
        self._hub = hub
        self._connection = connection
        self._own: list[Port] = []
        self._sink: PathSink | None = None
        self._closed = False
        self._suspended = False
        self.dropped = 0
        """Datagrams of the call that were of no use."""
        ufrag = secrets.token_hex(_UFRAG_BYTES)
        self.peer = hub.add_peer(ufrag, self)
        # The one in use, and behind it one that an ICE restart tries.
        self._ways = [Way(hub, self, connection, config, ufrag, self._own)]

    @property
    def pair(self) -> SelectedPair | None:
        """The pair in use."""
        if self._closed or self._suspended:
            return None
        pair = ice_seam.nominated_pair(self._connection)
        if pair is None:
            return None
        transport = pair.protocol.transport
        port = transport.port.id if isinstance(transport, HubTransport) else RELAYED
        types = (pair.local_candidate.type, pair.remote_candidate.type)
        return SelectedPair(port, *pair.remote_addr, *types)

    @property
    def no_relay(self) -> ServerFault | None:
        """Why no TURN server gave a relay, once candidates are gathered."""
        return self.way.no_relay if self._ways else None

    def attach(self, sink: PathSink) -> None:
        """Name who hears of the path; the pair in use is told at once."""
        self._sink = sink
        sink.on_pair(self.pair)

    def send(self, data: bytes) -> bool:
        """Send one datagram on the pair in use, relayed or not; False if there is none."""
        if self._closed or self._suspended:
            return False
        pair = ice_seam.nominated_pair(self._connection)
        if pair is None:
            return False
        pair.protocol.transport.sendto(data, pair.remote_addr)
        return True

    def close(self) -> None:
        """Let go of the peer and the ports; after the connection is closed. Twice is fine."""
        if not self._closed:
            ice_seam.close_latecomers(self._connection)
        self._closed = True
        self._sink = None
        self._hub.remove_peer(self.peer)
        for port in self._own:
            self._hub.close_port(port)
        self._own.clear()
        for way in self._ways:
            way.let_go()
        self._ways.clear()

    # -- for ICE restarts -------------------------------------------------------------

    @property
    def way(self) -> Way:
        """The one in use."""
        return self._ways[0]

    def ways_from_newest(self) -> list[Way]:
        """One that is tried, then the one in use."""
        return self._ways[::-1]

    def another_way(self, far: ice_seam.FarIce, config: PathConfig) -> Way:
        """One to the far end's new name, beside the one in use until it has a pair."""
        connection = ice_seam.second_connection(self.way.connection, far)
        ufrag = secrets.token_hex(_UFRAG_BYTES)
        self._hub.add_name(self.peer, ufrag)
        way = Way(self._hub, self, connection, config, ufrag, self._own, reader=self._connection)
        self._ways.append(way)
        return way

    async def drop(self, way: Way) -> None:
        """Close a way that isn't in use any more, or never was."""
        self._ways.remove(way)
        self._hub.drop_name(self.peer, way.ufrag)
        await way.close()

    async def close_ways(self) -> None:
        """Close what restarts have made; after aiortc's connection is closed."""
        for way in [way for way in self._ways if way.connection is not self._connection]:
            self._ways.remove(way)
            await way.close()

    def suspend(self, suspended: bool) -> None:
        """Whether to send nothing, for the pair in use leads nowhere; the voice is held."""
        if suspended != self._suspended:
            self._suspended = suspended
            self._tell_pair()

    async def go_back(self) -> None:
        """No other way was found: the one in use goes on, if the far end still consents."""
        if self.way.expired:
            await self._connection.close()
        else:
            self.suspend(False)

    # -- the hub's handler ------------------------------------------------------------

    def on_datagram(self, port: int, data: bytes, source: Destination) -> None:
        """See :class:`~voicecore.transport.hub.PeerHandler`."""
        ways = self._ways
        for way in ways:
            if len(ways) == 1 or way.expects(port, data):
                way.on_datagram(port, data, source)
                return
        self.dropped += 1

    def on_media(self, kind: int, *details: Any) -> None:
        """See :class:`~voicecore.transport.hub.PeerHandler`."""
        if self._sink is not None:
            self._sink.on_media(kind, *details)

    # -- for its ways -----------------------------------------------------------------

    def on_packet(self, data: bytes) -> None:
        """SRTP or SRTCP came that the media threads don't see, by a relay."""
        if self._sink is not None:
            self._sink.on_packet(data)

    def on_dropped(self) -> None:
        """A datagram was of no use."""
        self.dropped += 1

    def on_pair(self) -> None:
        """The pair in aiortc's connection changed."""
        ours = ice_seam.nominated_pair(self._connection)
        newest = ice_seam.nominated_pair(self.way.connection) if self._ways else None
        if ours is not None and newest is not None and ours is not newest:
            ice_seam.hand_on(self._connection, newest)  # a late check was about the old way
        else:
            self._tell_pair()

    def on_way_pair(self, way: Way) -> None:
        """The pair of a restart's way changed: that way is in use from now on."""
        pair = ice_seam.nominated_pair(way.connection)
        if pair is None or way not in self._ways:
            return
        if way is not self.way:
            self._ways.remove(way)
            self._ways.insert(0, way)
            self._suspended = False
        ice_seam.hand_on(self._connection, pair)

    async def on_way_expired(self, way: Way) -> None:
        """The far end has not consented for 30 s (RFC 7675)."""
        way.expired = True
        if self._ways == [way]:
            await self._connection.close()
        elif way is self.way:
            self.suspend(True)  # the other way decides

    # -- private ----------------------------------------------------------------------

    def _tell_pair(self) -> None:
        if self._sink is None:
            return
        try:
            self._sink.on_pair(self.pair)
        except Exception:  # called from the midst of aioice's state
            _LOG.exception("telling the pair of peer %d failed", self.peer)
