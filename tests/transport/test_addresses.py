"""Which of a machine's addresses are offered, and which servers are asked."""

from __future__ import annotations

from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from voicecore.transport.addresses import local_addresses, order
from voicecore.transport.ice_servers import StunServer, TurnServer, read


@pytest.mark.parametrize(
    ("found", "offered"),
    [
        (["fd00::2", "192.0.2.2", "127.0.0.1", "::1"], ["192.0.2.2", "fd00::2"]),
        (["fe80::1", "10.0.0.9", "10.0.0.10"], ["10.0.0.9", "10.0.0.10"]),
        (["169.254.1.1", "2001:db8::1"], ["2001:db8::1", "169.254.1.1"]),
        (["127.0.0.1", "127.0.0.2", "::1", "fe80::1"], ["127.0.0.1"]),
        (["0.0.0.0", "::", "224.0.0.1"], ["127.0.0.1"]),
        ([], ["127.0.0.1"]),
    ],
)
def test_the_order_of_addresses(found: list[str], offered: list[str]) -> None:
    assert order({ip_address(text) for text in found}) == offered


def test_no_more_than_eight() -> None:
    assert len(order({ip_address(f"10.0.0.{i}") for i in range(1, 50)})) == 8


def test_this_machine_has_an_address() -> None:
    assert local_addresses()


def server(*urls: str, username: str = "", credential: str = "") -> Any:
    return SimpleNamespace(urls=list(urls), username=username, credential=credential)


def test_servers_keep_their_order_and_their_own_credentials() -> None:
    stun, turn = read(
        [
            server("stun:a.example", "turn:never.example"),
            server("turn:t.example?transport=tcp", "turns:t.example", username="u", credential="p"),
            SimpleNamespace(urls="STUN:[2001:db8::1]:99", username=None, credential=None),
            server("turn:v.example:3479", username="u2", credential="p2"),
        ]
    )
    assert stun == [StunServer("a.example", 3478), StunServer("2001:db8::1", 99)]
    assert turn == [
        TurnServer("t.example", 3478, "tcp", False, "u", "p"),
        TurnServer("t.example", 5349, "tcp", True, "u", "p"),
        TurnServer("v.example", 3479, "udp", False, "u2", "p2"),
    ]
    assert "p2" not in repr(turn)


@pytest.mark.parametrize(
    "url",
    ["stuns:a.example", "turns:a.example?transport=udp", "turn:a:0", "turn:a:70000", "http://a",
     "stun:", "", "turn:a b", "stun:a:99999999", "turn:u@a", "stun:[::1"],
)  # fmt: skip
def test_what_cannot_be_used_is_left_out(url: str) -> None:
    assert read([server(url, username="u", credential="p")]) == ([], [])
