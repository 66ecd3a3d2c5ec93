"""One media hub for all connections of an event loop that nobody else owns."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from voicecore._native.inbound import Inbound
from voicecore._native.plane import MediaThreads
from voicecore.transport.hub import MediaHub


@dataclass
class _Shared:
    hub: MediaHub
    threads: MediaThreads
    users: int = 0


_shared: dict[asyncio.AbstractEventLoop, _Shared] = {}


def acquire() -> tuple[MediaHub, MediaThreads]:
    """The running loop's hub, made for the first who asks; give it back by :func:`release`.

    Raises RuntimeError without a running loop, MissingLibraryError without libsrtp or libopus.
    """
    loop = asyncio.get_running_loop()
    shared = _shared.get(loop)
    if shared is None:
        Inbound(opus_pt=0).close()  # without libopus it must fail here, not in a call
        threads = MediaThreads()
        shared = _shared[loop] = _Shared(MediaHub(threads), threads)
    shared.users += 1
    return shared.hub, shared.threads


def release() -> None:
    """Close the hub with its last user. Once for each :func:`acquire`, on the same loop."""
    loop = asyncio.get_running_loop()
    shared = _shared[loop]
    shared.users -= 1
    if shared.users == 0:
        del _shared[loop]
        shared.hub.close()
