"""TURN credentials, against the convention's own arithmetic."""

from __future__ import annotations

import base64
import hmac

import pytest

from voicecore.service.config import Settings
from voicecore.service.ice import ice_servers, transport_policy, turn_credentials


def test_known_credentials() -> None:
    # printf 1700000000:alice | openssl dgst -sha1 -hmac north -binary | base64
    assert turn_credentials("north", "alice", 1_700_000_000) == (
        "1700000000:alice",
        "Cd/49soE35ICqcJF/bCTn8Z4OyE=",
    )


def test_password_is_the_hmac_of_the_user_name() -> None:
    username, password = turn_credentials("geheim-ü", "session", 5)
    digest = hmac.digest("geheim-ü".encode(), username.encode(), "sha1")
    assert base64.b64decode(password) == digest


def test_fixed_servers_come_first_and_bare_ones_without_credentials() -> None:
    settings = Settings(
        ice_servers=[
            {"urls": "stun:a.example"},
            {"urls": ["turn:b.example"], "username": "u", "credential": "p"},
        ],
        turn_urls="turn:c.example:3478,turns:c.example:5349?transport=tcp",
        turn_secret="s",
        turn_ttl_s=600,
    )
    first, second, third = ice_servers(settings, "id", 1000.9)
    assert first == {"urls": ["stun:a.example"]}
    assert second == {"urls": ["turn:b.example"], "username": "u", "credential": "p"}
    assert third["username"] == "1600:id"
    assert third["urls"] == ["turn:c.example:3478", "turns:c.example:5349?transport=tcp"]


@pytest.mark.parametrize(
    ("ours", "callers"), [("all", "all"), ("relay", "relay"), ("relay_both", "relay")]
)
def test_browsers_know_two_policies(ours: str, callers: str) -> None:
    settings = Settings(ice_transport_policy=ours, turn_urls="turn:a", turn_secret="s")
    assert transport_policy(settings) == callers


def test_no_server_unless_configured() -> None:
    assert ice_servers(Settings(), "id", 0) == []
