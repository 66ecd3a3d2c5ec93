"""Public keys that somebody publishes (JWK Set, RFC 7517), fetched when they are needed.

::

    fetched ── 10 min: good ──┬── until 60 min: good, fetched anew behind the scenes ──┬── not used
                              └── a name that nobody knows: fetched anew, at most each 30 s

Tokens with made-up names cost their issuer no more than that. What can't be fetched is tried
again after 5 s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from voicecore.errors import CapacityError

LEAST_RSA_BITS = 2048
FRESH_S, STALE_S = 600.0, 3600.0
FOR_UNKNOWN_S, AFTER_FAILURE_S = 30.0, 5.0
_TIMEOUT_S = 3.0
_LONGEST_BYTES = 256 * 1024
_MOST_KEYS = 64

_log = logging.getLogger(__name__)

_NO_KEYS = (aiohttp.ClientError, OSError, ValueError, RecursionError, jwt.PyJWTError)
"""No answer, or one that is no set of keys. (A time-out is an OSError.)"""

Fetch = Callable[[str], Awaitable[bytes]]


class Jwks:
    """The keys at ``url``. Belongs to an event loop; :meth:`close` ends what it began."""

    def __init__(
        self, url: str, fetch: Fetch | None = None, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._fetch = fetch or _get
        self._now_s = now_s
        self._keys: dict[str | None, RSAPublicKey] = {}
        self._fetched_s: float | None = None
        self._tried_s: float | None = None
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    async def key(self, kid: str | None) -> RSAPublicKey | None:
        """The key of that name; the only one if the token names none. None: there is no such.

        Raises CapacityError ``keys_unavailable`` while none can be had.
        """
        if self._age_s() > STALE_S:
            await self._refresh(AFTER_FAILURE_S)
            if self._age_s() > STALE_S:
                raise CapacityError(
                    "the keys that tokens are checked by can't be fetched now; try again",
                    code="keys_unavailable",
                    retry_after_s=int(AFTER_FAILURE_S),
                )
        elif self._age_s() > FRESH_S:
            self._begin(AFTER_FAILURE_S)
        if self._find(kid) is None:
            await self._refresh(FOR_UNKNOWN_S)
        return self._find(kid)

    async def close(self) -> None:
        """Let go of a fetch that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _age_s(self) -> float:
        return float("inf") if self._fetched_s is None else self._now_s() - self._fetched_s

    def _find(self, kid: str | None) -> RSAPublicKey | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid)

    async def _refresh(self, period_s: float) -> None:
        task = self._begin(period_s)
        if task is not None:
            # Who gives up waiting doesn't take it from the others who wait.
            await asyncio.wait({task})

    def _begin(self, period_s: float) -> asyncio.Task[None] | None:
        """The fetch that is under way, or a new one if the last was ``period_s`` ago."""
        if self._task is not None:
            return self._task
        wait_s = AFTER_FAILURE_S if self._failed else period_s
        if self._tried_s is not None and self._now_s() - self._tried_s < wait_s:
            return None
        self._tried_s = self._now_s()
        self._task = asyncio.get_running_loop().create_task(self._load(), name="jwks")
        self._task.add_done_callback(self._on_done)
        return self._task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._task = None

    async def _load(self) -> None:
        try:
            keys = _usable(await self._fetch(self._url))
        except _NO_KEYS as error:
            # By its kind alone: what it says may quote the address, which may have a password.
            _log.warning("jwks_url could not be used: %s", type(error).__name__)
            self._failed = True
            return
        self._failed = False
        self._keys, self._fetched_s = keys, self._now_s()


def _usable(raw: bytes) -> dict[str | None, RSAPublicKey]:
    """Keys for RS256 by name; others in the set are none of our business. ValueError: none."""
    document = json.loads(raw)
    listed = document.get("keys") if isinstance(document, dict) else None
    keys: dict[str | None, RSAPublicKey] = {}
    for entry in (listed if isinstance(listed, list) else [])[:_MOST_KEYS]:
        if isinstance(entry, dict) and _is_for_us(entry):
            try:
                key = jwt.PyJWK(entry, algorithm="RS256").key
            except (jwt.PyJWTError, ValueError, TypeError, KeyError):
                continue
            if isinstance(key, RSAPublicKey) and key.key_size >= LEAST_RSA_BITS:
                name = entry.get("kid")
                keys[name if isinstance(name, str) else None] = key
    if not keys:
        raise ValueError("no RSA key that is fit for use")
    return keys


def _is_for_us(entry: dict[str, Any]) -> bool:
    return (
        entry.get("kty") == "RSA"
        and entry.get("alg", "RS256") == "RS256"
        and entry.get("use", "sig") == "sig"
    )


async def _get(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    # A redirect would lead to keys of somebody whom nobody has named.
    async with (
        aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http,
        http.get(url, allow_redirects=False, raise_for_status=True) as reply,
    ):
        body = bytearray()
        async for chunk in reply.content.iter_chunked(65_536):
            body += chunk
            if len(body) > _LONGEST_BYTES:
                raise ValueError("too long")
        return bytes(body)
