"""How the outside reached us: scheme, host, port and address of the caller.

Directly, that is what the connection and the Host header say. Behind a trusted
reverse proxy it is what the proxy says in ``X-Forwarded-*``; from anybody else
those headers are ignored, since whoever sends them could write anything. A worker of
this host that passes a request on says likewise how the caller reached it; it comes over
a unix socket in a folder that is ours alone, which is how it is known.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from voicecore.errors import PeerError
from voicecore.service.setting_types import origin_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s\[\]:/@\\]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class External:
    """The request as the caller made it.

    ``host`` is lower case, without port and brackets; ``""`` when an HTTP/1.0
    client named none. ``client`` is the caller's address as text.
    """

    scheme: str
    host: str
    port: int | None
    client: str

    @property
    def origin(self) -> str:
        """The server's own origin as the caller's browser would write it."""
        return origin_of(self.scheme, self.host, self.port)


EXTERNAL = web.RequestKey("external", External)


def parse_authority(text: str) -> tuple[str, int | None]:
    """``host[:port]`` -> lower-case host without brackets, and port. PeerError 400."""
    match = _AUTHORITY.fullmatch(text.strip())
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and port > 65535):
        raise PeerError("the Host header is not a host and port", code="bad_host")
    return match["host"].strip("[]").lower().rstrip("."), port


class ProxyTrust:
    """Decides whose ``X-Forwarded-*`` headers count."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks: tuple[Network, ...] = tuple(map(ipaddress.ip_network, networks))

    def trusts(self, address: str) -> bool:
        """Whether ``address`` (text) belongs to one of our proxies."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        return any(ip in network for network in self._networks)

    def external(self, request: web.Request) -> External:
        """What the caller's side of ``request`` looked like. PeerError 400."""
        peer = request.transport.get_extra_info("peername") if request.transport else None
        client = str(peer[0]) if isinstance(peer, tuple) else ""
        scheme = "https" if request.secure else "http"
        authority = _single_host(request)
        if from_worker(request):
            client = _last(request, "X-Forwarded-For")
            scheme = _last(request, "X-Forwarded-Proto") or scheme
        elif self._networks and self.trusts(client):
            client = self._first_stranger(request, client)
            told = _last(request, "X-Forwarded-Proto").lower()
            scheme = told if told in ("http", "https") else scheme
            authority = _last(request, "X-Forwarded-Host") or authority
        host, port = parse_authority(authority) if authority else ("", None)
        return External(scheme, host, port, client)

    def _first_stranger(self, request: web.Request, peer: str) -> str:
        """Walk the chain of proxies from our side to the first address not ours.

        What stands further left was written by that stranger and may be forged. Where a
        proxy of ours names no address ("unknown"), it stands for whom it doesn't name.
        """
        hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
        address = peer
        for hop in reversed([part.strip() for part in hops if part.strip()]):
            named = _address_in(hop)
            address = named or address
            if not self.trusts(named):
                break
        return address


def from_worker(request: web.Request) -> bool:
    """Whether another worker of this host passed the request on, having checked it."""
    sock = request.transport.get_extra_info("socket") if request.transport else None
    return sock is not None and sock.family == socket.AF_UNIX


def as_told_to_a_worker(external: External) -> dict[str, str]:
    """Headers by which another worker knows ``external``; the Host header among them."""
    host = f"[{external.host}]" if ":" in external.host else external.host
    authority = host if external.port is None else f"{host}:{external.port}"
    return {
        "Host": authority,
        "X-Forwarded-For": external.client,
        "X-Forwarded-Proto": external.scheme,
    }


def _address_in(hop: str) -> str:
    """The address in a hop of ``X-Forwarded-For``, without the port that some add; or ``""``."""
    for text in (hop, hop.strip("[]"), hop.rpartition(":")[0].strip("[]")):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            continue
    return ""


def _single_host(request: web.Request) -> str:
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
        raise PeerError("exactly one Host header is wanted", code="bad_host")
    return hosts[0] if hosts else ""


def _last(request: web.Request, name: str) -> str:
    """The rightmost value: the one that our own proxy wrote."""
    values = request.headers.getall(name, [])
    return values[-1].rpartition(",")[2].strip() if values else ""
