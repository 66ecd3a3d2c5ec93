"""Whether the TURN servers give relays: found out for all calls, by taking one now and then."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from random import Random

from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport.ice_servers import TurnServer
from voicecore.transport.relays import Relay, allocate
from voicecore.transport.server_notes import ServerFault, ServerNotes, TurnState, most_telling

PERIOD_S = 60.0
"""Between two looks while all is well: a secret that was changed is found out within that."""

SOON_S = 5.0
"""Between the first looks while something is wrong; each pause is twice the one before."""

DOWN_S = 20.0
"""The longest of these while no server works: calls may be waiting for the first that does."""

PATIENCE_S = 4.0
"""For a server to give a relay: over TLS that is five round trips, and a datagram may be lost."""

_SPREAD = 0.2
"""Of each pause, either way: processes that were started together don't all look at once."""


class TurnWatch:
    """Takes a relay at each TURN server now and then, and lets it go again.

    Calls of ours need none where the caller's leads to our own addresses, and so would never
    find out that a secret is wrong. What is found stands in ``notes``, which log each change.

    ``servers`` gives all of them, in the order they are tried, with credentials for now.
    ``ca_file``: PEM file of the authorities for TURN over TLS; None: the system's.
    ``wall_s``: Unix time, which user names may end at. Waits go by the event loop's clock.
    Belongs to the event loop; nothing is sent before :meth:`start`.
    """

    def __init__(
        self,
        servers: Callable[[], Sequence[TurnServer]],
        notes: ServerNotes,
        *,
        ca_file: str | None = None,
        random: Random | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._servers = servers
        self._notes = notes
        self._ca_file = ca_file
        self._random = random or Random()
        self._wall_s = wall_s
        self._ways = [(server.url, _way(server)) for server in servers()]
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._known = asyncio.Event()
        self._doubted = asyncio.Event()

    def start(self) -> None:
        """Look now, and from then on, if there is any server. Twice is fine."""
        if self._ways and self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="turn-watch")

    def states(self) -> list[TurnState]:
        """How each server is, in their order."""
        return [
            TurnState(position, way, self._notes.is_up(url), self._notes.fault(url))
            for position, (url, way) in enumerate(self._ways, 1)
        ]

    async def fault(self, wait_s: float = 0.0) -> ServerFault | None:
        """Why no server gives a relay; None if one does, there is none, or nobody knows yet.

        Before the first look is over it is waited for, ``wait_s`` at most; then not to
        know is a fault, too (``TIMEOUT``).
        """
        if wait_s and self._ways and not self._known.is_set():
            try:
                async with asyncio.timeout(wait_s):
                    await self._known.wait()
            except TimeoutError:
                return ServerFault.TIMEOUT
        states = self.states()
        if not self._known.is_set() or any(state.up for state in states):
            return None
        return most_telling(state.fault for state in states if state.fault is not None)

    def doubt(self) -> None:
        """A call found no relay: look again soon."""
        self._doubted.set()

    async def close(self) -> None:
        """Look no more. Twice is fine."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- private --------------------------------------------------------------------

    async def _keep(self) -> None:
        pause_s = PERIOD_S
        while True:
            before = self.states()
            await asyncio.gather(*map(self._look_at, self._servers()))
            self._known.set()
            pause_s = _next_pause_s(pause_s, before, self.states())
            await self._rest(pause_s * (1 + _SPREAD * self._random.uniform(-1, 1)))

    async def _look_at(self, server: TurnServer) -> None:
        found = await allocate(
            [server],
            ice_seam.StunQueries,
            self._notes,
            wait_s=PATIENCE_S,
            required=True,
            ca_file=self._ca_file,
            wall_s=self._wall_s,
        )
        if isinstance(found, Relay):
            self._known.set()
            await ice_seam.let_relay_go(found.protocol)

    async def _rest(self, pause_s: float) -> None:
        at_least_s = min(pause_s, SOON_S)
        await asyncio.sleep(at_least_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s - at_least_s):
                await self._doubted.wait()
        self._doubted.clear()


def _next_pause_s(pause_s: float, before: list[TurnState], now: list[TurnState]) -> float:
    if all(state.up for state in now):
        return PERIOD_S
    if now != before:
        return SOON_S
    return min(2 * pause_s, PERIOD_S if any(state.up for state in now) else DOWN_S)


def _way(server: TurnServer) -> str:
    return "tls" if server.tls else server.transport
