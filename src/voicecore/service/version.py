"""Which voicecore this is."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata


@lru_cache(maxsize=1)
def version() -> str:
    """The installed package's version, ``"dev"`` when run from a bare tree."""
    try:
        return metadata.version("voicecore")
    except metadata.PackageNotFoundError:
        return "dev"
