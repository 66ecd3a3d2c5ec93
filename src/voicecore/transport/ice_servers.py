"""STUN and TURN servers as URLs (RFC 7064, RFC 7065), in the order they are tried."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_URL = re.compile(
    r"(?P<scheme>stuns?|turns?):(?://)?(?P<host>\[[0-9a-f:.%]+\]|[^\[\]/?:@\s]+)"
    r"(?::(?P<port>\d{1,5}))?(?:\?transport=(?P<transport>udp|tcp))?",
    re.IGNORECASE,
)
_PORT, _TLS_PORT = 3478, 5349


@dataclass(frozen=True, slots=True)
class StunServer:
    """A server that tells us which address our datagrams seem to come from."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its name in logs."""
        return f"stun:{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A relay. ``transport`` (``udp``, ``tcp``) is the way to it; ``tls`` only over TCP."""

    host: str
    port: int
    transport: str
    tls: bool
    username: str = field(repr=False, default="")
    password: str = field(repr=False, default="")

    @property
    def url(self) -> str:
        """Its name in logs: without credentials."""
        scheme = "turns" if self.tls else "turn"
        return f"{scheme}:{_bracketed(self.host)}:{self.port}?transport={self.transport}"


def read(servers: Iterable[Any]) -> tuple[list[StunServer], list[TurnServer]]:
    """The servers of ``RTCIceServer``-like objects, in order; what we can't use is left out.

    Left out are malformed URLs, STUN over TLS, TURN over DTLS, and TURN
    without a user name.
    """
    stun: list[StunServer] = []
    turn: list[TurnServer] = []
    for server in servers:
        urls = [server.urls] if isinstance(server.urls, str) else list(server.urls)
        for url in urls:
            match = _URL.fullmatch(url.strip())
            if match is None:
                continue
            scheme = match["scheme"].lower()
            host = match["host"].strip("[]")
            secure = scheme.endswith("s")
            port = int(match["port"] or (_TLS_PORT if secure else _PORT))
            way = (match["transport"] or ("tcp" if secure else "udp")).lower()
            known = bool(server.username and server.credential)
            if not 0 < port < 65536:
                continue
            if scheme == "stun":
                stun.append(StunServer(host, port))
            elif scheme.startswith("turn") and known and not (secure and way == "udp"):
                turn.append(TurnServer(host, port, way, secure, server.username, server.credential))
    return stun, turn


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
