"""``--engines``: which engines there are, what each takes, and what it still needs.

Judged with the settings in force, as a start would; no engine is made or started.
"""

from __future__ import annotations

import json
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import getdoc
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any

from voicecore.engines.catalogue import STAGES, EngineEntry, built_in, find_engine, read_plugins
from voicecore.engines.constructor import Parameter
from voicecore.engines.options import LocalPath
from voicecore.service.config import Settings
from voicecore.service.engine_options import Look, look_at
from voicecore.service.secret_text import FILE_SUFFIX

_WIDTH = 100
_INDENT = " " * 6


@dataclass(frozen=True)
class Listed:
    """All engines of all stages, those in use marked, and what is odd about plugins."""

    looks: Mapping[str, list[Look]]
    in_use: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...]


def collect(settings: Settings) -> Listed:
    """Look at every engine: ours, plugins', and the user's own where one is chosen."""
    plugins = read_plugins()
    looks: dict[str, list[Look]] = {}
    for stage in STAGES:
        entries = [*built_in(stage), *(e for e in plugins.entries if e.stage == stage)]
        known = {entry.name for entry in entries}
        own = (find_engine(stage, name) for name in settings.chain(stage) if name not in known)
        looks[stage] = [look_at(e, settings) for e in [*entries, *filter(None, own)]]
    in_use = {stage: settings.chain(stage) for stage in STAGES}
    if settings.agent:
        in_use["llm"] = ()
    return Listed(looks, in_use, plugins.warnings)


def render(listed: Listed) -> str:
    """For people; an engine in use has a star."""
    lines = ["engines, as these settings have them; * in use", ""]
    for stage, looks in listed.looks.items():
        chosen = listed.in_use[stage]
        width = max(len(look.entry.name) for look in looks)
        lines.append(f"--{stage}  {STAGES[stage]}")
        for look in looks:
            star = "*" if look.entry.name in chosen else " "
            state = "not ready" if look.problems else "ready    "
            lines.append(f"  {star} {look.entry.name:{width}}  {state}  {_summary(look)}")
            lines += [line for sentence in look.problems for line in _wrapped(f"! {sentence}")]
            lines += [line for one in look.parameters for line in _option(one, look)]
        lines.append("")
    lines += [f"! {warning}" for warning in listed.warnings]
    lines += [
        "An option is given by --engine NAME.OPTION=VALUE, [engine.NAME] in voicecore.toml, or",
        "VOICECORE_ENGINE=NAME.OPTION=VALUE,...; a key by its variable, or a file that it names.",
    ]
    return "\n".join(lines) + "\n"


def as_json(listed: Listed) -> str:
    """The same for programs: an object of stages, each a list of engines."""
    stages = {
        stage: [_as_data(look, listed.in_use[stage]) for look in looks]
        for stage, looks in listed.looks.items()
    }
    return json.dumps({"engines": stages, "warnings": list(listed.warnings)}, indent=2) + "\n"


def _as_data(look: Look, chosen: tuple[str, ...]) -> dict[str, Any]:
    entry = look.entry
    return {
        "name": entry.name,
        "summary": _summary(look),
        "plugin": entry.plugin or None,
        "in_use": entry.name in chosen,
        "ready": not look.problems,
        "problems": list(look.problems),
        "options": [_option_data(one, look) for one in look.parameters],
    }


def _option_data(one: Parameter, look: Look) -> dict[str, Any]:
    data = {
        "name": one.name,
        "type": type_name(one.type),
        "help": one.option.help,
        "required": one.required,
        "secret": one.secret is not None,
        "origin": look.origins.get(one.name),
    }
    if one.secret:
        return {**data, "variable": one.secret.variable or None}
    value = look.values.get(one.name, one.default)
    return {**data, "value": value if _is_plain(value) else str(value)}


def _summary(look: Look) -> str:
    entry = look.entry
    told = entry.summary or _first_line(look.found, entry)
    return f"{told} [plugin {entry.plugin}]" if entry.plugin else told


def _first_line(found: Any, entry: EngineEntry) -> str:
    text = (getdoc(found) or "").partition("\n")[0] if found is not None else ""
    return text.rstrip(".") or entry.target


def _wrapped(text: str) -> list[str]:
    # Not at hyphens: names are there to be copied.
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=_INDENT,
        subsequent_indent=_INDENT + "  ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _option(one: Parameter, look: Look) -> list[str]:
    text = f"{_shown(one, look)}  {one.option.help}"
    origin = look.origins.get(one.name)
    if origin:
        text += f" ({origin})"
    return _wrapped(text)


def _shown(one: Parameter, look: Look) -> str:
    """``name = value``: the one it would have; a secret never."""
    if one.secret:
        variable = one.secret.variable
        place = f"{variable} or {variable}{FILE_SUFFIX}" if variable else "key or key_file"
        state = "set" if one.name in look.values else "not set"
        return f"{one.name}: {state}, {place}"
    kind = "path" if isinstance(one.option, LocalPath) else type_name(one.type)
    if one.required and one.name not in look.values:
        return f"{one.name}: {kind}, must be given"
    value = look.values.get(one.name, one.default)
    if value is None or value == "":
        return f"{one.name}: {kind}"
    return f"{one.name} = {textwrap.shorten(str(_readable(value)), 60, placeholder=' ...')}"


def _readable(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else value


def type_name(kind: Any) -> str:
    """A parameter's type as people call it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return " or ".join(str(text) or "empty" for text in inner)
    if origin in (typing.Union, UnionType):
        names = [type_name(part) for part in inner if part is not type(None)]
        return " or ".join(dict.fromkeys(names))
    plain = origin or kind
    return _TYPE_NAMES.get(plain, getattr(plain, "__name__", str(plain)))


_TYPE_NAMES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    list: "list",
    dict: "table",
    Mapping: "table",
    Path: "path",
    PathLike: "path",
}


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | dict)
