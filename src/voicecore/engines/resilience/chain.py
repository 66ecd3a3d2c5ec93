"""The engines of one stage, the preferred one first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Generic

from voicecore.engines.meter import EngineMeter
from voicecore.engines.resilience.breaker import CircuitBreaker
from voicecore.engines.resilience.provider import E, Provider, ProviderHealth
from voicecore.errors import EngineError, MisuseError


class Chain(Generic[E]):
    """Owns the engines it is given: starts and closes them."""

    def __init__(
        self,
        stage: str,
        engines: Sequence[E],
        *,
        failures: int,
        rest_s: float,
        meter: EngineMeter,
        probe: Callable[[E], Awaitable[None]],
    ) -> None:
        if not engines:
            raise MisuseError(f"{stage}: there is no engine")
        self.stage = stage
        self.meter = meter
        self._was_started = False
        self.providers = [
            Provider(stage, engine, CircuitBreaker(failures=failures, rest_s=rest_s), meter, probe)
            for engine in engines
        ]

    @property
    def name(self) -> str:
        """As in the setting: ``"deepgram,pocketsphinx"``."""
        return ",".join(provider.name for provider in self.providers)

    async def start(self) -> None:
        """Start all at once. One that can't be reached is tried again later, by itself.

        Raises what one of them raised other than EngineError (a missing library), and
        an EngineError if none could be started.
        """
        self._was_started = True
        results = await asyncio.gather(
            *(provider.start() for provider in self.providers), return_exceptions=True
        )
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in errors:
            if not isinstance(error, EngineError) or len(errors) == len(self.providers):
                raise error

    async def close(self) -> None:
        """Free all, also when one of them fails to; raises the first failure at the end."""
        results = await asyncio.gather(
            *(provider.close() for provider in self.providers), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def usable(self) -> Iterator[Provider[E]]:
        """Those that may be asked now, in order, each looked at when it is its turn.

        One whose circuit is not closed is asked by its own prober, and by a call only
        where there is no other. Raises MisuseError before :meth:`start`.
        """
        if not self._was_started:
            raise MisuseError(f"{self.stage} {self.name}: start() first")
        any_up = any(provider.is_up for provider in self.providers)
        for provider in self.providers:
            if provider.is_up if any_up else provider.allows():
                yield provider

    def all_down(self) -> EngineError:
        """What is told when none may be asked."""
        reasons = "; ".join(health.reason or health.engine for health in self.health())
        return EngineError(
            f"no {self.stage} engine works: {reasons}",
            engine=self.name,
            code=f"{self.stage}_down",
        )

    def health(self) -> list[ProviderHealth]:
        """Of each provider, in order."""
        return [provider.health() for provider in self.providers]
