"""``--set name=value``: other settings of the turn-taking for a replay."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import fields, replace
from difflib import get_close_matches

from voicecore.core.timeline import TIMELINE
from voicecore.core.turn_settings import TurnSettings
from voicecore.errors import MisuseError


def with_changes(settings: TurnSettings, changes: Sequence[str]) -> TurnSettings:
    """``settings`` with each ``name=value`` of ``changes`` in place of its own.

    Raises MisuseError for a name that shapes no turn, or a value it can't have.
    """
    values: dict[str, object] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise MisuseError(f"--set wants name=value, for example silence_ms=800; got {change!r}")
        values[name] = _value(name, text.strip())
    try:
        return replace(settings, **values)  # type: ignore[arg-type]
    except MisuseError as error:
        raise MisuseError(f"--set: {error}", code=error.code) from error


def _value(name: str, text: str) -> object:
    names = [field.name for field in fields(TurnSettings)]
    if name not in names:
        close = get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
        raise MisuseError(
            f"{name} can't be set in a replay, which begins at the recorded speech edges: {hint}"
        )
    for value in (_literal(text), text):
        if TIMELINE.conforms(value, TurnSettings, name):
            return value
    raise MisuseError(f"{name} can't be {text!r}")


def _literal(text: str) -> object:
    words = {"true": True, "on": True, "false": False, "off": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
