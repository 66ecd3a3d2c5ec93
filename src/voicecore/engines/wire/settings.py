"""What settings of remote engines have in common: a key for a header, an address."""

from __future__ import annotations

from urllib.parse import urlsplit

from voicecore.errors import MisuseError


def header_key(engine: str, key: str) -> str:
    """``key`` as a header can carry it, ``""`` for none; MisuseError where none can."""
    # A key read from a file or a secret often ends in a newline.
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise MisuseError(f"{engine}.key holds characters that no HTTP header can carry")
    return key


def checked_url(engine: str, url: str, scheme: str) -> str:
    """``url``, of ``scheme`` or with an ``s`` behind; MisuseError for any other.

    Also for one with credentials, for URLs are shown.
    """
    url = url.strip()
    shown, _, _ = url.partition("?")
    # Neither what stands before an @ nor a query is repeated: they hold secrets.
    if "@" in shown:
        raise MisuseError(f"{engine}.url holds credentials: give the key as {engine}.key")
    try:
        parts = urlsplit(url)
        good = parts.scheme in (scheme, f"{scheme}s") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise MisuseError(
            f"{engine}.url {shown!r} is not of the form {scheme}(s)://host[:port][/path]"
        )
    return url
