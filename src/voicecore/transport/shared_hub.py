"""One media hub for all connections of an event loop that nobody else owns."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from voicecore._native.inbound import Inbound
from voicecore._native.plane import MediaThreads
from voicecore.transport.hub import MediaHub

_LOOK_S = 0.05
_STALL_S = 0.02
"""So late comes what should run now only if something held the loop up."""


class StallWatch:
    """Adds up how long an event loop stood still. Close it, once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sum_s = 0.0
        self._due_s = loop.time() + _LOOK_S
        self._timer = loop.call_at(self._due_s, self._look)

    def stalled_s(self) -> float:
        """Seconds until now."""
        late_s = self._loop.time() - self._due_s
        return self._sum_s + (late_s if late_s > _STALL_S else 0.0)

    def close(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        self._sum_s = self.stalled_s()
        self._due_s = self._loop.time() + _LOOK_S
        self._timer = self._loop.call_at(self._due_s, self._look)


@dataclass
class Shared:
    """What the connections of an event loop have together."""

    hub: MediaHub
    threads: MediaThreads
    stalls: StallWatch
    users: int = 0


_shared: dict[asyncio.AbstractEventLoop, Shared] = {}


def acquire() -> Shared:
    """The running loop's, made for the first who asks; give it back by :func:`release`.

    Raises RuntimeError without a running loop, MissingLibraryError without libsrtp or libopus.
    """
    loop = asyncio.get_running_loop()
    shared = _shared.get(loop)
    if shared is None:
        Inbound(opus_pt=0).close()  # without libopus it must fail here, not in a call
        threads = MediaThreads()
        shared = _shared[loop] = Shared(MediaHub(threads), threads, StallWatch(loop))
    shared.users += 1
    return shared


def release() -> None:
    """Close the hub with its last user. Once for each :func:`acquire`, on the same loop."""
    loop = asyncio.get_running_loop()
    shared = _shared[loop]
    shared.users -= 1
    if shared.users == 0:
        del _shared[loop]
        shared.stalls.close()
        shared.hub.close()
