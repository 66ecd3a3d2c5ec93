"""Rates that instances share by a real Redis, which may go away."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from voicecore.errors import PeerError
from voicecore.service.access.rates import Rates
from voicecore.service.access.shared_rates import SharedRates
from voicecore.service.config_load import ConfigError

REDIS = shutil.which("redis-server")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REDIS is None, reason="needs redis-server (apt install redis-server)"),
]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Redis of this test's own on a socket in its folder."""
    path = tmp_path / "redis.sock"
    assert REDIS
    process = subprocess.Popen(
        [REDIS, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if b"eady to accept connections" in line:
                break
        yield f"unix://{path}", process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def taken(rates: Rates, client: str, times: int) -> int:
    count = 0
    for _ in range(times):
        try:
            await rates.check_address(client)
        except PeerError as error:
            assert 0 < error.retry_after_s <= 3600  # noqa: PT017
        else:
            count += 1
    return count


async def test_instances_share_their_counts(redis: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, process = redis
    shared = [SharedRates(url, "test") for _ in range(2)]
    one, other = (Rates("", "5/hour", each.storage) for each in shared)
    assert await taken(one, "192.0.2.1", 3) == 3
    assert await taken(other, "192.0.2.1", 5) == 2
    assert await taken(one, "192.0.2.1", 2) == 0
    assert await taken(other, "2001:db8::1", 9) == 5
    process.kill()
    process.wait()
    assert await taken(one, "192.0.2.1", 9) == 5, "Redis is away: each for itself"
    for each in shared:
        await each.close()


def test_urls_that_are_none() -> None:
    with pytest.raises(ConfigError, match="redis_url wants"):
        SharedRates("http://user:secret@nowhere", "test")
