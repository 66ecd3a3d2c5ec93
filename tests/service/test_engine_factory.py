"""Engines from settings: which are built, imported, started and closed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from voicecore.core.conversation import Conversation
from voicecore.engines.llm.stub import LlmStub
from voicecore.engines.stt.stub import SttStub
from voicecore.engines.tts.stub import TtsStub
from voicecore.engines.vad.energy import EnergyVad
from voicecore.errors import EngineError
from voicecore.service import engines as engines_module
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.engine_factory import Engines, build_engines

STUBS = {"stt": "stub", "llm": "stub", "tts": "stub", "vad": "energy"}


class OwnLlm:
    """A user's engine; ``log`` tells what was done to all of its kind."""

    name = "own"
    greeting = "Welcome."
    log: list[str] = []  # noqa: RUF012

    async def start(self) -> None:
        self.log.append("start")

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        yield "yes"

    async def close(self) -> None:
        self.log.append("close")


class BrokenLlm(OwnLlm):
    async def start(self) -> None:
        raise EngineError("no model", engine="llm")

    async def close(self) -> None:
        raise EngineError("can't close", engine="llm")


class SlowLlm(OwnLlm):
    """Loads until the second progress line."""

    lines: list[str] = []  # noqa: RUF012
    enough = asyncio.Event()

    async def start(self) -> None:
        await self.enough.wait()


class NoEngine:
    name = "nothing"


AN_ENGINE = OwnLlm()
HERE = __name__


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest's importlib mode gives this module a name of its own; settings name it so."""
    monkeypatch.setitem(sys.modules, "own_engines", sys.modules[HERE])
    OwnLlm.log.clear()


def build(**changes: object) -> Engines:
    return build_engines(Settings(**{**STUBS, **changes}))  # type: ignore[arg-type]


def test_stubs_take_their_parameters() -> None:
    engines = build(stub_stt_text="what time is it", stub_tts_seconds=1, stub_tts_lead_ms=50)
    assert isinstance(engines.stt, SttStub)
    assert engines.stt.text == "what time is it"
    assert isinstance(engines.llm, LlmStub)
    assert isinstance(engines.tts, TtsStub)
    assert isinstance(engines.vad, EnergyVad)


def test_greeting_is_the_agents_unless_set() -> None:
    assert build(llm="own_engines:OwnLlm").greeting == "Welcome."
    assert build(llm="own_engines:OwnLlm", greeting="Hi.").greeting == "Hi."
    assert build(llm="own_engines:OwnLlm", greeting="").greeting == ""


def test_own_engine_as_class_function_or_object() -> None:
    assert isinstance(build(llm="own_engines:OwnLlm").llm, OwnLlm)
    assert build(llm="own_engines:AN_ENGINE").llm is AN_ENGINE


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("no_such_module:Thing", "no_such_module"),
        ("own_engines:Missing", "Missing"),
        ("own_engines:NoEngine", "it lacks close, greeting, reply, start"),
    ],
)
def test_wrong_own_engine_is_a_config_error(spec: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build(llm=spec)


async def test_start_reports_each_and_close_frees_each() -> None:
    engines = build(llm="own_engines:OwnLlm")
    lines: list[str] = []
    await engines.start(lines.append)
    assert len(lines) == 4
    assert any(line.startswith("llm own: ready in 0.0 s") for line in lines)
    await engines.close()
    assert OwnLlm.log == ["start", "close"]


async def test_one_failure_does_not_keep_the_others_from_ending() -> None:
    lines: list[str] = []
    engines = build(llm="own_engines:BrokenLlm")
    with pytest.raises(EngineError, match="no model"):
        await engines.start(lines.append)
    assert len(lines) == 3
    with pytest.raises(EngineError, match="can't close"):
        await engines.close()


async def test_long_loading_shows_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines_module, "PROGRESS_PERIOD_S", 0.001)
    monkeypatch.setattr(SlowLlm, "enough", asyncio.Event())
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if sum("still loading" in entry for entry in lines) == 2:
            SlowLlm.enough.set()

    await asyncio.wait_for(build(llm="own_engines:SlowLlm").start(report), 60)
    assert "llm own: still loading, 0 s" in lines
    assert lines[-1].startswith("llm own: ready")


async def test_cancelled_start_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowLlm, "enough", asyncio.Event())
    started = asyncio.Event()

    def report(line: str) -> None:
        started.set()

    task = asyncio.create_task(build(llm="own_engines:SlowLlm").start(report))
    await asyncio.wait_for(started.wait(), 60)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_only_the_chosen_engines_are_imported(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from voicecore.service.config import Settings\n"
        "from voicecore.service.engine_factory import build_engines\n"
        f"build_engines(Settings(**{STUBS!r}))\n"
        "heavy = {'onnxruntime', 'pocketsphinx', 'espeakng_loader', 'aiohttp', 'av', 'aiortc'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
