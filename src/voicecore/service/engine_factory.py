"""Builds the engines that the settings name, importing no others.

Each stage takes names of the catalogue, of plugins, or ``module:Class`` of the user's
own: a class (or function) is called with its options, an object is taken as it is. What
can't be built is told for all stages at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from voicecore.engines.catalogue import find_engine
from voicecore.engines.constructor import is_made
from voicecore.engines.llm.stub import LlmStub
from voicecore.engines.meter import EngineMeter
from voicecore.engines.protocols import LlmEngine, SttEngine, TtsEngine, TurnEngine, VadEngine
from voicecore.engines.resilience.llm import ResilientLlm
from voicecore.engines.resilience.policy import AnswerPolicy, HearingPolicy
from voicecore.engines.resilience.stt import ResilientStt
from voicecore.engines.resilience.tts import ResilientTts
from voicecore.engines.s2s.protocol import SpeechToSpeechEngine
from voicecore.engines.stt.stub import SttStub
from voicecore.errors import MissingLibraryError, MisuseError
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.engine_options import look_at
from voicecore.service.engines import Engines
from voicecore.service.secret_text import masked

__all__ = ["Engines", "build_engines"]

_E = TypeVar("_E")


def build_engines(settings: Settings, meter: EngineMeter | None = None) -> Engines:
    """The engines, not yet started; ``meter`` counts what becomes of their attempts.

    Raises ConfigError with all that has to be mended: options, keys, packages, files.
    """
    builder = _Builder(settings)
    s2ss = builder.chain("s2s", SpeechToSpeechEngine)  # type: ignore[type-abstract]
    llms, stts = builder.talkers()
    ttss = builder.chain("tts", TtsEngine)  # type: ignore[type-abstract]
    vads = builder.chain("vad", VadEngine)  # type: ignore[type-abstract]
    turns = builder.chain("turn", TurnEngine)  # type: ignore[type-abstract]
    if builder.problems:
        raise ConfigError(builder.problems)
    s2s = s2ss[0] if s2ss else None
    llm = _resilient_llm(llms, settings, meter)
    try:
        stt = ResilientStt(stts, policy=_hearing(settings), meter=meter)
    except MisuseError as error:
        raise ConfigError([f"stt = {settings.stt}: {error}"]) from error
    first_sound = _answering(settings, settings.tts_first_byte_timeout_s)
    return Engines(
        stt=stt,
        llm=llm,
        tts=ResilientTts(ttss, policy=first_sound, meter=meter),
        vad=vads[0],
        greeting=_greeting(settings, s2s or llm),
        turn=turns[0] if turns else None,
        s2s=s2s,
    )


def _resilient_llm(
    llms: list[LlmEngine], settings: Settings, meter: EngineMeter | None
) -> LlmEngine:
    """What may not be asked in vain may not be asked twice: it could book twice.

    Alone it is left as it is, without a watch over it that would ask it something.
    """
    harmless = all(
        getattr(llm, "speculative", False) or getattr(llm, "repeatable", False) for llm in llms
    )
    if len(llms) == 1 and not harmless:
        return llms[0]
    policy = _answering(settings, settings.llm_first_token_timeout_s)
    if not harmless:
        policy = replace(policy, attempts=1, hedge_s=0.0)
    return ResilientLlm(llms, policy=policy, meter=meter)


def _greeting(settings: Settings, agent: LlmEngine | SpeechToSpeechEngine) -> str:
    return agent.greeting if settings.greeting is None else settings.greeting


def _answering(settings: Settings, first_item_s: float) -> AnswerPolicy:
    return AnswerPolicy(
        first_item_s=first_item_s,
        hedge_s=settings.engine_hedge_ms / 1000.0,
        rest_s=settings.engine_retry_s,
    )


def _hearing(settings: Settings) -> HearingPolicy:
    return HearingPolicy(
        final_s=settings.stt_final_timeout_s,
        stall_s=settings.engine_stall_s,
        rest_s=settings.engine_retry_s,
    )


@dataclass
class _Builder:
    """Makes engines and gathers what keeps others from being made."""

    settings: Settings
    problems: list[str] = field(default_factory=list)

    def chain(self, stage: str, protocol: type[_E]) -> list[_E]:
        """Those that can be made, in their order."""
        made = []
        for name in self.settings.chain(stage):
            engine, problems = self._make(stage, name, protocol)
            self.problems += [f"{stage} = {name}: {problem}" for problem in problems]
            if engine is not None:
                made.append(engine)
        return made

    def talkers(self) -> tuple[list[LlmEngine], list[SttEngine]]:
        """Who answers, and who hears.

        A speech-to-speech model does both: what stands here then is never started.
        """
        if self.settings.s2s:
            return [LlmStub()], [SttStub()]
        stts = self.chain("stt", SttEngine)  # type: ignore[type-abstract]
        if self.settings.agent:
            return self._agent(), stts
        return self.chain("llm", LlmEngine), stts  # type: ignore[type-abstract]

    def _agent(self) -> list[LlmEngine]:
        """The user's own agent, alone."""
        from voicecore.engines.llm.callback import load_agent

        try:
            return [load_agent(self.settings.agent)]
        except MisuseError as error:
            self.problems.append(str(error))
            return []

    def _make(self, stage: str, name: str, protocol: type[_E]) -> tuple[_E | None, list[str]]:
        entry = find_engine(stage, name)
        if entry is None:
            return None, ["there is no such engine; --engines lists them"]
        look = look_at(entry, self.settings)
        if look.problems:
            return None, list(look.problems)
        try:
            engine: Any = look.found(**look.values) if is_made(look.found) else look.found
        except (MisuseError, MissingLibraryError) as error:
            # An engine knows the limits of its parameters better than the settings do.
            return None, [masked(str(error))]
        except Exception as error:
            return None, [masked(f"can't be made: {type(error).__name__}: {error}")]
        if not isinstance(engine, protocol):
            lacks = [member for member in _members(protocol) if not hasattr(engine, member)]
            return None, [f"no {protocol.__name__}, it lacks {', '.join(lacks)}"]
        return engine, []


def _members(protocol: type) -> list[str]:
    names = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return sorted(name for name in names if not name.startswith("_"))
