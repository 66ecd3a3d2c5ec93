"""Builds the engines that the settings name, importing no others.

Each stage takes a built-in name or ``module:Class`` of the user's own; a class
(or function) is called without arguments, an object is taken as it is.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from voicecore.engines.protocols import LlmEngine, SttEngine, TtsEngine, TurnEngine, VadEngine
from voicecore.errors import MisuseError
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError

PROGRESS_PERIOD_S = 2.0

_E = TypeVar("_E")
Engine = SttEngine | LlmEngine | TtsEngine | VadEngine | TurnEngine


@dataclass(frozen=True)
class Engines:
    """The engines of one server and what the agent says first.

    They are shared by all calls. ``greeting`` is the setting if given, else
    the agent's own; ``""`` lets the caller speak first.
    """

    stt: SttEngine
    llm: LlmEngine
    tts: TtsEngine
    vad: VadEngine
    greeting: str
    turn: TurnEngine | None = None

    @property
    def names(self) -> dict[str, str]:
        """The engine of each stage, for people."""
        return {stage: engine.name for stage, engine in self._stages()}

    async def start(self, report: Callable[[str], None]) -> None:
        """Load all at once; ``report`` gets a line for each that is there, and while waiting.

        The first failure is raised after the others have come to an end;
        :meth:`close` is then still due.
        """
        results = await asyncio.gather(
            *(_start(stage, engine, report) for stage, engine in self._stages()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        """Free all, also when one of them fails to; raises the first failure at the end."""
        results = await asyncio.gather(
            *(engine.close() for _, engine in self._stages()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _stages(self) -> list[tuple[str, Engine]]:
        stages: list[tuple[str, Engine]] = [
            ("stt", self.stt),
            ("llm", self.llm),
            ("tts", self.tts),
            ("vad", self.vad),
        ]
        return stages if self.turn is None else [*stages, ("turn", self.turn)]


async def _start(
    stage: str,
    engine: Engine,
    report: Callable[[str], None],
) -> None:
    began = time.monotonic()

    async def tell_progress() -> None:
        while True:
            await asyncio.sleep(PROGRESS_PERIOD_S)
            report(f"{stage} {engine.name}: still loading, {time.monotonic() - began:.0f} s")

    progress = asyncio.create_task(tell_progress())
    try:
        await engine.start()
    finally:
        progress.cancel()
        await asyncio.gather(progress, return_exceptions=True)
    report(f"{stage} {engine.name}: ready in {time.monotonic() - began:.1f} s")


def build_engines(settings: Settings) -> Engines:
    """The engines, not yet started. Raises ConfigError or MissingLibraryError."""
    try:
        llm = _build_llm(settings)
        return Engines(
            stt=_build_stt(settings),
            llm=llm,
            tts=_build_tts(settings),
            vad=_build_vad(settings),
            greeting=llm.greeting if settings.greeting is None else settings.greeting,
            turn=_build_turn(settings),
        )
    except ConfigError:
        raise
    except MisuseError as error:
        # An engine knows the limits of its parameters better than the settings do.
        raise ConfigError([str(error)]) from error


def _build_stt(settings: Settings) -> SttEngine:
    if settings.stt == "pocketsphinx":
        from voicecore.engines.stt.pocketsphinx import PocketsphinxStt

        return PocketsphinxStt(workers=settings.stt_worker_count)
    if settings.stt == "stub":
        from voicecore.engines.stt.stub import SttStub

        return SttStub(settings.stub_stt_text)
    return _custom("stt", settings.stt, SttEngine)  # type: ignore[type-abstract]


def _build_llm(settings: Settings) -> LlmEngine:
    if settings.agent:
        from voicecore.engines.llm.callback import load_agent

        return load_agent(settings.agent)
    if settings.llm == "responder":
        from voicecore.engines.llm.responder import Responder

        return Responder()
    if settings.llm == "stub":
        from voicecore.engines.llm.stub import LlmStub

        return LlmStub()
    if settings.llm == "openai":
        from voicecore.engines.llm.openai_chat import OpenAiChat

        return OpenAiChat(
            url=settings.llm_url,
            model=settings.llm_model,
            key=settings.llm_key.get_secret_value(),
            system_prompt=settings.llm_system_prompt,
            greeting=settings.greeting or "",
        )
    return _custom("llm", settings.llm, LlmEngine)  # type: ignore[type-abstract]


def _build_tts(settings: Settings) -> TtsEngine:
    if settings.tts == "espeak":
        from voicecore.engines.tts.espeak import EspeakTts

        return EspeakTts(
            voice=settings.tts_voice,
            speed_wpm=settings.tts_speed_wpm,
            workers=settings.tts_workers,
        )
    if settings.tts == "flite":
        from voicecore.engines.tts.flite import FliteTts

        return FliteTts()
    if settings.tts == "stub":
        from voicecore.engines.tts.stub import TtsStub

        return TtsStub(settings.stub_tts_seconds, settings.stub_tts_lead_ms)
    return _custom("tts", settings.tts, TtsEngine)  # type: ignore[type-abstract]


def _build_vad(settings: Settings) -> VadEngine:
    if settings.vad == "silero":
        from voicecore.engines.vad.silero import SileroVad

        return SileroVad(settings.vad_model_path, backend=settings.vad_backend)
    if settings.vad == "energy":
        from voicecore.engines.vad.energy import EnergyVad

        return EnergyVad()
    return _custom("vad", settings.vad, VadEngine)  # type: ignore[type-abstract]


def _build_turn(settings: Settings) -> TurnEngine | None:
    if not settings.turn:
        return None
    kind, _, path = settings.turn.partition(":")
    if kind == "onnx":
        from voicecore.engines.turn.onnx import OnnxTurn

        return OnnxTurn(path)
    return _custom("turn", settings.turn, TurnEngine)  # type: ignore[type-abstract]


def _custom(stage: str, spec: str, protocol: type[_E]) -> _E:
    """The user's own engine for ``stage``, checked to have what a call will need."""
    module_name, _, path = spec.partition(":")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)  # as ``python -m`` does, also for the console script
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise ConfigError([f"{stage} = {spec}: {error}"]) from error
    engine = found() if isinstance(found, type) or inspect.isroutine(found) else found
    if not isinstance(engine, protocol):
        missing = [name for name in _members(protocol) if not hasattr(engine, name)]
        raise ConfigError(
            [f"{stage} = {spec}: no {protocol.__name__}, it lacks {', '.join(missing)}"]
        )
    return engine


def _members(protocol: type) -> list[str]:
    names = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return sorted(name for name in names if not name.startswith("_"))
