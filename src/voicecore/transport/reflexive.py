"""Our addresses as STUN servers see them, asked once for all calls of a shared port."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport.attempts import first_of
from voicecore.transport.hub import Destination, MediaHub, is_ipv6
from voicecore.transport.hub_transport import HubTransport
from voicecore.transport.ice_servers import StunServer

_LOG = logging.getLogger(__name__)

_PATIENCE_S = 2.0
"""While no call waits: a request and two repetitions."""

_HEAD_START_S = 0.1
"""An earlier server is preferred: a later one, nearer, may see an address of the LAN."""

_GRACE_S = 0.1
"""For the other ports when one has its answer: not every network has a way to the server."""

_REFRESH_S = 20.0
"""Many NATs forget a mapping that was quiet for 30 s; no call can keep a shared port's alive."""


async def ask_all(
    ports: Mapping[int, ice_seam.StunProtocol], servers: Sequence[StunServer], *, wait_s: float
) -> dict[int, Destination]:
    """The address of each port (by its id) that the first server to answer it saw.

    Left out are ports that had no answer within ``wait_s``, or soon after the
    first port had one. Nothing raises.
    """
    loop = asyncio.get_running_loop()
    asking = {loop.create_task(_ask(ports[port], servers)): port for port in ports}
    end_s = loop.time() + wait_s
    waiting = set(asking)
    try:
        while waiting:
            left_s = max(0.0, end_s - loop.time())
            done, waiting = await asyncio.wait(
                waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            if any(task.result() is not None for task in done):
                end_s = min(end_s, loop.time() + _GRACE_S)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    answers = {port: task.result() for task, port in asking.items() if not task.cancelled()}
    return {port: mapped for port, mapped in answers.items() if mapped is not None}


async def _ask(
    protocol: ice_seam.StunProtocol, servers: Sequence[StunServer]
) -> Destination | None:
    attempts = [functools.partial(ice_seam.mapped_address, protocol, each) for each in servers]
    # Unreachable, unknown or confused servers: the next one may do.
    return await first_of(attempts, head_start_s=_HEAD_START_S)


class Reflexive:
    """Keeps the mapped address of each shared IPv4 port, and the NAT's mapping alive.

    Belongs to the hub's event loop. Nothing is sent before :meth:`start` or the
    first :meth:`addresses`.
    """

    def __init__(self, hub: MediaHub, servers: Sequence[StunServer]) -> None:
        self._hub = hub
        self._servers = list(servers)
        self._waited = False
        self._mapped: dict[int, Destination] = {}
        self._queries: dict[int, ice_seam.StunQueries] = {}
        self._peer: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()

    def start(self) -> None:
        """Ask now, so that the first call needn't wait. Twice is fine."""
        if self._servers and self._task is None:
            self._peer = self._hub.add_peer(secrets.token_hex(8), self)
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="stun")

    async def addresses(self, wait_s: float) -> dict[int, Destination]:
        """By port id. Waits for the first answers, ``wait_s`` at most; later calls don't."""
        self.start()
        if self._task is not None and not self._waited:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._asked.wait()
            self._waited = True
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
            self._mapped = await ask_all(self._askers(), self._servers, wait_s=_PATIENCE_S)
            if not self._mapped and not self._asked.is_set():
                _LOG.warning("no STUN server answered; calls go without its candidates")
            self._asked.set()
            await asyncio.sleep(_REFRESH_S)

    def _askers(self) -> dict[int, ice_seam.StunProtocol]:
        assert self._peer is not None
        try:
            ports = [port for port in self._hub.ports() if not is_ipv6(port.host)]
        except OSError:  # told with each call that finds none
            return {}
        for port in ports:
            if port.id not in self._queries:
                queries = self._queries[port.id] = ice_seam.StunQueries()
                queries.connection_made(HubTransport(self._hub, self._peer, port, queries))
        return {port.id: self._queries[port.id] for port in ports}
