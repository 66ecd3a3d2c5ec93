"""Tools that a user names in a setting: ``--engine openai.tools=my_tools:tools``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from voicecore.engines.llm.named import find, import_module, own_functions
from voicecore.engines.llm.tools import Tool
from voicecore.errors import MisuseError

_EXAMPLE = "for a list `tools` in my_tools.py of the current directory: my_tools:tools"

Tools = tuple[Tool | Callable[..., Any], ...]


def load_tools(target: str) -> Tools:
    """Import the tools that ``target`` names.

    ``my_tools:tools`` may be a list of functions and :class:`Tool` objects, or one of
    them. ``my_tools`` alone, or a ``module:name`` that is a module, stands for all the
    :class:`Tool` objects in it and its public functions that have a docstring, which is
    what the model is told of them; what it imports is left out. The current directory
    is importable.

    Raises MisuseError with what to do: ``tools_not_found``, ``tools_import_failed``
    (the module raised; chained), ``tools_wrong_kind``.
    """
    if ":" in target:
        found = find(target, "tools", _EXAMPLE)
    else:
        # Checked by the same rules, with a name that every module has.
        find(f"{target}:__name__", "tools", _EXAMPLE)
        found = import_module(target, "tools")
    tools = _of_module(found) if isinstance(found, ModuleType) else _of_value(found, target)
    if not tools:
        raise _wrong(f"{target} holds no tools")
    return tools


def all_tools(given: str | Iterable[str | Tool | Callable[..., Any]]) -> list[Any]:
    """What an engine is given, names of tools among it loaded; ``""`` names none."""
    if isinstance(given, str):
        return [*load_tools(given)] if given else []
    loaded: list[Any] = []
    for one in given:
        loaded += load_tools(one) if isinstance(one, str) else [one]
    return loaded


def _of_module(module: ModuleType) -> Tools:
    functions = own_functions(module, inspect.isfunction).values()
    wrapped = [
        value
        for key, value in vars(module).items()
        if isinstance(value, Tool) and not key.startswith("_")
    ]
    within = {id(tool.function) for tool in wrapped}
    plain = [f for f in functions if inspect.getdoc(f) and id(f) not in within]
    return (*plain, *wrapped)


def _of_value(found: Any, target: str) -> Tools:
    if isinstance(found, Tool) or (callable(found) and not isinstance(found, type)):
        return (found,)
    if isinstance(found, Iterable) and not isinstance(found, str | bytes | dict | type):
        tools = tuple(found)
        if all(isinstance(tool, Tool) or callable(tool) for tool in tools):
            return tools
    raise _wrong(f"{target} is {type(found).__name__}, not a list of functions")


def _wrong(problem: str) -> MisuseError:
    return MisuseError(
        f"{problem}: name a list of functions and Tool(…)s, or a module whose public "
        "functions have docstrings",
        code="tools_wrong_kind",
    )
