"""The forms in which settings may be written, and their checks.

Each function takes what a file, a variable or a flag gave and returns the
value in its one true form, or raises ``ValueError`` with a sentence that says
what was wanted. Messages never repeat a value that may hold a secret.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic.fields import FieldInfo

_ICE_URL = re.compile(r"(stuns?|turns?):(\[[0-9A-Fa-f:.]+\]|[^\s/\[\]:?@]+)(:\d{1,5})?(\?\S*)?")


def nearest(word: str, choices: Sequence[str]) -> str:
    """The one of ``choices`` most like ``word``, or ``""`` if none is alike."""
    found = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return found[0] if found else ""


def to_list(value: Any) -> Any:
    """A list from a list, from JSON, or from text with commas; flags may repeat."""
    if isinstance(value, str):
        text = value.strip()
        if text.startswith(("[", "{")):
            try:
                parsed = json.loads(text)
            except ValueError:
                raise ValueError("looks like JSON but is not; check its quotes") from None
            return parsed if isinstance(parsed, list) else [parsed]
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        flat: list[Any] = []
        for item in value:
            flat.extend(to_list(item) if isinstance(item, str) else [item])
        return flat
    return value


def check_ice_url(url: str) -> str:
    """``url`` if it is a STUN or TURN URI (RFC 7064, RFC 7065)."""
    if _ICE_URL.fullmatch(url) is None:
        raise ValueError("wants stun:, stuns:, turn: or turns: followed by host and port")
    return url


def check_network(text: str) -> str:
    """``text`` as a canonical CIDR network; a lone address is a network of one."""
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise ValueError(f"wants networks such as 10.0.0.0/8, given {text!r}") from None


def check_address(text: str) -> str:
    """``text`` as a canonical IP address."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"wants IP addresses such as 203.0.113.7, given {text!r}") from None


def check_host_name(text: str) -> str:
    """A host name without scheme or port, or ``*.domain``, or ``*``; lower case."""
    name = text.strip().lower().rstrip(".")
    if not name or re.search(r"[\s/:@]", name) or ("*" in name.removeprefix("*.") and name != "*"):
        raise ValueError(
            f"wants host names without scheme, path or port, *.domain or *, given {text!r}"
        )
    return name


def check_origin(text: str) -> str:
    """A web origin as browsers write it: ``https://host`` or ``https://host:port``."""
    parts = urlsplit(text.strip().rstrip("/"))
    try:
        port = parts.port
    except ValueError:
        port = -1
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or port == -1
        or parts.path
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError("wants origins such as https://app.example.org, without a path")
    return origin_of(parts.scheme, parts.hostname, port)


def origin_of(scheme: str, host: str, port: int | None) -> str:
    """The origin in the form in which two origins can be compared as text."""
    shown = f"[{host}]" if ":" in host else host.lower()
    default = {"http": 80, "https": 443}.get(scheme)
    return f"{scheme}://{shown}" if port in (None, default) else f"{scheme}://{shown}:{port}"


def check_http_url(text: str) -> str:
    """An ``http`` or ``https`` URL with a host; no trailing slash."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("wants a URL such as http://localhost:11434/v1")
    return text.strip().rstrip("/")


def each(check: Callable[[str], str]) -> Callable[[list[str]], list[str]]:
    """Lift a check of one text to a list of texts."""
    return lambda values: [check(value) for value in values]


class IceServer(BaseModel):
    """One STUN or TURN server, as browsers' ``RTCIceServer`` has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: list[str]
    username: str = ""
    credential: SecretStr = SecretStr("")

    @field_validator("urls", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return to_list(value)

    @field_validator("urls")
    @classmethod
    def _urls(cls, value: list[str]) -> list[str]:
        if not value:
            raise ValueError("wants at least one URL")
        return [check_ice_url(url) for url in value]


def to_ice_servers(value: Any) -> Any:
    """ICE servers from tables, from JSON, or from bare URLs (one server each)."""
    servers = to_list(value)
    if not isinstance(servers, list):
        return servers
    return [{"urls": [item]} if isinstance(item, str) else item for item in servers]


def setting(group: str, default: Any, text: str, *, metavar: str = "", **limits: Any) -> Any:
    """A field that knows its help text, the group it is shown in and its limits."""
    extra: dict[str, Any] = {"group": group, "metavar": metavar}
    make = {"default_factory": default} if callable(default) else {"default": default}
    return Field(description=text, json_schema_extra=extra, **make, **limits)


def group_of(field: FieldInfo) -> str:
    """The heading under which a setting is shown."""
    extra = field.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def empty_to_none(value: Any) -> Any:
    """An empty text, as an environment variable may be, says that nothing is given."""
    return None if value == "" else value
