"""Python functions that a model may call.

A plain function is enough: its name, docstring and signature become the
description that the model sees (pydantic makes the JSON schema and checks the
arguments). What goes wrong inside a tool is told to the model in a word, so that
it can say so to the caller, and logged with its traceback; the call goes on.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import logging
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from voicecore.core.conversation import ToolCall
from voicecore.engines.llm.threads import being_cancelled, run_in
from voicecore.errors import MissingLibraryError, MisuseError

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESULT_LIMIT = 32_768

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function for the model, with what can't be read off the function itself.

    ``function``: sync (run in a thread) or async, called with keyword arguments;
    returns a string or anything JSON can hold. ``name`` and ``description``
    default to the function's name and docstring. ``parameters`` is a JSON schema
    of an object: given, it is passed on as it is and arguments are only matched
    with the signature; None, it is derived from the annotations.
    """

    function: Callable[..., Any]
    name: str = ""
    description: str = ""
    parameters: Mapping[str, Any] | None = None


class _ArgumentsError(Exception):
    """The model's arguments don't fit; the message is for the model."""


@dataclass(frozen=True, slots=True)
class _Entry:
    function: Callable[..., Any]
    check: Callable[[Arguments], Arguments]
    spec: dict[str, Any]


class ToolBox:
    """The tools of one engine, ready to be offered and run.

    ``timeout_s`` bounds each run. Sync functions share ``threads`` threads; one
    that overruns its time keeps its thread until it returns. Raises MisuseError
    for a function that can't be offered (a bad or repeated name, positional-only
    or ``*args`` parameters), MissingLibraryError when a schema must be derived
    and pydantic is absent.
    """

    def __init__(
        self,
        tools: Iterable[Tool | Callable[..., Any]],
        *,
        timeout_s: float = 20.0,
        threads: int = 8,
    ) -> None:
        self._timeout_s = timeout_s
        self._entries: dict[str, _Entry] = {}
        for item in tools:
            self._add(item if isinstance(item, Tool) else Tool(item))
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None

    @property
    def specs(self) -> list[dict[str, Any]]:
        """What a request's ``tools`` field holds."""
        return [entry.spec for entry in self._entries.values()]

    async def run(self, call: ToolCall) -> str:
        """Run one call and return its result, or a JSON ``{"error": …}``, as text.

        Raises nothing but CancelledError, which reaches an async tool too.
        """
        entry = self._entries.get(call.name)
        if entry is None:
            return _error(f"there is no tool of that name; there are: {', '.join(self._entries)}")
        try:
            arguments = entry.check(_parse(call.arguments))
        except _ArgumentsError as error:
            return _error(str(error))
        clock = asyncio.timeout(self._timeout_s)
        try:
            async with clock:
                return _result_text(await self._call(entry.function, arguments))
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            _LOG.exception("tool %s was cancelled from inside", call.name)
        except Exception:
            if clock.expired():
                _LOG.warning("tool %s exceeded %.1f s", call.name, self._timeout_s)
                return _error("the tool took too long")
            _LOG.exception("tool %s failed", call.name)
        return _error("the tool failed")

    async def run_all(self, calls: Iterable[ToolCall]) -> list[str]:
        """Run calls side by side; results in the order of the calls."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(call)) for call in calls]
        return [task.result() for task in tasks]

    def close(self) -> None:
        """Free the threads; what still runs in them ends by itself. A later run makes new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(**arguments)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="voicecore-tool")
        result = await run_in(self._executor, function, **arguments)
        return await result if inspect.isawaitable(result) else result

    def _add(self, tool: Tool) -> None:
        if not callable(tool.function):
            raise TypeError(f"a tool is a function or a Tool, not {tool.function!r}")
        name = tool.name or getattr(tool.function, "__name__", type(tool.function).__name__)
        if not _NAME.fullmatch(name):
            raise MisuseError(
                f"the tool name {name!r} is not of 1 to 64 letters, digits, _ or -: "
                "give one by Tool(function, name=…)"
            )
        if name in self._entries:
            raise MisuseError(f"two tools are named {name!r}: give one by Tool(function, name=…)")
        if tool.parameters is None:
            check, schema = _derive(tool.function, name)
        else:
            check, schema = _matcher(tool.function), dict(tool.parameters)
        spec = {"name": name, "parameters": schema}
        if description := tool.description or inspect.getdoc(tool.function):
            spec["description"] = description
        self._entries[name] = _Entry(tool.function, check, {"type": "function", "function": spec})


def _derive(
    function: Callable[..., Any], name: str
) -> tuple[Callable[[Arguments], Arguments], dict[str, Any]]:
    """Return a check of the arguments and their JSON schema, by a pydantic model.

    Fields are called ``p0``, ``p1``… with the parameter's name as alias, since
    some names (``copy``, ``_x``) can't be fields of a model.
    """
    pydantic = _pydantic()
    names: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for parameter, hint in _parameters(function, name):
        default = ... if parameter.default is parameter.empty else parameter.default
        field = f"p{len(fields)}"
        names[field] = parameter.name
        fields[field] = (hint, pydantic.Field(default, alias=parameter.name))
    try:
        model = pydantic.create_model(name, **fields)
        schema = model.model_json_schema()
    except pydantic.PydanticUserError as error:
        raise MisuseError(
            f"tool {name!r} has a parameter whose type has no JSON schema: annotate it with "
            "a plain type, or give a schema by Tool(function, parameters=…)"
        ) from error
    schema.pop("title", None)
    for described in schema.get("properties", {}).values():
        described.pop("title", None)

    def check(arguments: Arguments) -> Arguments:
        try:
            checked = model.model_validate(arguments)
        except pydantic.ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['msg']}"
                for e in error.errors(include_input=False, include_url=False)
            )
            raise _ArgumentsError(f"the arguments are not valid: {problems}") from error
        return {names[field]: getattr(checked, field) for field in names}

    return check, schema


def _parameters(function: Callable[..., Any], name: str) -> list[tuple[inspect.Parameter, Any]]:
    """The parameters a model may fill, each with its annotation (Any without one)."""
    plain, bound = function, frozenset[str]()
    while isinstance(plain, functools.partial):
        # What the program bound by name is not the model's to choose.
        bound |= plain.keywords.keys()
        plain = plain.func
    if not inspect.isroutine(plain):
        plain = type(plain).__call__
    try:
        hints = typing.get_type_hints(plain, include_extras=True)
    except NameError as error:
        raise MisuseError(
            f"an annotation of tool {name!r} can't be resolved ({error}): define the type "
            "at the top of its module"
        ) from error
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in bound:
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise MisuseError(
                f"tool {name!r} has the parameter {parameter}: tools are called with "
                "keyword arguments, so give it plain named parameters"
            )
        parameters.append((parameter, hints.get(parameter.name, Any)))
    return parameters


def _matcher(function: Callable[..., Any]) -> Callable[[Arguments], Arguments]:
    signature = inspect.signature(function)

    def check(arguments: Arguments) -> Arguments:
        try:
            signature.bind(**arguments)
        except TypeError as error:
            raise _ArgumentsError(f"the arguments are not valid: {error}") from error
        return arguments

    return check


def _pydantic() -> Any:
    try:
        return importlib.import_module("pydantic")
    except ImportError as error:
        raise MissingLibraryError(
            "tools without a JSON schema need pydantic: `pip install pydantic`, "
            "or give the schema by Tool(function, parameters=…)",
            code="pydantic_missing",
        ) from error


def _parse(text: str) -> Arguments:
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _ArgumentsError("the arguments are not valid JSON") from error
    if not isinstance(arguments, dict):
        raise _ArgumentsError("the arguments are not a JSON object")
    return arguments


def _result_text(result: Any) -> str:
    if isinstance(result, str):
        text = result
    elif hasattr(result, "model_dump_json"):
        text = result.model_dump_json()
    else:
        text = json.dumps(result, ensure_ascii=False, default=str)
    return text[:_RESULT_LIMIT]


def _error(message: str) -> str:
    return json.dumps({"error": message}, ensure_ascii=False)
