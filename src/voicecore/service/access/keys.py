"""API keys: agreed on beforehand, one for each program or site that may open calls.

No message of this module holds any part of an entry: where ``NAME=`` was forgotten, the
name is the key. Entries are told by their place in the list.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

SHORTEST_KEY = 16
MOST_KEYS = 1000
"""Each request is compared with all of them: 0.1 ms. For more callers there are tokens."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KEY = re.compile(r"[\x21-\x7e]+")


def parse_keys(text: str) -> tuple[tuple[str, str], ...]:
    """``NAME=KEY`` pairs, with commas or a line each; ValueError tells which entry is wrong."""
    entries = [entry.strip() for entry in re.split(r"[,\n]", text)]
    pairs: list[tuple[str, str]] = []
    for number, entry in enumerate(filter(None, entries), start=1):
        pairs.append(_pair(entry, number))
    if len(pairs) > MOST_KEYS:
        raise ValueError(f"has {len(pairs)} keys, {MOST_KEYS} are taken: use tokens (jwt_secret)")
    _check_twice("name", [name for name, _ in pairs])
    _check_twice("key", [key for _, key in pairs])
    return tuple(pairs)


def _pair(entry: str, number: int) -> tuple[str, str]:
    name, found, key = entry.partition("=")
    if not found:
        raise ValueError(f"entry {number} is not NAME=KEY, for example web=$(openssl rand -hex 24)")
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            f"entry {number}: a name has up to 64 letters, digits, dots, dashes, underscores"
        )
    if _KEY.fullmatch(key) is None and key:
        raise ValueError(f"entry {number}: a key has no blanks and nothing beyond ASCII")
    if len(key) < SHORTEST_KEY:
        raise ValueError(
            f"entry {number}: a key has {SHORTEST_KEY} characters at least, drawn by chance"
            " (openssl rand -hex 24)"
        )
    return name, key


def _check_twice(what: str, values: list[str]) -> None:
    seen: dict[str, int] = {}
    for number, value in enumerate(values, start=1):
        if value in seen:
            raise ValueError(f"entries {seen[value]} and {number} have the same {what}")
        seen[value] = number


class ApiKeys:
    """The keys of a process, kept as digests that are of use to nobody else."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._salt = secrets.token_bytes(32)
        self._digests = tuple((name, self._digest(key)) for name, key in pairs)

    def name_of(self, key: str) -> str | None:
        """Whose the key is; None: nobody's. Takes as long for any key."""
        shown, found = self._digest(key), None
        for name, digest in self._digests:
            if hmac.compare_digest(digest, shown):
                found = name
        return found

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=self._salt).digest()
