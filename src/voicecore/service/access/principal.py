"""Who opens a call, as far as he has shown it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who may open calls. ``name`` is no secret: a key's, or a token's subject."""

    name: str


ANONYMOUS = Principal("")
"""Anybody, where no key is asked for."""
