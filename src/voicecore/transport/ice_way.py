"""One ICE connection of a call: candidates over the hub's ports, or at a relay."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport.hub import Destination, MediaHub, Port, is_ipv6
from voicecore.transport.hub_transport import HubTransport
from voicecore.transport.ice_servers import StunServer, TurnServer
from voicecore.transport.reflexive import Reflexive, ask_all
from voicecore.transport.relays import allocate
from voicecore.transport.remains import IceRemains
from voicecore.transport.server_notes import ServerFault, ServerNotes
from voicecore.transport.turn_watch import TurnWatch

_LOG = logging.getLogger(__name__)

GATHER_S = 0.4
"""No call waits longer for STUN and TURN servers where it can do without them."""

RELAY_WAIT_S = 4.0
"""Where it can't: over TLS an allocation is five round trips, and a datagram may be lost."""

_BEHIND_S = 0.2
"""A direct way that answers within this is used, though there is a relay of ours."""


@dataclass(frozen=True, slots=True)
class PathConfig:
    """How a call is reached.

    ``public`` addresses stand for our own behind a 1:1 NAT, at most one of
    each IP version. ``ports`` makes a port number of a call's own for each
    try, of at most ``tries``; None: the hub's shared ports. A relay is taken at one of
    ``turn``. With ``turn_watch`` none is: the far end may have relays of these servers,
    and from them it reaches our own addresses.
    """

    public: tuple[str, ...] = ()
    hide_private: bool = False
    stun: tuple[StunServer, ...] = ()
    turn: tuple[TurnServer, ...] = ()
    reflexive: Reflexive | None = None
    ports: Callable[[], int] | None = None
    tries: int = 1
    turn_watch: TurnWatch | None = None
    on_no_relay: Callable[[ServerFault], None] | None = None
    relay_required: bool = False
    """The far end uses nothing but a relay: that none is to be had must be known, not guessed."""
    relay_only: bool = False
    """No candidate but a relay's: our own addresses stay unknown to the far end."""
    turn_ca: str | None = None
    """PEM file of the authorities for TURN over TLS; None: the system's."""
    notes: ServerNotes = field(default_factory=ServerNotes)


class WayOwner(Protocol):
    """Whose way it is: the call's path. All calls come on the event loop."""

    peer: int
    """The media threads' id of the peer."""

    def on_packet(self, data: bytes) -> None:
        """SRTP or SRTCP came that the media threads don't see, by a relay."""

    def on_dropped(self) -> None:
        """A datagram was of no use."""

    def on_pair(self) -> None:
        """The pair in aiortc's own connection changed."""

    def on_way_pair(self, way: Way) -> None:
        """The pair of another connection changed."""

    async def on_way_expired(self, way: Way) -> None:
        """The far end has not consented for 30 s (RFC 7675)."""


class Way:
    """One ICE connection over the hub: its name, its candidates, a protocol for each port.

    ``own`` are the call's own ports, opened by its first way if at all; ``reader`` is the
    connection that DTLS reads from, if it is another one.
    """

    def __init__(
        self,
        hub: MediaHub,
        path: WayOwner,
        connection: ice_seam.IceConnection,
        config: PathConfig,
        ufrag: str,
        own: list[Port],
        *,
        reader: ice_seam.IceConnection | None = None,
    ) -> None:
        self._hub = hub
        self._path = path
        self._connection = connection
        self._config = config
        self._reader = reader
        self._protocols: dict[int, ice_seam.CallProtocol] = {}
        self._own = own
        self._closed = False
        self.peer = path.peer
        self.ufrag = ufrag
        self.expired = False
        """The far end's consent ran out (RFC 7675)."""
        self.no_relay: ServerFault | None = None
        """Why no TURN server gave a relay, once candidates are gathered."""
        self.consent = ice_seam.prepare_ice(
            connection,
            ufrag=ufrag,
            gather=self._gather,
            on_pair=path.on_pair if reader is None else partial(path.on_way_pair, self),
            on_expired=partial(path.on_way_expired, self),
        )

    @property
    def connection(self) -> ice_seam.IceConnection:
        """Its ICE connection."""
        return self._connection

    def expects(self, port: int, data: bytes) -> bool:
        """Whether a datagram that came at ``port`` is for this way rather than another."""
        protocol = self._protocols.get(port)
        return protocol is not None and (data[0] > 3 or protocol.expects(data))

    def on_datagram(self, port: int, data: bytes, source: Destination) -> None:
        """Take a datagram."""
        protocol = self._protocols.get(port)
        if protocol is not None:
            protocol.datagram_received(data, source)

    async def close(self) -> None:
        """Close what it sent by, and its connection unless that is aiortc's."""
        remains = IceRemains(self._connection)
        if self._reader is None:
            await ice_seam.retire(self._connection)
        else:
            await self._connection.close()
        ice_seam.close_latecomers(self._connection)
        self.let_go()
        remains.dissolve(also_connection=self._reader is not None)

    def let_go(self) -> None:
        """Forget the protocols, which have our methods. Twice is fine."""
        self._closed = True
        self._protocols.clear()

    # -- private ----------------------------------------------------------------------

    def _new_protocol(self) -> ice_seam.CallProtocol:
        path = self._path
        return ice_seam.CallProtocol(
            self._connection, path.on_packet, path.on_dropped, self.consent, self._reader
        )

    def _new_relayed(self) -> ice_seam.CallProtocol:
        made = self._new_protocol()
        made.behind_s = 0.0 if self._config.relay_only else _BEHIND_S
        return made

    async def _gather(self) -> list[Any]:
        if self._config.relay_only:
            return await self._relay()
        ports = self._open_own() if self._config.ports else self._open_shared()
        candidates = self._host_candidates(ports)
        for more in await asyncio.gather(self._reflexive_candidates(ports), self._relay()):
            candidates += more
        return candidates

    def _open_shared(self) -> list[Port]:
        try:
            return self._hub.ports()
        except OSError as error:
            # The network changed and our port is another's there: not the caller's fault.
            _LOG.error("no port for a call: %s", error.strerror)
            return []

    def _open_own(self) -> list[Port]:
        assert self._config.ports is not None
        if self._own:  # an ICE restart's: a range may be no larger than the calls
            return self._own
        for host in self._hub.local_addresses():
            for _ in range(self._config.tries):
                with contextlib.suppress(OSError):
                    self._own.append(self._hub.open_port(host, self._config.ports()))
                    break
        return self._own

    def _host_candidates(self, ports: Sequence[Port]) -> list[Any]:
        public = {ipaddress.ip_address(text).version: text for text in self._config.public}
        named: list[Any] = []
        private: list[Any] = []
        for rank, port in enumerate(ports):
            protocol = self._new_protocol()
            transport = HubTransport(self._hub, self.peer, port, protocol)
            protocol.connection_made(transport)
            own = ice_seam.host_candidate(port.host, port.udp_port, 0x7FFF - rank)
            ice_seam.add_protocol(self._connection, protocol, own)
            self._protocols[port.id] = protocol
            outside = public.pop(6 if is_ipv6(port.host) else 4, None)
            if outside is not None and outside != port.host:
                # Better than the private one: the caller tries it first.
                named.append(ice_seam.host_candidate(outside, port.udp_port, 0xFFFF - rank))
                if self._config.hide_private:
                    continue
            private.append(own)
        return named + private

    async def _reflexive_candidates(self, ports: Sequence[Port]) -> list[Any]:
        config = self._config
        ports = [port for port in ports if not is_ipv6(port.host)]
        if any(not is_ipv6(text) for text in config.public):
            return []
        mapped: dict[int, Destination] = {}
        if config.ports is None and config.reflexive is not None:
            mapped = await config.reflexive.addresses(GATHER_S)
        elif config.stun:
            mapped = await self._ask([port.id for port in ports])
        return [
            ice_seam.reflexive_candidate(mapped[port.id], (port.host, port.udp_port), 0x7FFF - rank)
            for rank, port in enumerate(ports)
            if port.id in mapped and mapped[port.id][0] != port.host
        ]

    async def _ask(self, ports: Sequence[int]) -> dict[int, Destination]:
        notes = self._config.notes
        servers = [each for each in self._config.stun if not notes.keeps_silent(each.url)]
        asking = {port: self._protocols[port] for port in ports}
        mapped = await ask_all(asking, servers, wait_s=GATHER_S)
        for server in servers if asking else []:
            if mapped:
                notes.works(server.url)
            else:
                notes.fails(server.url, ServerFault.TIMEOUT)
        return mapped

    async def _relay(self) -> list[Any]:
        config = self._config
        if config.turn_watch is not None:
            wait_s = RELAY_WAIT_S if config.relay_required else 0.0
            self._note_relay(await config.turn_watch.fault(wait_s))
            return []
        if not config.turn:
            return []
        found = await allocate(
            config.turn,
            self._new_relayed,
            config.notes,
            wait_s=RELAY_WAIT_S if config.relay_only else GATHER_S,
            required=config.relay_only,
            hide_base=config.relay_only,
            ca_file=config.turn_ca,
        )
        if isinstance(found, ServerFault):
            self._note_relay(found)
            return []
        if self._closed:
            found.protocol.transport.close()
            return []
        ice_seam.add_protocol(self._connection, found.protocol, found.candidate)
        return [found.candidate]

    def _note_relay(self, fault: ServerFault | None) -> None:
        self.no_relay = fault
        if fault is not None and self._config.on_no_relay is not None:
            self._config.on_no_relay(fault)
