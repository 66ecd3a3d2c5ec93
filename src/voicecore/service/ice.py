"""What a caller is told of ICE: servers, with TURN credentials that expire, and the policy.

coturn's ``use-auth-secret`` shares one secret with us; user name and password
follow from it and from a time, so nothing has to be stored and a leaked pair
dies by itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from voicecore.service.config import Settings


def turn_credentials(secret: str, user_id: str, expires_s: int) -> tuple[str, str]:
    """User name and password that coturn accepts until ``expires_s`` (Unix seconds).

    The user name is ``<expiry>:<user id>``, the password the base64 of its
    HMAC-SHA1 under the secret (the "TURN REST API" convention).
    """
    username = f"{expires_s}:{user_id}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode("ascii")


def ice_servers(settings: Settings, user_id: str, now_s: float) -> list[dict[str, Any]]:
    """``RTCIceServer`` dictionaries for one caller, in order of preference.

    ``user_id`` marks coturn's log lines (the session id; never the token);
    ``now_s`` is the wall clock in Unix seconds.
    """
    servers: list[dict[str, Any]] = []
    for server in settings.ice_servers:
        entry: dict[str, Any] = {"urls": list(server.urls)}
        if server.username:
            entry["username"] = server.username
            entry["credential"] = server.credential.get_secret_value()
        servers.append(entry)
    if settings.turn_urls:
        username, credential = turn_credentials(
            settings.turn_secret.get_secret_value(), user_id, int(now_s) + settings.turn_ttl_s
        )
        servers.append(
            {"urls": list(settings.turn_urls), "username": username, "credential": credential}
        )
    return servers


def transport_policy(settings: Settings) -> str:
    """What the caller's ``iceTransportPolicy`` is to be: ``all`` or ``relay``."""
    return "all" if settings.ice_transport_policy == "all" else "relay"
