"""How often one address, and one key, may ask for a call.

Each attempt counts for its address, a refused one too: keys can't be tried out faster. One
that shows a good key counts for the key as well. Several instances share their counts
by Redis if they have one; while it is away each counts for itself.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections.abc import Callable

from limits import RateLimitItem, parse
from limits.aio.storage.base import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from voicecore.errors import PeerError
from voicecore.service.access.principal import Principal
from voicecore.service.access.windows import MemoryWindows

_LONE_V6_BITS = 64
"""A subscriber has at least so much of an IPv6 address to himself (RFC 6177)."""
_AWAY_S = 5.0
"""Redis that failed is left alone so long: calls shall not wait for it each time."""

_log = logging.getLogger(__name__)


class Rates:
    """The two limits; ``""`` for none. ``shared``: Redis, for all instances together.

    ``wall_s`` gives Unix seconds, ``now_s`` monotonic ones.
    """

    def __init__(
        self,
        per_key: str,
        per_address: str,
        shared: Storage | None = None,
        *,
        wall_s: Callable[[], float] = time.time,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_key = parse(per_key) if per_key else None
        self._per_address = parse(per_address) if per_address else None
        self._shared = MovingWindowRateLimiter(shared) if shared is not None else None
        self._own = MovingWindowRateLimiter(MemoryWindows(now_s=wall_s))
        self._wall_s, self._now_s = wall_s, now_s
        self._away_until_s = -math.inf

    async def check_address(self, client: str) -> None:
        """Count an attempt of ``client``; PeerError ``rate_limited`` 429 if it is one too many.

        Loopback has no limit: who is on this machine already needs no call to harm it.
        """
        whose = network_of(client)
        if self._per_address is not None and whose:
            await self._check(self._per_address, "address", whose)

    async def check_principal(self, principal: Principal) -> None:
        """The same for somebody's key or token."""
        if self._per_key is not None and principal.name:
            await self._check(self._per_key, "key", principal.name)

    async def _check(self, rate: RateLimitItem, kind: str, whose: str) -> None:
        wait_s = await self._wait_s(rate, kind, whose)
        if wait_s > 0:
            raise PeerError(
                f"too many calls from this {kind}: {rate} are taken; try again in {wait_s} s",
                code="rate_limited",
                status=429,
                retry_after_s=wait_s,
            )

    async def _wait_s(self, rate: RateLimitItem, kind: str, whose: str) -> int:
        if self._shared is not None and self._now_s() >= self._away_until_s:
            try:
                return await self._hit(self._shared, rate, kind, whose)
            except StorageError as error:
                self._away_until_s = self._now_s() + _AWAY_S
                _log.warning("rates are counted here alone: %s", type(error.storage_error).__name__)
        return await self._hit(self._own, rate, kind, whose)

    async def _hit(
        self, limiter: MovingWindowRateLimiter, rate: RateLimitItem, kind: str, whose: str
    ) -> int:
        if await limiter.hit(rate, kind, whose):
            return 0
        window = await limiter.get_window_stats(rate, kind, whose)
        return max(1, math.ceil(window.reset_time - self._wall_s()))


def network_of(client: str) -> str:
    """What counts as one address: an IPv4 one, a /64 of IPv6; ``""`` for loopback and none."""
    try:
        ip = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            network = ipaddress.IPv6Network((ip, _LONE_V6_BITS), strict=False)
            return "" if ip.is_loopback else str(network)
        ip = ip.ipv4_mapped
    return "" if ip.is_loopback else str(ip)
