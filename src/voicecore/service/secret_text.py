"""Keys and passwords: where they may stand, and what they may be.

No message of this module holds any part of a secret; nor a file's name, for who mistakes
``key_file`` for ``key`` has written the key there. An exception that a library raised on
the way is not chained to ours, for it may quote what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

MASK = "********"
FILE_SUFFIX = "_FILE"
_LONGEST_FILE_BYTES = 65_536
_SHORTEST_MASKED = 6


def check_secret(text: str) -> str:
    """``text`` without a line end behind it; ValueError if it can be no key."""
    secret = text.removesuffix("\n").removesuffix("\r")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in secret):
        raise ValueError("has a control character in it (a second line?): give the key alone")
    return secret


def check_secrets(text: str) -> str:
    """Several secrets, a line each, with commas between; ValueError if one can be none."""
    lines = [check_secret(line).strip() for line in text.replace("\r\n", "\n").split("\n")]
    return ",".join(filter(None, lines))


def read_secret(path: str | Path, check: Callable[[str], str] = check_secret) -> str:
    """The secret that is all of the file at ``path``; ValueError with what is wrong."""
    file = Path(path).expanduser()
    try:
        with file.open("rb") as opened:
            data = opened.read(_LONGEST_FILE_BYTES + 1)
    except ValueError:  # a NUL in the name
        raise ValueError("names no file") from None
    except OSError as error:
        raise ValueError(f"the file it names can't be read: {error.strerror}") from None
    if len(data) > _LONGEST_FILE_BYTES:
        raise ValueError("the file it names is too long for a key")
    try:
        secret = check(data.decode())
    except UnicodeDecodeError:
        raise ValueError("the file it names is not UTF-8 text") from None
    except ValueError as error:
        raise ValueError(f"the key in the file it names {error}") from None
    if not secret:
        raise ValueError("the file it names is empty")
    return secret


def from_environment(
    variable: str,
    environment: Mapping[str, str] | None = None,
    check: Callable[[str], str] = check_secret,
) -> tuple[str, str] | None:
    """The secret in ``variable``, or in the file that ``<variable>_FILE`` names, and which.

    None if neither is set (empty counts as unset). ValueError, naming the variable, for
    both at once or a secret that can't be used.
    """
    variables = os.environ if environment is None else environment
    text, file = variables.get(variable, ""), variables.get(variable + FILE_SUFFIX, "")
    if text and file:
        raise ValueError(f"{variable} and {variable}{FILE_SUFFIX} are both set: give one of them")
    try:
        if file:
            return read_secret(file, check), variable + FILE_SUFFIX
        return (check(text), variable) if text else None
    except ValueError as error:
        raise ValueError(f"{variable}{FILE_SUFFIX if file else ''}: {error}") from None


class SecretMask:
    """Takes known secrets out of texts that somebody else wrote: a library, a plugin.

    A net under what is written so as to hold none. Secrets of less than 6 characters
    slip through: they would take ordinary words with them.
    """

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def add(self, secrets: Iterable[str]) -> None:
        """From now on these are masked, too."""
        known = {*self._secrets, *(text for text in secrets if len(text) >= _SHORTEST_MASKED)}
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """``text`` with the mask in place of each secret."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


masked = SecretMask()
"""Of this process: what it logs, prints and tells in ``/readyz`` goes through it."""
