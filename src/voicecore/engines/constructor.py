"""Reads off an engine's constructor what may be configured.

The parameters annotated with :class:`~voicecore.engines.options.Option` and its kin,
with their types and defaults; nothing is called.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from voicecore.engines.options import Option, Secret
from voicecore.errors import MisuseError


@dataclass(frozen=True, slots=True)
class Parameter:
    """One option of an engine. ``type`` is the annotated one, ``option`` its annotation."""

    name: str
    type: Any
    option: Option
    required: bool
    default: Any = None

    @property
    def secret(self) -> Secret | None:
        """Its annotation, if it is a key or password."""
        return self.option if isinstance(self.option, Secret) else None


def is_made(found: Any) -> bool:
    """Whether ``found`` is no engine yet, but a class or function that makes one."""
    return isinstance(found, type) or inspect.isroutine(found)


def parameters_of(make: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The options of the class or function ``make``, in its order.

    Raises MisuseError for an annotation that can't be resolved.
    """
    hints = _hints(make)
    found = []
    for parameter in _signature(make):
        hint = hints.get(parameter.name)
        if typing.get_origin(hint) is not typing.Annotated:
            continue
        plain, *notes = typing.get_args(hint)
        option = next((note for note in notes if isinstance(note, Option)), None)
        if option is not None:
            lacking = parameter.default is parameter.empty
            required = lacking or option.required
            default = None if lacking else parameter.default
            found.append(Parameter(parameter.name, plain, option, required, default))
    return tuple(found)


def keywords_of(make: Callable[..., Any]) -> frozenset[str]:
    """The names of all parameters that ``make`` takes by keyword."""
    return frozenset(parameter.name for parameter in _signature(make))


def _signature(make: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # of a class in C, say
        return []
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [one for one in signature.parameters.values() if one.kind in by_name]


def _hints(make: Callable[..., Any]) -> dict[str, Any]:
    function: Any = make.__init__ if isinstance(make, type) else make  # type: ignore[misc]
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, AttributeError) as error:
        name = getattr(make, "__name__", type(make).__name__)
        raise MisuseError(
            f"an annotation of {name}'s constructor can't be resolved ({error}): import what it"
            " names at the top of its module"
        ) from error
    except TypeError:
        return {}
