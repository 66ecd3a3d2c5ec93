"""How engines and their options are written: chains, and ``name.option=value``.

Messages name an engine and an option, never a value: it may be a key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

EngineOptions = dict[str, dict[str, Any]]
"""For each engine its options, as they were given: text from flags, else TOML's types."""

_NEXT_OPTION = re.compile(r",(?=\s*[A-Za-z_][\w.:-]*\.\w+\s*=)")
_WANTED = "wants NAME.OPTION=VALUE, for example deepgram.model=nova-3"


def to_chain(value: Any) -> Any:
    """``"a, b"`` or a list as ``"a,b"``."""
    names = value.split(",") if isinstance(value, str) else value
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        return ",".join(name.strip() for name in names if name.strip())
    return value


def to_options(value: Any) -> EngineOptions:
    """Options from tables, from JSON, or from ``name.option=value`` with commas between.

    A comma that doesn't begin another option belongs to the value. ValueError if it is
    none of these.
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, list | tuple):
        merged: EngineOptions = {}
        for item in value:
            merged = merge_options(merged, to_options(item))
        return merged
    if isinstance(value, Mapping):
        for name, table in value.items():
            if not isinstance(table, Mapping):
                raise ValueError(f"engine.{name} wants a table of options, [engine.{name}]")
        return {str(name): dict(table) for name, table in value.items()}
    raise ValueError(_WANTED)


def merge_options(under: EngineOptions, over: EngineOptions) -> EngineOptions:
    """Both; an option that both have is that of ``over``."""
    names = {**under, **over}
    return {name: {**under.get(name, {}), **over.get(name, {})} for name in names}


def option_name(engine: str, option: str) -> str:
    """``engine.deepgram.model``, as in a file; quoted where TOML wants it."""
    plain = re.fullmatch(r"[\w-]+", engine, re.ASCII) is not None
    return f"engine.{engine if plain else json.dumps(engine)}.{option}"


def _of_text(text: str) -> EngineOptions:
    if text.lstrip().startswith("{"):
        try:
            return to_options(json.loads(text))
        except json.JSONDecodeError:
            raise ValueError("looks like JSON but is not; check its quotes") from None
    options: EngineOptions = {}
    for part in _NEXT_OPTION.split(text):
        if not part.strip():
            continue
        key, found, value = part.partition("=")
        # In "my.module:Class.option" it is the last dot that counts.
        engine, dot, option = key.strip().rpartition(".")
        if not (found and dot and engine and option.isidentifier()):
            raise ValueError(_WANTED)
        options.setdefault(engine, {})[option] = value.strip()
    return options
