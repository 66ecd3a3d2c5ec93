"""The engines of docs/engines/write-your-own.md, as they stand there, keep their promises."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from voicecore.core.conversation import Conversation, Message
from voicecore.testing import check_engine
from voicecore.testing.__main__ import main

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "engines" / "write-your-own.md"
EXAMPLES = {
    name: code
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for name in re.findall(r"\A# (\w+)\.py\n", code)
}


@pytest.fixture
def example(monkeypatch):
    def load(name):
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(EXAMPLES[name], f"{name}.py", "exec"), vars(module))
        return module

    return load


@pytest.mark.parametrize(
    ("stage", "module", "engine"),
    [
        ("stt", "shop_stt", "BurstStt"),
        ("llm", "shop_llm", "ShopLlm"),
        ("tts", "shop_tts", "BeepTts"),
    ],
)
async def test_the_examples_pass_the_kit(example, stage, module, engine):
    assert len(EXAMPLES[module].splitlines()) < 60
    report = await check_engine(stage, getattr(example(module), engine))
    told = {result.check.name: result.reason for result in report.failed}
    assert told == {}, str(report)


async def test_bursts_are_heard_where_they_are(example):
    engine = example("shop_stt").BurstStt(loudness=500)
    stream = await engine.open(str)
    for level in (0, 600, 0, 400, 700):
        stream.push(np.full(1600, level, np.int16))
    text = await stream.finish()
    assert text == "beep beep"
    assert [(word.start_ms, word.end_ms) for word in text.words] == [(100, 200), (400, 500)]


async def test_the_shop_answers(example):
    engine = example("shop_llm").ShopLlm()
    await engine.start()
    conversation = Conversation()
    conversation.add(Message("user", "On Sunday too?"))
    answer = "".join([piece async for piece in engine.reply(conversation)])
    assert answer == "We are open from nine to five on Sundays, too."


def test_the_command_of_the_page_works(example, capsys):
    example("shop_stt")
    command = "shop_stt:BurstStt --stage stt --engine-option loudness=500"
    assert command in PAGE.read_text(encoding="utf-8")
    assert main(command.split()) == 0
    assert "bursts" in capsys.readouterr().out
