"""What a setting gave, in the type that an engine's constructor wants."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from voicecore.engines.constructor import Parameter
from voicecore.engines.options import LocalPath
from voicecore.service.sentences import given, wanted
from voicecore.service.setting_types import to_list

_LISTS = {list, tuple, set, frozenset, Sequence, Iterable}
_TABLES = {dict, Mapping}


def checked(one: Parameter, value: Any, where: str) -> Any:
    """``value`` in the parameter's type; ValueError with a sentence."""
    if isinstance(one.option, LocalPath):
        value = _existing(value, where)
    try:
        adapter = TypeAdapter(one.type)
    except PydanticUserError:
        raise ValueError(f"{where}: its type is none that a setting can have") from None
    try:
        return adapter.validate_python(_shaped(one.type, value, where))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        inner = "".join(f"[{part}]" for part in detail["loc"] if isinstance(part, int))
        raise ValueError(f"{where}{inner}: {wanted(detail)}{given(value)}") from None


def _existing(value: Any, where: str) -> str:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"{where}: wants a file or directory")
    path = Path(value).expanduser()
    if not path.exists():
        raise ValueError(f"{where}: there is no file or directory {path}")
    return str(path)


def _shaped(kind: Any, value: Any, where: str) -> Any:
    """Flags and variables have text alone: lists have commas in it, tables are JSON."""
    kinds = _alternatives(kind)
    if not isinstance(value, str) or str in kinds:
        return value
    if kinds & _LISTS:
        return to_list(value)
    if kinds & _TABLES:
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError(f"{where}: wants a table, or JSON such as {{...}}") from None
    return value


def _alternatives(kind: Any) -> set[Any]:
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return {get_origin(part) or part for part in parts}
