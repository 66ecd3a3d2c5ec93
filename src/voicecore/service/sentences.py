"""What pydantic found wrong with a value, in words that say what was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voicecore.service.setting_types import nearest

_SHOWN_VALUE_CHARS = 60


def given(value: object) -> str:
    """``, given 'x'`` behind a sentence, for a value that may be shown."""
    if not isinstance(value, str | int | float):
        return ""
    shown = repr(value)
    return f", given {shown if len(shown) <= _SHOWN_VALUE_CHARS else 'a long text'}"


def strip(message: str) -> str:
    """The words of a ValueError that a validator raised, without pydantic's own."""
    return message.removeprefix("Value error, ")


def wanted(detail: Any, keys: Sequence[str] = ()) -> str:
    """What ``detail``, one of ``ValidationError.errors()``, asks for.

    ``keys``: the names that an unknown key may have been meant for. Never repeats the
    value.
    """
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("int_parsing", "int_type", "int_from_float"):
        return "wants a whole number"
    if kind in ("float_parsing", "float_type"):
        return "wants a number"
    if kind in ("bool_parsing", "bool_type"):
        return "wants true or false"
    if kind in ("list_type", "dict_type"):
        return "wants a list" if kind == "list_type" else "wants a table"
    if kind == "string_type":
        return "wants text"
    if kind == "greater_than_equal":
        return f"wants {context['ge']} or more"
    if kind == "less_than_equal":
        return f"wants {context['le']} or less"
    if kind == "greater_than":
        return f"wants more than {context['gt']}"
    if kind == "less_than":
        return f"wants less than {context['lt']}"
    if kind == "literal_error":
        return f"wants {context['expected']}"
    if kind == "extra_forbidden":
        close = nearest(str(detail["loc"][-1]), keys)
        return "there is no such key" + (f"; did you mean {close}?" if close else "")
    return strip(str(detail["msg"]))
