"""Tools: what the model is shown of them, and what it is told when they fail."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from voicecore.core.conversation import ToolCall
from voicecore.engines.llm.tools import Tool, ToolBox
from voicecore.errors import MissingLibraryError, MisuseError


class Place(BaseModel):
    city: str
    floor: int = 0


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall("id", name, json.dumps(arguments))


@pytest.fixture
async def box_of() -> AsyncIterator[Callable[..., ToolBox]]:
    boxes: list[ToolBox] = []

    def make(*tools: Any, **settings: Any) -> ToolBox:
        boxes.append(ToolBox(tools, **settings))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


BoxOf = Callable[..., ToolBox]


def book(
    place: Place,
    hour: Annotated[int, Field(ge=0, le=23, description="Hour of the day")],
    kind: Literal["table", "room"] = "table",
    *,
    copy: bool = False,
    anything=None,
) -> dict[str, Any]:
    """Book a place.

    At a certain hour.
    """
    return {"city": place.city, "hour": hour, "kind": kind, "copy": copy, "anything": anything}


def test_the_schema_is_derived_from_the_signature(box_of: BoxOf) -> None:
    (spec,) = box_of(book).specs
    assert spec["type"] == "function"
    function = spec["function"]
    assert function["name"] == "book"
    assert function["description"] == "Book a place.\n\nAt a certain hour."
    schema = function["parameters"]
    assert schema["type"] == "object"
    assert schema["required"] == ["place", "hour"]
    assert list(schema["properties"]) == ["place", "hour", "kind", "copy", "anything"]
    assert schema["properties"]["hour"] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 23,
        "description": "Hour of the day",
    }
    assert schema["properties"]["kind"]["enum"] == ["table", "room"]


async def test_arguments_are_checked_and_converted(box_of: BoxOf) -> None:
    box = box_of(book)
    assert json.loads(await box.run(call("book", place={"city": "Bern"}, hour="8"))) == {
        "city": "Bern",
        "hour": 8,
        "kind": "table",
        "copy": False,
        "anything": None,
    }


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"place": {"city": "Bern"}}', "hour: Field required"),
        ('{"place": {"city": "Bern"}, "hour": 99}', "hour: Input should be less than"),
        ('{"place": {}, "hour": 1}', "place.city: Field required"),
        ("[]", "not a JSON object"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(
    box_of: BoxOf, arguments: str, problem: str
) -> None:
    result = json.loads(await box_of(book).run(ToolCall("id", "book", arguments)))
    assert problem in result["error"]


async def test_a_given_schema_is_passed_on_and_arguments_matched(box_of: BoxOf) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    box = box_of(Tool(lambda x: x + 1, name="next", description="Count.", parameters=schema))
    (spec,) = box.specs
    assert spec["function"] == {"name": "next", "description": "Count.", "parameters": schema}
    assert await box.run(call("next", x=1)) == "2"
    assert "not valid" in json.loads(await box.run(call("next", y=1)))["error"]


@dataclass
class Counter:
    count: int = 0

    def add(self, step: int) -> int:
        """Count on."""
        self.count += step
        return self.count

    async def __call__(self, step: int) -> int:
        return self.add(step)


async def test_all_kinds_of_callables(box_of: BoxOf) -> None:
    async def later(word: str) -> str:
        return word

    counter = Counter()
    box = box_of(
        counter.add,
        Tool(counter, name="object"),
        later,
        Tool(functools.partial(later, word="fixed"), name="partial"),
        Tool(lambda: later("hidden"), name="hidden"),
    )
    assert await box.run(call("add", step=2)) == "2"
    assert await box.run(call("object", step=3)) == "5"
    assert await box.run(call("later", word="hi")) == "hi"
    assert await box.run(call("partial")) == "fixed"
    assert await box.run(call("hidden")) == "hidden"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("plain", "plain"),
        (None, "null"),
        ({"a": "ü"}, '{"a": "ü"}'),
        (Place(city="Bern"), '{"city":"Bern","floor":0}'),
        (threading.Lock, '"<'),
        ("x" * 100_000, "x" * 32_768),
    ],
)
async def test_results_become_text(box_of: BoxOf, result: Any, text: str) -> None:
    given = await box_of(Tool(lambda: result, name="f")).run(call("f"))
    assert given.startswith(text)
    assert len(given) <= 32_768


async def test_sync_tools_leave_the_event_loop_free(box_of: BoxOf) -> None:
    loop_thread, release = threading.get_ident(), threading.Event()

    def blocking() -> bool:
        assert release.wait(5.0)
        return threading.get_ident() != loop_thread

    task = asyncio.create_task(box_of(blocking).run(call("blocking")))
    release.set()
    assert await task == "true"


class OddError(Exception):
    pass


@pytest.mark.parametrize("error", [OddError("secret"), StopIteration("secret"), TimeoutError()])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_failing_tool_is_logged_and_told_in_a_word(
    box_of: BoxOf, caplog: pytest.LogCaptureFixture, error: Exception, is_async: bool
) -> None:
    def fail() -> None:
        raise error

    async def fail_later() -> None:
        raise error

    box = box_of(Tool(fail_later if is_async else fail, name="f"))
    with caplog.at_level(logging.ERROR):
        assert json.loads(await box.run(call("f"))) == {"error": "the tool failed"}
    assert "tool f failed" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_cancellation_from_inside_is_a_failure_not_the_end(box_of: BoxOf) -> None:
    async def confused() -> None:
        raise asyncio.CancelledError

    box = box_of(confused)
    assert await box.run(call("confused")) == '{"error": "the tool failed"}'


async def test_a_slow_tool_is_given_up(box_of: BoxOf) -> None:
    release = threading.Event()

    async def endless() -> None:
        await asyncio.Event().wait()

    box = box_of(endless, Tool(release.wait, name="wait", parameters={}), timeout_s=0.05)
    results = await asyncio.gather(box.run(call("endless")), box.run(call("wait")))
    release.set()
    assert [json.loads(result)["error"] for result in results] == ["the tool took too long"] * 2


async def test_an_unknown_tool_is_told_which_exist(box_of: BoxOf) -> None:
    result = json.loads(await box_of(book).run(call("nothing")))
    assert "there are: book" in result["error"]


async def test_a_closed_box_runs_again(box_of: BoxOf) -> None:
    box = box_of(Tool(lambda: "x", name="f"))
    assert await box.run(call("f")) == "x"
    box.close()
    assert await box.run(call("f")) == "x"


def positional(x: int, /) -> None: ...
def starred(*xs: int) -> None: ...


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        ([positional], "keyword arguments"),
        ([starred], "keyword arguments"),
        ([lambda: 1], "tool name '<lambda>'"),
        ([Tool(book, name="two words")], "tool name"),
        ([book, book], "two tools are named"),
    ],
)
def test_functions_that_cannot_be_offered(tools: list[Any], problem: str) -> None:
    with pytest.raises(MisuseError, match=problem):
        ToolBox(tools)


def test_types_that_have_no_schema_are_named() -> None:
    class Local:
        pass

    def unresolved(x: Local) -> None: ...
    def odd(x: Counter, y: threading.Lock) -> None: ...  # type: ignore[valid-type]

    with pytest.raises(MisuseError, match="can't be resolved"):
        ToolBox([unresolved])
    with pytest.raises(MisuseError, match="no JSON schema"):
        ToolBox([odd])


def test_what_is_no_function_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="a function or a Tool"):
        ToolBox(["book"])  # type: ignore[list-item]


def test_without_pydantic_a_schema_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", none)
    assert len(ToolBox([Tool(book, parameters={})]).specs) == 1
    with pytest.raises(MissingLibraryError, match="pip install pydantic"):
        ToolBox([book])
