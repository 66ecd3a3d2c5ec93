"""How many connections there may be at once, so that strangers can't use the descriptors up.

Calls need some for their engines. Half of what the process may open is for HTTP, 10,000 at
most, and of that one address (IPv6: a /64) gets 256. Beyond, a connection is closed as it
comes: there is nothing to answer before it has said anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

from voicecore.service.access.rates import network_of
from voicecore.service.forwarded import ProxyTrust

MOST, MOST_OF_ONE_ADDRESS = 10_000, 256
UNREAD_S = 30.0
"""Who takes nothing of a reply for so long is let go."""
_TELL_PERIOD_S = 60.0

_log = logging.getLogger(__name__)


def most_connections() -> int:
    """By the process's limit of descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else max(64, min(MOST, soft // 2))


class ConnectionLimit:
    """Counts the connections of servers, and closes those that are too many.

    Loopback and ``trust``ed proxies have no limit but the one for all: behind a proxy
    stand many. Connections over unix sockets are other workers' and don't count. ``soon``
    calls something a moment later (None: the running loop does).
    """

    def __init__(
        self,
        trust: ProxyTrust,
        most: int = 0,
        most_of_one: int = MOST_OF_ONE_ADDRESS,
        now_s: Callable[[], float] = time.monotonic,
        soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self._trust = trust
        self._most = most or most_connections()
        self._most_of_one = most_of_one
        self._now_s = now_s
        self._soon = soon
        self._open: dict[object, str] = {}
        self._of_one: Counter[str] = Counter()
        self._refused = 0
        self._told_s = -_TELL_PERIOD_S

    def watch(self, server: web.Server) -> None:
        """From now on look at what comes to ``server``, which tells of it by two methods."""
        came, went = server.connection_made, server.connection_lost

        def connection_made(handler: Any, transport: asyncio.Transport) -> None:
            if self.take(handler, transport.get_extra_info("peername")):
                _bound_reading(transport)
                came(handler, transport)
            else:
                # Not at once: the handler is about to begin, and must find that it may.
                soon = self._soon or asyncio.get_running_loop().call_soon
                soon(transport.abort)

        def connection_lost(handler: Any, exc: BaseException | None = None) -> None:
            self.release(handler)
            went(handler, exc)

        server.connection_made = connection_made  # type: ignore[method-assign]
        server.connection_lost = connection_lost  # type: ignore[method-assign]

    def take(self, handler: object, peer: object) -> bool:
        """Whether the connection may stay; ``handler`` stands for it until it is released.

        ``peer`` as sockets name it. One that was taken already stays.
        """
        if handler in self._open:
            return True
        if not isinstance(peer, tuple):
            return True
        address = "" if self._trust.trusts(str(peer[0])) else network_of(str(peer[0]))
        crowded = address and self._of_one[address] >= self._most_of_one
        if crowded or len(self._open) >= self._most:
            self._tell(f"from one address ({self._most_of_one})" if crowded else "at once")
            return False
        self._open[handler] = address
        self._of_one[address] += 1
        return True

    def release(self, handler: object) -> None:
        """It is gone. Of one that isn't counted it is fine."""
        address = self._open.pop(handler, None)
        if address is not None:
            self._of_one[address] -= 1
            if not self._of_one[address]:
                del self._of_one[address]

    def _tell(self, which: str) -> None:
        self._refused += 1
        if self._now_s() - self._told_s >= _TELL_PERIOD_S:
            self._told_s = self._now_s()
            _log.warning("too many connections %s: %d closed so far", which, self._refused)


def _bound_reading(transport: asyncio.Transport) -> None:
    """The kernel's bound (tcp(7)): nothing else ends a reply that nobody reads."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNREAD_S))
