"""Python functions that a model may call.

A plain function is enough: its name, docstring and signature become the
description that the model sees (pydantic makes the JSON schema and checks the
arguments). What goes wrong inside a tool is told to the model in a word, so that
it can say so to the caller, and logged with its traceback; the call goes on.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from voicecore.core.conversation import ToolCall
from voicecore.engines.llm.threads import being_cancelled, run_in
from voicecore.engines.llm.tool_schema import Arguments, ArgumentsError, derive, matcher
from voicecore.errors import MisuseError

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESULT_LIMIT = 32_768


@dataclass(frozen=True, slots=True)
class Tool:
    """A function for the model, with what can't be read off the function itself.

    ``function``: sync (run in a thread) or async, called with keyword arguments;
    returns a string or anything JSON can hold. ``name`` and ``description``
    default to the function's name and docstring. ``parameters`` is a JSON schema
    of an object: given, it is passed on as it is and arguments are only matched
    with the signature; None, it is derived from the annotations.

    ``timeout_s`` bounds a run, None: as the engine says. ``progress`` is what the
    caller hears when it takes long, ``""``: what the engine says then. An
    ``uninterruptible`` one goes on when the caller speaks over the answer, as a
    booking must that can't be half made.
    """

    function: Callable[..., Any]
    name: str = ""
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    timeout_s: float | None = None
    progress: str = ""
    uninterruptible: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    tool: Tool
    timeout_s: float
    check: Callable[[Arguments], Arguments]
    spec: dict[str, Any]


class ToolBox:
    """The tools of one engine, ready to be offered and run.

    ``timeout_s`` bounds each run of a tool that has no time of its own. Sync
    functions share ``threads`` threads; one that overruns its time keeps its thread
    until it returns. Raises MisuseError for a function that can't be offered (a bad
    or repeated name, positional-only or ``*args`` parameters), MissingLibraryError
    when a schema must be derived and pydantic is absent.
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

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Tool:
        return self._entries[name].tool

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
        except ArgumentsError as error:
            return _error(str(error))
        clock = asyncio.timeout(entry.timeout_s)
        try:
            async with clock:
                return _result_text(await self._call(entry.tool.function, arguments))
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            _LOG.exception("tool %s was cancelled from inside", call.name)
        except Exception:
            if clock.expired():
                _LOG.warning("tool %s exceeded %.1f s", call.name, entry.timeout_s)
                return _error("the tool took too long")
            _LOG.exception("tool %s failed", call.name)
        return _error("the tool failed")

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
        timeout_s = self._timeout_s if tool.timeout_s is None else tool.timeout_s
        if not timeout_s > 0:
            raise MisuseError(f"timeout_s of tool {name!r} is {timeout_s}, wanted above 0")
        if name in self._entries:
            raise MisuseError(f"two tools are named {name!r}: give one by Tool(function, name=…)")
        if tool.parameters is None:
            check, schema = derive(tool.function, name)
        else:
            check, schema = matcher(tool.function), dict(tool.parameters)
        spec = {"name": name, "parameters": schema}
        if description := tool.description or inspect.getdoc(tool.function):
            spec["description"] = description
        self._entries[name] = _Entry(tool, timeout_s, check, {"type": "function", "function": spec})


def _parse(text: str) -> Arguments:
    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentsError("the arguments are not valid JSON") from error
    if not isinstance(arguments, dict):
        raise ArgumentsError("the arguments are not a JSON object")
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
