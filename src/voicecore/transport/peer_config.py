"""How a peer is reached, and what is asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiortc import RTCIceServer

from voicecore.transport import ice_servers
from voicecore.transport.hub import MediaHub
from voicecore.transport.ice_way import PathConfig
from voicecore.transport.reflexive import Reflexive
from voicecore.transport.sdp_audio import AudioWants
from voicecore.transport.server_notes import ServerFault, ServerNotes
from voicecore.transport.turn_watch import TurnWatch


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """How peers reach us, and what is asked of them.

    ``hub`` has the sockets. ``public_addresses`` stand for ours behind a 1:1
    NAT, at most one of each IP version; ours stay as second candidates unless
    ``hide_private``. With ``port_min`` each call gets a port of its own in
    ``[port_min, port_max]``, tried in the order of ``next_port``.
    ``on_no_relay`` is told why when no TURN server gives a relay: to us, of those in
    ``ice_servers``, or by what ``turn_watch`` says; where there is one we take none.
    With ``relay_required`` the far end has no other way, so that is the end of the call;
    with ``relay_only`` we have no other way, either, and no address of ours is told.
    ``turn_ca`` is a PEM file of the authorities for TURN over TLS; ``notes`` are of all
    calls of the process.
    ``now``: a monotonic clock (ns) for the milestones of a peer.
    ``on_restart`` is told how an ICE restart went: ``connected``, ``failed`` or ``replaced``.
    """

    hub: MediaHub
    ice_servers: tuple[RTCIceServer, ...] = ()
    port_min: int = 0
    port_max: int = 0
    next_port: Callable[[], int] = field(default=lambda: 0)
    reflexive: Reflexive | None = None
    public_addresses: tuple[str, ...] = ()
    hide_private: bool = False
    wants: AudioWants = field(default_factory=AudioWants)
    turn_watch: TurnWatch | None = None
    on_no_relay: Callable[[ServerFault], None] | None = None
    relay_required: bool = False
    relay_only: bool = False
    turn_ca: str | None = None
    notes: ServerNotes = field(default_factory=ServerNotes)
    now: Callable[[], int] = time.monotonic_ns
    on_restart: Callable[[str], None] = field(default=lambda result: None)


def path_config(config: PeerConfig) -> PathConfig:
    """The same, as a path wants it."""
    stun, turn = ice_servers.read(config.ice_servers)
    return PathConfig(
        public=config.public_addresses,
        hide_private=config.hide_private,
        stun=tuple(stun),
        turn=tuple(turn),
        reflexive=config.reflexive,
        ports=config.next_port if config.port_min else None,
        tries=config.port_max - config.port_min + 1,
        turn_watch=config.turn_watch,
        on_no_relay=config.on_no_relay,
        relay_required=config.relay_required,
        relay_only=config.relay_only,
        turn_ca=config.turn_ca,
        notes=config.notes,
    )
