"""Tools named in a setting: what is found, and what is said if nothing is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.engines.llm.tool_loader import load_tools
from voicecore.engines.llm.tools import ToolBox
from voicecore.errors import MisuseError

SOURCE = '''
from json import dumps
from voicecore.engines.llm.tools import Tool

def weather(city: str) -> str:
    """Tell the weather of a city."""
    return "sun"

def book(hour: int) -> str:
    """Book a table."""
    return "done"

def helper(): ...

def _private():
    """Not offered."""

class Kind:
    """Not offered either."""

booking = Tool(book, uninterruptible=True)
tools = [weather, booking]
wrong = {"weather": weather}
mixed = [weather, 3]
empty = []
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "toolshed.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("1 / 0", encoding="utf-8")
    (tmp_path / "needy.py").write_text("import no_such_thing", encoding="utf-8")
    yield tmp_path
    for name in ("toolshed", "broken", "needy"):
        sys.modules.pop(name, None)


def names(target: str) -> list[str]:
    box = ToolBox(load_tools(target))
    return [spec["function"]["name"] for spec in box.specs]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("toolshed:tools", ["weather", "book"]),
        ("toolshed:weather", ["weather"]),
        ("toolshed:booking", ["book"]),
        ("toolshed", ["weather", "book"]),
    ],
)
def test_what_is_found(target: str, found: list[str]) -> None:
    assert names(target) == found


@pytest.mark.usefixtures("here")
def test_a_tool_of_a_module_keeps_what_it_says() -> None:
    assert ToolBox(load_tools("toolshed"))["book"].uninterruptible


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("toolshed:nothing", "tools_not_found", "correct the part after the colon"),
        ("no_shed:tools", "tools_not_found", "start from the directory"),
        ("no-shed", "tools_not_found", "my_tools:tools"),
        ("toolshed:", "tools_not_found", "my_tools:tools"),
        ("broken:tools", "tools_import_failed", "ZeroDivisionError"),
        ("needy", "tools_import_failed", "no_such_thing"),
        ("toolshed:wrong", "tools_wrong_kind", "is dict"),
        ("toolshed:mixed", "tools_wrong_kind", "is list"),
        ("toolshed:empty", "tools_wrong_kind", "holds no tools"),
        ("toolshed:Kind", "tools_wrong_kind", "is type"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(target: str, code: str, says: str) -> None:
    with pytest.raises(MisuseError, match=says) as caught:
        load_tools(target)
    assert caught.value.code == code


@pytest.mark.usefixtures("here")
def test_the_engine_takes_a_name() -> None:
    assert not OpenAiChat("http://h", "m", tools="toolshed:tools").speculative
    assert OpenAiChat("http://h", "m", tools="").speculative
    with pytest.raises(MisuseError, match="toolshed has no"):
        OpenAiChat("http://h", "m", tools="toolshed:x")
    named = OpenAiChat("http://h", "m", tools=["toolshed:weather", "toolshed:booking"])
    assert not named.speculative
