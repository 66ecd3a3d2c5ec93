"""What of the host's settings each worker gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.workers import division
from voicecore.service.workers.division import part_of, worker_count

FOLDER = Path("/run/here")


def settings(**given: Any) -> Settings:
    return Settings(**{"stt": "stub", "llm": "stub", "tts": "stub", "vad": "energy", **given})


def parts(count: int, **given: Any) -> list[Settings]:
    whole = settings(**given)
    return [part_of(whole, worker, count, FOLDER) for worker in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("calls", [7, 50, 200])
def test_the_parts_of_the_calls_are_all_of_them(count: int, calls: int) -> None:
    limits = [part.call_limit for part in parts(count, max_calls=calls)]
    assert sum(limits) == calls
    assert max(limits) - min(limits) <= 1


def test_calls_left_open_are_what_the_host_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicecore.service.engine_fields.cores", lambda: 6)
    whole = settings(stt="pocketsphinx")
    divided = [part_of(whole, worker, 4, FOLDER) for worker in range(4)]
    assert sum(part.call_limit for part in divided) == whole.call_limit
    assert [part.stt_worker_count for part in divided] == [2, 2, 1, 1]


def test_processes_are_the_hosts_and_nobody_is_without() -> None:
    divided = parts(3, stt_workers=2, tts_workers=5)
    assert [part.stt_workers for part in divided] == [1, 1, 1]
    assert [part.tts_workers for part in divided] == [2, 2, 1]
    # Other recognisers choose for themselves where nothing is said.
    assert [part.stt_workers for part in parts(3)] == [0, 0, 0]


def test_each_has_udp_ports_of_its_own() -> None:
    assert [part.udp_port for part in parts(3, udp_port=40_000)] == [40_000, 40_001, 40_002]
    assert [part.udp_port for part in parts(2)] == [0, 0]
    ranges = [
        range(part.udp_port_min, part.udp_port_max + 1)
        for part in parts(3, udp_port_min=40_000, udp_port_max=40_009)
    ]
    assert [len(one) for one in ranges] == [4, 3, 3]
    assert [port for one in ranges for port in one] == list(range(40_000, 40_010))


def test_all_show_one_certificate() -> None:
    for part in parts(2, tls="self"):
        assert (part.tls, part.tls_cert, part.tls_key) == ("", *2 * [FOLDER / "tls.pem"])


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({}, 1),
        ({"workers": 3}, 3),
        ({"workers": 0}, 4),
        ({"workers": 0, "max_calls": 2}, 2),
        ({"workers": 0, "udp_port_min": 40_000, "udp_port_max": 40_002, "max_calls": 3}, 3),
    ],
)
def test_how_many(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], count: int) -> None:
    monkeypatch.setattr(division, "cores", lambda: 4)
    assert worker_count(settings(**given)) == count


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"workers": 4, "max_calls": 3}, "can't share 3 calls"),
        ({"workers": 4, "udp_port_min": 40_000, "udp_port_max": 40_002}, "can't share 3 UDP"),
        ({"workers": 4, "udp_port": 65_533}, "none above 65535"),
    ],
)
def test_more_workers_than_there_is_to_share(given: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        worker_count(settings(**given))
