"""Rates that instances share by a real Redis, which may go away."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from caller.server import free_port
from ops.redis_process import redis_process
from voicecore.errors import PeerError
from voicecore.service.access.rates import Rates
from voicecore.service.access.shared_rates import SharedRates
from voicecore.service.config_load import ConfigError
from voicecore.service.redis_directory.redis_book import client_of

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


async def test_the_user_of_the_docs_may_count(
    redis: tuple[str, subprocess.Popen[bytes]],
) -> None:
    url, _ = redis
    text = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    rules = re.search(r"`(~\{voicecore\}[^`]+)`", text)
    assert rules
    operator = client_of(url, 5)
    await operator.execute_command("ACL", "SETUSER", "ours", "on", ">word", *rules[1].split())
    shared = [SharedRates(url.replace("://", "://ours:word@"), "voicecore") for _ in range(2)]
    one, other = (Rates("", "5/hour", each.storage) for each in shared)
    assert await taken(one, "192.0.2.1", 9) == 5
    assert await taken(other, "192.0.2.1", 1) == 0, "each counted for itself"
    for each in shared:
        await each.close()
    await operator.aclose()


async def test_a_redis_cluster_serves(tmp_path: Path) -> None:
    bus = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with redis_process(tmp_path, *bus) as server:
        slots = ["redis-cli", "-p", str(server.port), "CLUSTER", "ADDSLOTSRANGE", "0", "16383"]
        subprocess.run(slots, check=True, capture_output=True)  # noqa: ASYNC221
        operator = client_of(server.url, 5)
        async with asyncio.timeout(20):
            while True:
                if b"cluster_state:ok" in await operator.execute_command("CLUSTER", "INFO"):
                    break
                await asyncio.sleep(0.05)
        await operator.aclose()
        url = server.url.replace("redis://", "redis+cluster://")
        shared = [SharedRates(url, "test") for _ in range(2)]
        one, other = (Rates("", "5/hour", each.storage) for each in shared)
        assert await taken(one, "192.0.2.1", 9) == 5
        assert await taken(other, "192.0.2.1", 1) == 0
        for each in shared:
            await each.close()


async def test_a_redis_cluster_that_is_away_is_no_error() -> None:
    shared = SharedRates(f"redis+cluster://127.0.0.1:{free_port()}/", "test")
    assert await taken(Rates("", "5/hour", shared.storage), "192.0.2.1", 9) == 5
    await shared.close()


def test_urls_that_are_none() -> None:
    with pytest.raises(ConfigError, match="redis_url wants"):
        SharedRates("http://user:secret@nowhere", "test")
