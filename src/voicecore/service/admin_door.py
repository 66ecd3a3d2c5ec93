"""Who may use the admin listener: whoever shows its token, and no page of another site.

The token comes as ``Authorization: Bearer``, or as the password of HTTP Basic, so that a
browser can ask for it. A browser then sends it with every request, also with those that
another site's page makes it send (CSRF). So who changes something by Basic has to come from
our own page, which browsers tell by ``Origin`` and ``Sec-Fetch-Site``; programs use Bearer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from voicecore.errors import PeerError
from voicecore.service.guard import origin_is_ours
from voicecore.service.problems import problem

WRONG_TOKEN_S = 1.0
"""A wrong token is answered no sooner. The right one never waits."""

WRONG_AT_ONCE = 16
"""So many wrong ones wait; further ones aren't looked at. Both together bound how fast
tokens can be tried: 16 a second, over all addresses."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGES = ('Basic realm="voicecore", charset="UTF-8"', 'Bearer realm="voicecore"')


class AdminDoor:
    """Compares tokens in constant time. One event loop's."""

    def __init__(self, token: str, open_paths: Collection[str]) -> None:
        """``open_paths`` need no token."""
        self._token = token.encode()
        self._open_paths = frozenset(open_paths)
        self._wrong = 0

    def middleware(self) -> Middleware:
        """The check as a middleware. Goes innermost, behind the guard of Host and Origin."""

        @web.middleware
        async def door(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path not in self._open_paths:
                scheme, shown = _credentials(request)
                if not scheme:
                    return _asks("token_missing", "this needs the admin token (admin_token)")
                if not await self._is_right(shown):
                    return _asks("wrong_token", "that is not the admin token (admin_token)")
                if scheme == "basic" and request.method not in _SAFE_METHODS:
                    _check_own_page(request)
            return await handler(request)

        return door

    async def _is_right(self, shown: bytes) -> bool:
        if self._token and hmac.compare_digest(self._token, shown):
            return True
        if self._wrong >= WRONG_AT_ONCE:
            raise PeerError(
                "too many wrong tokens just now; try again soon",
                code="rate_limited",
                status=429,
                retry_after_s=1,
            )
        self._wrong += 1
        try:
            await asyncio.sleep(WRONG_TOKEN_S)
        finally:
            self._wrong -= 1
        return False


def _credentials(request: web.Request) -> tuple[str, bytes]:
    """``("bearer" or "basic", what stands for the token)``; ``("", b"")``: nothing is shown."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    scheme, value = scheme.lower(), value.strip()
    shown = value.encode("utf-8", "surrogateescape")
    if scheme == "bearer" and value:
        return scheme, shown
    if scheme == "basic" and value:
        try:
            decoded = base64.b64decode(shown, validate=True)
        except binascii.Error:
            return scheme, b""
        return scheme, decoded.partition(b":")[2]
    return "", b""


def _check_own_page(request: web.Request) -> None:
    # A page of another origin was refused by the guard: here Origin is ours, or there is none.
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if not origin_is_ours(request) or site != "same-origin":
        raise PeerError(
            "with HTTP Basic only the admin page itself may change something; programs show"
            " the token as Authorization: Bearer",
            code="cross_site",
            status=403,
        )


def _asks(code: str, message: str) -> web.Response:
    response = problem(401, code, message)
    for challenge in _CHALLENGES:
        response.headers.add("WWW-Authenticate", challenge)
    return response
