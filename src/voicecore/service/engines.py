"""The engines of one server: started, asked how they are, and closed together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from voicecore.engines.protocols import LlmEngine, SttEngine, TtsEngine, TurnEngine, VadEngine
from voicecore.engines.resilience.llm import ResilientLlm
from voicecore.engines.resilience.provider import ProviderHealth
from voicecore.engines.resilience.stt import ResilientStt
from voicecore.engines.resilience.tts import ResilientTts
from voicecore.engines.s2s.protocol import SpeechToSpeechEngine

PROGRESS_PERIOD_S = 2.0

Engine = SttEngine | LlmEngine | TtsEngine | VadEngine | TurnEngine | SpeechToSpeechEngine


@dataclass(frozen=True)
class Engines:
    """The engines of one server and what the agent says first.

    They are shared by all calls. ``greeting`` is the setting if given, else
    the agent's own; ``""`` lets the caller speak first. With ``s2s`` that model is the
    agent: ``stt`` and ``llm`` are neither started nor used, ``tts`` makes the apology alone.
    """

    stt: SttEngine
    llm: LlmEngine
    tts: TtsEngine
    vad: VadEngine
    greeting: str
    turn: TurnEngine | None = None
    s2s: SpeechToSpeechEngine | None = None
    _ready: set[str] = field(default_factory=set, repr=False, compare=False)

    @property
    def names(self) -> dict[str, str]:
        """The engine of each stage, for people."""
        return {stage: engine.name for stage, engine in self._stages()}

    @property
    def speculative(self) -> bool:
        """Whether the core may ask for replies in vain; an ``s2s`` sees to that itself."""
        return self.s2s is None and getattr(self.llm, "speculative", False)

    @property
    def trust_words(self) -> bool:
        """Whether what is understood of a short sound was said."""
        return self.s2s is not None or not getattr(self.stt, "coarse", False)

    async def start(self, report: Callable[[str], None]) -> None:
        """Load all at once; ``report`` gets a line for each that is there, and while waiting.

        The first failure is raised after the others have come to an end; :meth:`close`
        is then still due. Called again, it loads those that failed.
        """
        results = await asyncio.gather(
            *(
                self._start(stage, engine, report)
                for stage, engine in self._stages()
                if stage not in self._ready
            ),
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

    def health(self) -> dict[str, list[ProviderHealth]]:
        """How the engines of each stage are, those of a chain in its order.

        One that nothing watches over (a VAD, an agent of one's own) is up once it has
        started.
        """
        return {stage: self._health(stage, engine) for stage, engine in self._stages()}

    def _health(self, stage: str, engine: Engine) -> list[ProviderHealth]:
        if isinstance(engine, ResilientStt | ResilientLlm | ResilientTts):
            return engine.health()
        return [ProviderHealth(engine.name, "up" if stage in self._ready else "unknown")]

    def _stages(self) -> list[tuple[str, Engine]]:
        hearing: list[tuple[str, Engine]] = [("stt", self.stt), ("llm", self.llm)]
        agent = hearing if self.s2s is None else [("s2s", self.s2s)]
        stages = [*agent, ("tts", self.tts), ("vad", self.vad)]
        return stages if self.turn is None else [*stages, ("turn", self.turn)]

    async def _start(self, stage: str, engine: Engine, report: Callable[[str], None]) -> None:
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
        self._ready.add(stage)
        report(f"{stage} {engine.name}: ready in {time.monotonic() - began:.1f} s")
