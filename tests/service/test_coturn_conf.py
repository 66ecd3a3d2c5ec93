"""What is shipped for coturn, and docs/ice.md, fit our settings; tests/e2e/test_turn.py runs it."""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from pathlib import Path

import pytest

from voicecore.service.ice_fields import IceFields
from voicecore.transport import ice_servers
from voicecore.transport.server_notes import ServerFault

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ice.md").read_text()


def configuration() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for line in (ROOT / "service" / "coturn" / "turnserver.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def is_denied(host: str) -> bool:
    address = ipaddress.ip_address(host)
    for text in configuration()["denied-peer-ip"]:
        low, _, high = text.partition("-")
        first, last = ipaddress.ip_address(low), ipaddress.ip_address(high or low)
        if address.version == first.version and int(first) <= int(address) <= int(last):
            return True
    return False


def test_there_is_a_secret_only_once_somebody_has_chosen_one() -> None:
    found = configuration()
    assert "use-auth-secret" in found
    assert "static-auth-secret" not in found


@pytest.mark.parametrize(
    "path", ["service/voicecore.toml", "service/coturn/README.md", "docs/ice.md"]
)
def test_the_urls_that_are_recommended_are_those_it_listens_at(path: str) -> None:
    urls = re.findall(r'"(turns?:[^"]+)"', (ROOT / path).read_text())
    servers = [{"urls": urls, "username": "u", "credential": "p"}]
    _, turn = ice_servers.read(IceFields(ice_servers=servers).ice_servers)
    found = configuration()
    port, tls_port = (int(found[name][0]) for name in ("listening-port", "tls-listening-port"))
    assert [(server.transport, server.tls, server.port) for server in turn] == [
        ("udp", False, port), ("tcp", False, port), ("tcp", True, tls_port),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0", "10.255.255.255", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.31.0.1",
        "192.168.0.1", "198.19.0.1", "255.255.255.255", "::1", "fd00::1", "fe80::1",
        "::ffff:10.0.0.1", "64:ff9b::a00:1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_closed(host: str) -> None:
    assert is_denied(host)


@pytest.mark.parametrize("host", ["9.255.255.255", "11.0.0.0", "172.32.0.1", "2001:4860::1"])
def test_what_is_public_is_open(host: str) -> None:
    assert not is_denied(host)


def test_no_range_begins_where_coturn_takes_it_for_everything() -> None:
    assert not any(text.startswith("::-") for text in configuration()["denied-peer-ip"])


def test_each_relay_has_a_port_and_each_user_enough_of_them() -> None:
    found = {
        name: int(values[0]) for name, values in configuration().items() if values[0].isdigit()
    }
    assert found["max-port"] - found["min-port"] >= found["total-quota"]
    assert found["user-quota"] >= 3 * 3 * 2, "three URLs, three networks, a restart"


def test_the_page_tells_every_reason_for_which_a_call_is_refused() -> None:
    _, _, page = PAGE.partition("voicecore_ice_no_relay_total")
    told = re.findall(r"^\| `turn_(\w+)`, `(\w+)` \|", page, re.MULTILINE)
    assert sorted(told) == sorted((fault.value, fault.value) for fault in ServerFault)


def test_the_page_tells_every_setting() -> None:
    for name in IceFields.model_fields:
        assert f"`{name}`" in PAGE
