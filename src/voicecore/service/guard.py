"""Who may talk to the server: Host against DNS rebinding, Origin against other sites.

Binding to loopback does not keep web pages out: a page at ``evil.example``
whose name is made to resolve to 127.0.0.1 reaches us from the user's own
browser. It can't choose the Host header, though, and browsers don't let it
forge Origin. So both are checked, on every address we listen on.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from voicecore.errors import PeerError
from voicecore.service.addresses import is_loopback
from voicecore.service.forwarded import EXTERNAL, External, ProxyTrust
from voicecore.service.setting_types import check_origin

ORIGIN = web.RequestKey("origin", str)
"""The Origin header in canonical form, ``""`` without one; set once it was accepted."""

_CORS_METHODS = "GET, POST, PATCH, DELETE"
_CORS_HEADERS = "Authorization, Content-Type, X-API-Key"
_CORS_READABLE = "Retry-After, WWW-Authenticate, X-Voicecore-Session"
_PREFLIGHT_AGE_S = "600"


class Guard:
    """The rules for Host and Origin.

    Hosts that pass: IP addresses (a name is what rebinding needs), localhost
    and ``*.localhost``, this machine's name (also with ``.local``), and
    ``allowed_hosts``. Origins that pass: our own and ``allowed_origins``.
    """

    def __init__(self, allowed_hosts: Sequence[str], allowed_origins: Sequence[str]) -> None:
        machine = socket.gethostname().lower().rstrip(".")
        self._hosts = {"localhost", machine, f"{machine}.local"} | set(allowed_hosts)
        wildcards = (host[1:] for host in allowed_hosts if host.startswith("*."))
        self._suffixes = (".localhost", *wildcards)
        self._any_host = "*" in allowed_hosts
        self._origins = frozenset(allowed_origins)

    def check_host(self, host: str) -> None:
        """Raise ``host_not_allowed`` 403 unless ``host`` (lower case, no port) passes."""
        if self._any_host or host in self._hosts or host.endswith(self._suffixes):
            return
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            raise PeerError(
                "this server does not answer to that host name; if it should, add the name to"
                " allowed_hosts (--allowed-hosts, VOICECORE_ALLOWED_HOSTS)",
                code="host_not_allowed",
                status=403,
            ) from None

    def check_origin(self, origin: str, external: External) -> str:
        """The canonical form of ``origin``; ``origin_not_allowed`` 403 if it may not call."""
        try:
            canonical = check_origin(origin)
        except ValueError:
            canonical = ""
        if canonical and (canonical == external.origin or canonical in self._origins):
            return canonical
        raise PeerError(
            "pages of that origin may not call; add it to allowed_origins (--allowed-origins,"
            " VOICECORE_ALLOWED_ORIGINS), or, when a proxy in front of us ends TLS or changes"
            " the host, list the proxy in trusted_proxies",
            code="origin_not_allowed",
            status=403,
        )

    def middleware(self, trust: ProxyTrust) -> Middleware:
        """The check as a middleware; answers CORS preflights itself."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            external = trust.external(request)
            request[EXTERNAL] = external
            if external.host:
                self.check_host(external.host)
            origin = request.headers.get("Origin")
            request[ORIGIN] = "" if origin is None else self.check_origin(origin, external)
            if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
                return web.Response(status=204, headers=_preflight_headers())
            return await handler(request)

        return guard


def _preflight_headers() -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": _CORS_METHODS,
        "Access-Control-Allow-Headers": _CORS_HEADERS,
        "Access-Control-Max-Age": _PREFLIGHT_AGE_S,
    }


def origin_is_ours(request: web.Request) -> bool:
    """Whether the request names an Origin, and one that may call."""
    return bool(request.get(ORIGIN))


_COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # What is no page of ours is shown in nobody's frame and runs nothing.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_ONLY_BY_TLS = "max-age=31536000"
"""RFC 6797. Not for subdomains: they may be somebody else's."""


class CommonHeaders:
    """Signal handler: headers that every reply carries, errors included.

    CORS goes without credentials: pages of other origins use the token. ``own_tls``: the
    owner's certificate is ours to show, so browsers may be told to insist on it (behind a
    proxy that is the proxy's to say, and a self-made certificate is none to insist on).
    """

    def __init__(self, own_tls: bool) -> None:
        self._own_tls = own_tls

    async def __call__(self, request: web.Request, response: web.StreamResponse) -> None:
        """Add what is not there yet, and don't tell which releases we run on."""
        response.headers["Server"] = "voicecore"
        for name, value in _COMMON_HEADERS.items():
            response.headers.setdefault(name, value)
        origin, external = request.get(ORIGIN), request.get(EXTERNAL)
        if external is None:
            return
        # On localhost it would shut out every other program of a developer's.
        if self._own_tls and request.secure and not is_loopback(external.host):
            response.headers["Strict-Transport-Security"] = _ONLY_BY_TLS
        if origin and origin != external.origin:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _CORS_READABLE
            response.headers.add("Vary", "Origin")
