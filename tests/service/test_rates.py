"""Rates by address and by key: windows that move, bounded memory, and Redis when it is there."""

from __future__ import annotations

import pytest
from limits import parse
from limits.aio.storage.base import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from voicecore.errors import PeerError
from voicecore.service.access.principal import ANONYMOUS, Principal
from voicecore.service.access.rates import Rates, network_of
from voicecore.service.access.windows import MemoryWindows


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rates(clock: Clock, key: str = "", address: str = "", shared: Storage | None = None) -> Rates:
    return Rates(key, address, shared, wall_s=clock, now_s=clock)


async def refused(rates: Rates, client: str) -> int:
    """Seconds to wait; 0: taken."""
    try:
        await rates.check_address(client)
    except PeerError as error:
        assert (error.code, error.status) == ("rate_limited", 429)  # noqa: PT017
        return error.retry_after_s
    return 0


async def test_a_window_moves_and_says_when_to_come_back(clock: Clock) -> None:
    some = rates(clock, address="3/minute")
    for _ in range(3):
        assert await refused(some, "192.0.2.1") == 0
        clock.now_s += 10
    assert await refused(some, "192.0.2.1") == 30
    assert await refused(some, "192.0.2.2") == 0
    clock.now_s += 29.5
    assert await refused(some, "192.0.2.1") == 1, "refused ones don't count"
    clock.now_s += 0.6
    assert await refused(some, "192.0.2.1") == 0
    assert await refused(some, "192.0.2.1") == 10


async def test_an_address_is_a_network_in_ipv6_and_loopback_has_no_limit(clock: Clock) -> None:
    assert network_of("192.0.2.1") == network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("2001:db8:0:1::1") == network_of("2001:db8:0:1:ffff::9") != ""
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8:0:2::1")
    assert network_of("fe80::1%eth0") == "fe80::/64"
    some = rates(clock, address="1/hour")
    for client in ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "", "no address"):
        assert await refused(some, client) == 0
        assert await refused(some, client) == 0
    assert await refused(some, "2001:db8::1") == 0
    assert await refused(some, "2001:db8::2") == 3600


async def test_keys_have_a_rate_of_their_own(clock: Clock) -> None:
    some = rates(clock, key="2/second", address="1/hour")
    for name in ("key:web", "jwt:ann"):
        for _ in range(2):
            await some.check_principal(Principal(name))
        with pytest.raises(PeerError, match="from this key: 2 per 1 second"):
            await some.check_principal(Principal(name))
    for _ in range(9):
        await some.check_principal(ANONYMOUS)
    for _ in range(9):
        await rates(clock).check_principal(Principal("key:web"))
        await rates(clock).check_address("192.0.2.1")


async def test_memory_is_bounded_and_the_oldest_are_forgotten(clock: Clock) -> None:
    windows = MemoryWindows(3, clock)
    limiter, rate = MovingWindowRateLimiter(windows), parse("1/hour")
    assert await limiter.hit(rate, "first")
    for number in range(1000):
        assert await limiter.hit(rate, f"{number}")
        assert len(windows) <= 3
    assert not await limiter.hit(rate, "999")
    assert await limiter.hit(rate, "first"), "forgotten, so it begins anew"
    clock.now_s += 3600
    assert await limiter.hit(rate, "999")
    assert await windows.get(rate.key_for("999")) == 1, "old hits are gone"
    assert await windows.reset() == 3
    assert len(windows) == 0


class Away(MemoryWindows):
    """Redis in two states; counts what it is asked."""

    away = False
    asked = 0

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        self.asked += 1
        if self.away:
            raise StorageError(ConnectionError("password@host"))
        return await super().acquire_entry(key, limit, expiry, amount)


async def test_without_redis_each_counts_for_itself(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    shared = Away(now_s=clock)
    one, other = (rates(clock, address="2/hour", shared=shared) for _ in range(2))
    assert await refused(one, "192.0.2.1") == 0
    assert await refused(other, "192.0.2.1") == 0
    assert await refused(one, "192.0.2.1") == 3600
    shared.away, shared.asked = True, 0
    for _ in range(2):
        assert await refused(one, "192.0.2.1") == 0
    assert await refused(one, "192.0.2.1") == 3600
    assert shared.asked == 1, "left alone for a while"
    assert "rates are counted here alone: ConnectionError" in caplog.text
    assert "password" not in caplog.text
    clock.now_s += 5
    shared.away = False
    assert await refused(one, "192.0.2.1") == 3595
