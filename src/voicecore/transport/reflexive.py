"""Our addresses as STUN servers see them, asked once for all calls of a shared port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence
from typing import Any

from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport.hub import Destination, MediaHub, Port, is_ipv6
from voicecore.transport.hub_transport import HubTransport
from voicecore.transport.ice_servers import StunServer

_LOG = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""A STUN server that has not answered by then (a request and a repetition) is passed over."""

_REFRESH_S = 20.0
"""Many NATs forget a mapping that was quiet for 30 s; no call can keep a shared port's alive."""


async def ask_in_turn(
    protocol: ice_seam.StunProtocol, servers: Sequence[StunServer]
) -> Destination | None:
    """The address that the first server to answer saw, or None."""
    for server in servers:
        with contextlib.suppress(Exception):  # unreachable, unknown, silent or confused
            async with asyncio.timeout(PATIENCE_S):
                return await ice_seam.mapped_address(protocol, server)
    return None


class Reflexive:
    """Keeps the mapped address of each shared IPv4 port, and the NAT's mapping alive.

    Belongs to the hub's event loop. Nothing is sent before the first
    :meth:`addresses`.
    """

    def __init__(self, hub: MediaHub, servers: Sequence[StunServer]) -> None:
        self._hub = hub
        self._servers = list(servers)
        self._mapped: dict[int, Destination] = {}
        self._queries: dict[int, ice_seam.StunQueries] = {}
        self._peer: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()

    async def addresses(self) -> dict[int, Destination]:
        """By port id; waits for the first answers alone."""
        if not self._servers:
            return {}
        if self._task is None:
            self._peer = self._hub.add_peer(secrets.token_hex(8), self)
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="stun")
        await self._asked.wait()
        return self._mapped

    def on_datagram(self, port: int, data: bytes, source: Destination) -> None:
        """Take an answer."""
        queries = self._queries.get(port)
        if queries is not None:
            queries.datagram_received(data, source)

    def on_media(self, kind: int, *details: Any) -> None:
        """No media is ours."""

    async def close(self) -> None:
        """Ask no more. Twice is fine."""
        self._servers = []
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._peer is not None:
            self._hub.remove_peer(self._peer)
            self._peer = None

    # -- private --------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            ports = [port for port in self._hub.ports() if not is_ipv6(port.host)]
            await asyncio.gather(*(self._ask(port) for port in ports))
            if not self._mapped and not self._asked.is_set():
                _LOG.warning("no STUN server answered; calls go without its candidates")
            self._asked.set()
            await asyncio.sleep(_REFRESH_S)

    async def _ask(self, port: Port) -> None:
        assert self._peer is not None
        queries = self._queries.get(port.id)
        if queries is None:
            queries = self._queries[port.id] = ice_seam.StunQueries()
            queries.connection_made(HubTransport(self._hub, self._peer, port, queries))
        mapped = await ask_in_turn(queries, self._servers)
        if mapped is not None:
            self._mapped[port.id] = mapped
        else:
            self._mapped.pop(port.id, None)
