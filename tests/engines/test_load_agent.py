"""load_agent: an agent by its name, and what is said when it can't be had."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from voicecore.core.conversation import Conversation, Message
from voicecore.engines.llm.callback import CallbackLlm, load_agent
from voicecore.engines.protocols import LlmEngine
from voicecore.errors import MisuseError


def talk(text: str = "hello") -> Conversation:
    conversation = Conversation()
    conversation.add(Message("user", text))
    return conversation


async def collect(engine: LlmEngine, conversation: Conversation | None = None) -> list[str]:
    return [piece async for piece in engine.reply(conversation or talk())]


Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the current directory, which is a fresh one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != ""])
    before = set(sys.modules)

    def write(name: str, source: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = """
async def agent(conversation):
    yield "hi"
agent.greeting = "Welcome."

class Agent:
    def reply(self, conversation):
        return "hi"

class Needy(Agent):
    def __init__(self, key): ...

class Broken(Agent):
    def __init__(self): raise RuntimeError("no key")

class Spaces: pass
Spaces.inner = agent
made = Needy(1)
number = 7
"""


@pytest.mark.parametrize("name", ["agent", "Agent", "made", "Spaces.inner"])
async def test_agents_load_from_the_current_directory(write: Write, name: str) -> None:
    write("vc_agent_a.py", GOOD)
    engine = load_agent(f"vc_agent_a:{name}")
    await engine.start()
    assert await collect(engine) == ["hi"]
    await engine.close()
    assert engine.greeting == ("Welcome." if name in ("agent", "Spaces.inner") else "")


async def test_agents_load_from_a_package(write: Write) -> None:
    write("vc_agent_pkg/__init__.py", "")
    write("vc_agent_pkg/inner.py", GOOD)
    assert load_agent("vc_agent_pkg.inner:agent").greeting == "Welcome."


def test_a_whole_engine_is_taken_as_it_is(write: Write) -> None:
    write(
        "vc_agent_b.py",
        """
        class Engine:
            name, greeting = "own", "Hi"
            async def start(self): ...
            async def close(self): ...
            async def reply(self, conversation): yield "x"

        class Lookalike(Engine):
            def start(self): ...

        engine = Engine()
        """,
    )
    assert load_agent("vc_agent_b:engine") is sys.modules["vc_agent_b"].engine
    assert load_agent("vc_agent_b:Engine").name == "own"
    assert isinstance(load_agent("vc_agent_b:Lookalike"), CallbackLlm)


@pytest.mark.parametrize(
    ("target", "code", "text"),
    [
        ("vc_agent_c", "agent_not_found", "my_agent:agent"),
        ("vc_agent_c.py:agent", "agent_not_found", "without .py"),
        ("./vc_agent_c:agent", "agent_not_found", "module:name"),
        ("vc_agent_c:", "agent_not_found", "module:name"),
        (":agent", "agent_not_found", "module:name"),
        ("vc_agent_c:a:b", "agent_not_found", "module:name"),
        ("no_such_vc_agent:agent", "agent_not_found", "no module no_such_vc_agent in /"),
        ("no_such_vc_agent.inner:agent", "agent_not_found", "no module no_such_vc_agent.inner"),
        ("vc_agent_c:agnet", "agent_not_found", "has no agnet; it has Agent, Broken, Needy"),
        ("vc_agent_c:Spaces.outer", "agent_not_found", "has no Spaces.outer"),
        ("vc_agent_empty:agent", "agent_not_found", "defines no function or class"),
        ("vc_agent_c:number", "agent_wrong_kind", "not int"),
        ("vc_agent_c:Needy", "agent_wrong_kind", "agent = Needy(…)"),
        ("vc_agent_c:Spaces", "agent_wrong_kind", "not Spaces"),
        ("vc_agent_c:Broken", "agent_import_failed", "RuntimeError: no key"),
        ("vc_agent_needs:agent", "agent_import_failed", "needs the module no_such_vc_library"),
        ("vc_agent_raises:agent", "agent_import_failed", "ZeroDivisionError"),
        ("vc_agent_exits:agent", "agent_import_failed", "SystemExit"),
        ("vc_agent_syntax:agent", "agent_import_failed", "SyntaxError"),
    ],
)
def test_what_cannot_be_loaded_says_what_to_do(
    write: Write, target: str, code: str, text: str
) -> None:
    write("vc_agent_c.py", GOOD)
    write("vc_agent_empty.py", "number = 7\n")
    write("vc_agent_needs.py", "import no_such_vc_library\n")
    write("vc_agent_raises.py", "1 / 0\n")
    write("vc_agent_exits.py", "import sys; sys.exit(1)\n")
    write("vc_agent_syntax.py", "def\n")
    with pytest.raises(MisuseError) as caught:
        load_agent(target)
    assert caught.value.code == code
    assert text in str(caught.value)
