"""Checks that the settings of remote synthesisers have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from voicecore.engines.wire.settings import checked_url, header_key
from voicecore.errors import MisuseError

_WORD: Final = re.compile(r"[a-z0-9_+]{1,48}")


def one_of(label: str, value: int, allowed: Sequence[int]) -> None:
    """MisuseError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise MisuseError(f"{label} must be one of {', '.join(map(str, allowed))}, got {value}")


def within(label: str, value: float, low: float, high: float) -> None:
    """MisuseError unless ``value`` is in ``low``..``high``."""
    if not low <= value <= high:
        raise MisuseError(f"{label} must be {low:g}..{high:g}, got {value:g}")


def api_key(key: str, variable: str, engine: str, *, needed: bool = True) -> str:
    """``key`` as a header can carry it; MisuseError if it is missing, or none can."""
    key = header_key(engine, key)
    if not key and needed:
        raise MisuseError(f"{engine} needs a key: set {variable}, or {variable}_FILE to a file")
    return key


def socket_url(engine: str, url: str, path: str, query: str) -> str:
    """``url`` (``ws(s)://host[:port][/path]``) with ``path`` behind it and ``query``."""
    return _with(engine, url, path, query, "ws")


def http_url(engine: str, url: str, path: str) -> str:
    """The URL to post to: ``path`` behind a server or a base path, a full URL as it is.

    A bare server gets ``/v1`` before it; a query is kept.
    """
    bare = urlsplit(url.strip()).path.rstrip("/")
    if bare.endswith(path):
        path = ""
    elif not bare:
        path = f"/v1{path}"
    return _with(engine, url, path, "", "http")


def _with(engine: str, url: str, path: str, query: str, scheme: str) -> str:
    parts = urlsplit(checked_url(engine, url, scheme))
    joined = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path, query=joined, fragment=""))


def error_word(told: Any) -> str:
    """A provider's machine-readable word for an error; ``unknown`` where it isn't one.

    Its messages for people are never repeated: they quote texts and keys.
    """
    return told if isinstance(told, str) and _WORD.fullmatch(told) else "unknown"
