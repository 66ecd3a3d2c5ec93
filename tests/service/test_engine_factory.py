"""Engines from settings: which are built, imported, started and closed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from fakes.distribution import install, install_acme
from voicecore.core.conversation import Conversation
from voicecore.engines.protocols import SpeechChunk
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


class FailingLlm(OwnLlm):
    asked = 0

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        FailingLlm.asked += 1
        raise EngineError("no answer", engine="own")
        yield ""


class OwnStt(SttStub):
    name = "own stt"


class Stt8k(SttStub):
    name = "own 8k"

    def __init__(self) -> None:
        super().__init__(rate_hz=8000)


class BrokenTts(TtsStub):
    name = "broken"

    async def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        raise EngineError("no voice", engine="broken", code="tts_key", permanent=True)
        yield SpeechChunk(np.zeros(0, np.int16))


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


async def test_stubs_take_their_parameters() -> None:
    engines = build(
        stub_stt_text="what time is it",
        stub_tts_seconds=1,
        stub_tts_lead_ms=50,
        engine={"stub": {"rate_hz": 16_000}},
    )
    await engines.start(lambda line: None)
    stream = await engines.stt.open(lambda text: None)
    assert await stream.finish() == "what time is it"
    assert engines.tts.rate_hz == 16_000
    pcm = np.concatenate([chunk.pcm async for chunk in engines.tts.speak("hello")])
    assert len(pcm) == 16_000 + 800
    assert isinstance(engines.vad, EnergyVad)
    assert engines.names == {"stt": "stub", "llm": "stub", "tts": "stub", "vad": "energy"}
    await engines.close()


def test_a_chain_is_one_engine_with_the_names_of_all() -> None:
    engines = build(stt="stub,own_engines:OwnStt", tts=["espeak", "stub"])
    assert engines.names["stt"] == "stub,own stt"
    assert engines.names["tts"] == "espeak,stub"


async def test_the_next_of_a_chain_takes_over() -> None:
    engines = build(tts="own_engines:BrokenTts,stub", stub_tts_seconds=0.1)
    await engines.start(lambda line: None)
    pcm = np.concatenate([chunk.pcm async for chunk in engines.tts.speak("hello")])
    assert len(pcm) == 2400
    assert engines.health()["tts"][0].state == "down"
    assert "no voice" in engines.health()["tts"][0].reason
    await engines.close()


async def test_what_may_not_be_asked_in_vain_is_left_as_it_is() -> None:
    alone = build(llm="own_engines:OwnLlm").llm
    assert isinstance(alone, OwnLlm)
    lines: list[str] = []
    engines = build(llm="own_engines:FailingLlm,stub")
    await engines.start(lines.append)
    said = [piece async for piece in engines.llm.reply(Conversation())]
    assert said
    assert FailingLlm.asked == 1, "asking it again could do twice what it does"
    await engines.close()


def test_with_a_speech_to_speech_model_nobody_else_hears_or_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key-1")
    engines = build(s2s="openai-realtime", stt="own_engines:NoEngine", llm="no_such_module:X")
    assert engines.s2s is not None
    assert engines.names == {"s2s": "openai-realtime", "tts": "stub", "vad": "energy"}
    assert build(s2s="openai-realtime", greeting="Hello.").greeting == "Hello."
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="s2s = openai-realtime: needs its API"):
        build(s2s="openai-realtime")


def test_all_problems_of_all_stages_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        build(
            stt="deepgram,own_engines:NoEngine",
            llm="no_such_module:Thing",
            tts="espeak",
            engine={"espeak": {"pitsch": 5, "workers": "x"}, "deepgram": {"key": ""}},
        )
    text = "\n".join(caught.value.problems)
    for sentence in (
        "stt = deepgram: ",
        "stt = own_engines:NoEngine: no SttEngine, it lacks",
        "llm = no_such_module:Thing: can't be imported: No module named 'no_such_module'",
        "tts = espeak: there is no option espeak.pitsch; did you mean pitch?",
        "tts = espeak: engine.espeak.workers: wants a whole number, given 'x'",
    ):
        assert sentence in text


def test_a_chat_model_without_a_name_is_told_with_whatever_else_is_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        build(stt="own_engines:NoEngine", llm="openai", llm_url="http://localhost:1/v1")
    no_engine, no_model = sorted(caught.value.problems, reverse=True)
    assert no_engine.startswith("stt = own_engines:NoEngine: ")
    assert no_model == (
        "llm = openai: needs model, its name at that server: give llm_model or"
        " --engine openai.model=..."
    )
    with pytest.raises(ConfigError, match="model's name is empty"):
        build(llm="openai", llm_url="http://localhost:1/v1", engine={"openai": {"model": ""}})


def test_an_engines_own_limits_are_problems_too() -> None:
    with pytest.raises(ConfigError, match=r"tts = espeak: .*pitch must be 0..99"):
        build(tts="espeak", engine={"espeak": {"pitch": 100}})
    with pytest.raises(ConfigError, match="stt = own_engines:Stt8k: own 8k wants 8000 Hz"):
        build(stt="own_engines:Stt8k")


def test_a_plugin_is_chosen_by_its_name(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_acme(packages)
    monkeypatch.setenv("ACME_API_KEY", "acme-key-1")
    engines = build(stt="acme,stub", tts="acme", engine={"acme": {"threads": 4, "voice": "bert"}})
    assert engines.names["stt"] == "acme,stub"
    monkeypatch.delenv("ACME_API_KEY")
    with pytest.raises(ConfigError) as caught:
        build(stt="acme", tts="acme")
    assert len(caught.value.problems) == 2


def test_a_plugin_that_breaks_harms_only_who_chooses_it(packages: Path) -> None:
    points = {"voicecore.stt": {"bad": "bad_plugin:Stt"}}
    install(packages, "bad", points, {"bad_plugin": "raise RuntimeError('not today')"})
    assert build().names["stt"] == "stub"
    with pytest.raises(ConfigError, match="stt = bad: can't be imported: RuntimeError: not today"):
        build(stt="bad,stub")


def test_a_turn_model_by_either_way(tmp_path: Path) -> None:
    model = tmp_path / "turn.onnx"
    model.write_bytes(b"not looked at yet")
    for changes in (
        {"turn": f"onnx:{model}"},
        {"turn": "onnx", "engine": {"onnx": {"path": str(model)}}},
    ):
        assert build(**changes).turn is not None
    with pytest.raises(ConfigError, match="needs path, the model: give turn = onnx:FILE or"):
        build(turn="onnx")


def test_the_older_settings_reach_the_chat_engine() -> None:
    llm = {"llm_url": "http://localhost:1/v1", "llm_model": "m", "llm": "openai"}
    assert build(**llm, greeting="Hello.").llm.greeting == "Hello."
    with pytest.raises(ConfigError) as caught:
        build(**llm, llm_key="snow\u2603man")
    assert "snow" not in "".join(caught.value.problems)


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
