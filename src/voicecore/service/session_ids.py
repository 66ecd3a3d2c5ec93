"""Names of sessions. In a name stands who has the session, so that anybody can find him.

``<instance>-<worker>-<random>`` where there are several of one or the other,
else the random part alone. Names are no secret: what gives access is the token.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

_RANDOM_BYTES = 8
_NO_INSTANCE = "_"
"""No instance can be called that (``operation_fields``)."""


class Owner(NamedTuple):
    """Who has a session: the instance's name, ``""`` for the only one, and its worker."""

    instance: str
    worker: int


class SessionIds:
    """Makes and reads the names of one worker's sessions.

    ``worker`` is None where an instance is one process. ``draw(n)`` gives ``n`` random
    bytes as hexadecimal text.
    """

    def __init__(
        self,
        instance: str = "",
        worker: int | None = None,
        draw: Callable[[int], str] = secrets.token_hex,
    ) -> None:
        self._draw = draw
        self._prefix = ""
        if instance or worker is not None:
            self._prefix = f"{instance or _NO_INSTANCE}-{worker or 0}-"

    def new(self) -> str:
        """A name that nobody has had; URL-safe, no dots."""
        return self._prefix + self._draw(_RANDOM_BYTES)


def owner_of(session_id: str) -> Owner | None:
    """Whose the session is by its name; None if the name is of another form.

    Callers write what they like: what has an owner can be told to others in any encoding.
    """
    parts = session_id.rsplit("-", 2)
    if len(parts) == 1:
        return Owner("", 0)
    if len(parts) != 3 or not parts[0] or not (session_id.isascii() and parts[1].isdigit()):
        return None
    return Owner("" if parts[0] == _NO_INSTANCE else parts[0], int(parts[1][:6]))
