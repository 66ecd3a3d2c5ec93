"""What docs/turns.md promises: the defaults it names, its examples of agents."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from voicecore.core.conversation import Conversation, Message
from voicecore.core.protected import Protected
from voicecore.engines.llm.callback import CallbackLlm
from voicecore.service.config import Settings
from voicecore.service.turn_fields import TurnFields

PAGE = (Path(__file__).parents[2] / "docs" / "turns.md").read_text()
DEFAULTS = dict(re.findall(r"^\| `(\w+)` \| `?(\w+)`?(?: \(.*?\))? \| ", PAGE, re.M))
AGENTS = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
HEARING = {"threshold", "start_ms", "preroll_ms", "stt_chunk_ms"}
"""Not about whose turn it is, but about what is heard."""


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_is_the_one_in_the_page(name: str) -> None:
    default = Settings.model_fields[name].default
    said: Any = DEFAULTS[name]
    if isinstance(default, bool):
        assert said == ("on" if default else "off")
    elif isinstance(default, int | float):
        assert float(said) == default
    else:
        assert said == (default or "none")


def test_every_setting_of_turns_is_in_the_page() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert TurnFields.model_fields.keys() - named == HEARING


async def reply_of(source: str) -> tuple[CallbackLlm, list[str]]:
    names: dict[str, Any] = {}
    exec(source, names)
    engine = CallbackLlm(names["agent"])
    conversation = Conversation()
    conversation.add(Message("user", "hello"))
    await engine.start()
    pieces: AsyncIterator[str] = engine.reply(conversation)
    said = [piece async for piece in pieces]
    await engine.close()
    return engine, said


async def test_the_agents_in_the_page_do_what_it_says() -> None:
    speculative, protected = AGENTS
    engine, said = await reply_of(speculative)
    assert engine.speculative
    assert said == ["You said: hello."]
    engine, said = await reply_of(protected)
    assert not engine.speculative
    assert [isinstance(piece, Protected) for piece in said] == [True, False]
