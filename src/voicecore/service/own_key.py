"""Keys by which a process calls itself: made here, told to nobody else, good once and not for long.

``/readyz?deep=1`` places a call to its own process by the way that every caller takes, and
that way may ask for a key. No configured key is lent for it: those belong to people.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

PREFIX = "self_"
LIFE_S = 30.0
"""From a check's beginning to the request that opens its call; starting Python lies between."""
_MOST = 8


class OwnKeys:
    """The keys that wait to be shown. Belongs to the event loop; ``now_s`` is monotonic.

    At most 8 wait; beyond that the oldest lapses.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._expiries: dict[bytes, float] = {}

    def issue(self) -> str:
        """A new key, URL-safe text."""
        key = PREFIX + secrets.token_urlsafe(24)
        while len(self._expiries) >= _MOST:
            del self._expiries[next(iter(self._expiries))]
        self._expiries[_digest(key)] = self._now_s() + LIFE_S
        return key

    def take(self, key: str) -> bool:
        """Whether ``key`` is one of ours; it is none any more."""
        # Found by a digest: how long looking takes tells nothing of a key.
        expiry_s = self._expiries.pop(_digest(key), None)
        return expiry_s is not None and self._now_s() <= expiry_s


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
