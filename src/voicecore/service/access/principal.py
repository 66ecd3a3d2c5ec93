"""Who opens a call, as far as he has shown it."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may open calls. ``name`` is no secret: a key's, or a token's subject.

    ``limited``: the rate limits are for him, too.
    """

    name: str
    limited: bool = True


ANONYMOUS = Principal("")
"""Anybody, where no key is asked for."""

OURSELVES = Principal("voicecore", limited=False)
"""This process, which calls itself to see whether calls work."""

PRINCIPAL = web.RequestKey("principal", Principal)
"""Set on requests that open a call."""
