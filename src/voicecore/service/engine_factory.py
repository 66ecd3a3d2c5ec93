"""Builds the engines that the settings name, importing no others.

Each stage takes names of the catalogue, of plugins, or ``module:Class`` of the user's
own: a class (or function) is called with its options, an object is taken as it is. What
can't be built is told for all stages at once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from voicecore.engines.catalogue import find_engine, is_target
from voicecore.engines.constructor import is_made
from voicecore.engines.protocols import LlmEngine, SttEngine, TtsEngine, TurnEngine, VadEngine
from voicecore.errors import MissingLibraryError, MisuseError
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.engine_options import look_at
from voicecore.service.engines import Engines
from voicecore.service.secret_text import without

__all__ = ["Engines", "build_engines"]

_E = TypeVar("_E")


def build_engines(settings: Settings) -> Engines:
    """The engines, not yet started.

    Raises ConfigError with all that has to be mended: options, keys, packages, files.
    """
    builder = _Builder(settings)
    llms = builder.agent() if settings.agent else builder.chain("llm", LlmEngine)  # type: ignore[type-abstract]
    stts = builder.chain("stt", SttEngine)  # type: ignore[type-abstract]
    ttss = builder.chain("tts", TtsEngine)  # type: ignore[type-abstract]
    vads = builder.chain("vad", VadEngine)  # type: ignore[type-abstract]
    turns = builder.chain("turn", TurnEngine)  # type: ignore[type-abstract]
    if builder.problems:
        raise ConfigError(builder.problems)
    llm = llms[0]
    return Engines(
        stt=stts[0],
        llm=llm,
        tts=ttss[0],
        vad=vads[0],
        greeting=llm.greeting if settings.greeting is None else settings.greeting,
        turn=turns[0] if turns else None,
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

    def agent(self) -> list[LlmEngine]:
        """The user's own agent, alone."""
        from voicecore.engines.llm.callback import load_agent

        try:
            return [load_agent(self.settings.agent)]
        except MisuseError as error:
            self.problems.append(str(error))
            return []

    def _make(self, stage: str, name: str, protocol: type[_E]) -> tuple[_E | None, list[str]]:
        if is_target(name):
            _see_the_current_directory()
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
            return None, [without(str(error), look.secrets)]
        except Exception as error:
            told = f"can't be made: {type(error).__name__}: {error}"
            return None, [without(told, look.secrets)]
        if not isinstance(engine, protocol):
            lacks = [member for member in _members(protocol) if not hasattr(engine, member)]
            return None, [f"no {protocol.__name__}, it lacks {', '.join(lacks)}"]
        return engine, []


def _see_the_current_directory() -> None:
    """As ``python -m`` does, also for the console script."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _members(protocol: type) -> list[str]:
    names = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return sorted(name for name in names if not name.startswith("_"))
