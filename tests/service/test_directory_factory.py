"""Which directory a process has, and what is said where it can't have it."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.directory import Alone
from voicecore.service.directory_factory import build_directory
from voicecore.service.metrics import Metrics


def settings(**changes: Any) -> Settings:
    chosen = {
        "redis_url": "redis://:hush@127.0.0.1:1/0",
        "instance": "a",
        "advertise_url": "https://a.test/",
    }
    return Settings(**(chosen | changes))


async def test_an_instance_without_redis_is_alone() -> None:
    directory = build_directory(Settings(), Metrics())
    assert isinstance(directory, Alone)
    await directory.start(5)
    await directory.reserve("1")
    assert directory.describe() == {}
    await directory.close()


def test_a_missing_library_is_told_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    monkeypatch.delitem(sys.modules, "voicecore.service.redis_directory.redis_book", raising=False)
    with pytest.raises(ConfigError) as caught:
        build_directory(settings(), Metrics())
    assert "pip install 'voicecore[redis]'" in caught.value.problems[0]


@pytest.mark.parametrize("url", ["http://:hush@redis.test", "redis.test:6379", "redis://h:port"])
async def test_a_wrong_url_is_told_without_it(url: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(ConfigError) as caught:
        build_directory(settings(redis_url=url), Metrics())
    assert caught.value.problems[0].startswith("redis_url is no URL of Redis")
    assert "hush" not in str(caught.value.problems)


@pytest.mark.parametrize("limit", [0, 9])
async def test_a_redis_that_is_away_is_no_error(limit: int) -> None:
    pytest.importorskip("redis")
    metrics = Metrics()
    directory = build_directory(settings(cluster_max_calls=limit), metrics, worker=3)
    await directory.start(5)
    assert directory.describe()["state"] == "away"
    assert b"voicecore_directory_up 0.0" in metrics.render()[0]
    await directory.close()
