"""One engine of a chain: whether it works, and what is told of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from voicecore.engines.meter import EngineMeter
from voicecore.engines.protocols import LlmEngine, SttEngine, TtsEngine
from voicecore.engines.resilience.breaker import Circuit, CircuitBreaker
from voicecore.errors import EngineError

_LOG = logging.getLogger(__name__)
_LOOK_S = 1.0
"""How often is looked whether an open circuit has rested."""

E = TypeVar("E", bound=SttEngine | LlmEngine | TtsEngine)


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """``unknown``: nobody has asked it anything yet. ``reason``: the last error, for people."""

    engine: str
    state: Literal["up", "down", "unknown"]
    reason: str = ""


class Provider(Generic[E]):
    """Belongs to the event loop and to one chain, which closes it.

    ``probe(engine)`` asks the engine for something small; while the circuit is open it
    is asked from time to time, so that a provider that works again is used again, also
    where nobody calls.
    """

    def __init__(
        self,
        stage: str,
        engine: E,
        breaker: CircuitBreaker,
        meter: EngineMeter,
        probe: Callable[[E], Awaitable[None]],
    ) -> None:
        self.engine = engine
        self.name = engine.name
        self.meter = meter
        self.stage = stage
        self._breaker = breaker
        self._probe = probe
        self._started = False
        self._reason = ""
        self._known = False
        self._prober: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the engine. An EngineError opens the circuit and is raised."""
        try:
            await self.engine.start()
        except EngineError as error:
            self._take(error, self._breaker.trip)
            raise
        self._started = True

    async def close(self) -> None:
        """Stop asking, close the engine."""
        prober, self._prober = self._prober, None
        if prober is not None:
            prober.cancel()
            await asyncio.gather(prober, return_exceptions=True)
        await self.engine.close()

    @property
    def is_up(self) -> bool:
        """Whether it may be asked, as far as is known; makes no probe of the asking."""
        return self._started and self._breaker.state is Circuit.CLOSED

    def allows(self) -> bool:
        """Whether it may be asked now; see :meth:`CircuitBreaker.allows`."""
        if not self._started or not self._breaker.allows(_now_s()):
            return False
        if self._breaker.state is Circuit.PROBING:
            self.meter.circuit(self.stage, self.name, Circuit.PROBING.value)
        return True

    def succeeded(self) -> None:
        """It gave what was asked for."""
        self._known = True
        if self._breaker.state is not Circuit.CLOSED:
            _LOG.warning("%s %s works again", self.stage, self.name)
            self.meter.circuit(self.stage, self.name, Circuit.CLOSED.value)
        self._breaker.succeeded()

    def abandoned(self) -> None:
        """Nobody waits for what was asked any more."""
        self._breaker.abandoned()

    def failed(self, error: EngineError) -> None:
        """An attempt failed."""
        self._take(error, self._breaker.failed)

    def broke(self, error: EngineError) -> None:
        """A connection that had worked ended: no reason not to ask for another."""
        self._reason = str(error)
        self.meter.failed(self.stage, self.name, error.code)

    def health(self) -> ProviderHealth:
        """For ``/readyz``."""
        if self._breaker.state is not Circuit.CLOSED:
            return ProviderHealth(self.name, "down", self._reason)
        return ProviderHealth(self.name, "up" if self._known else "unknown")

    def _take(self, error: EngineError, tell: Callable[[EngineError, float], None]) -> None:
        self._known = True
        self._reason = str(error)
        self.meter.failed(self.stage, self.name, error.code)
        was = self._breaker.state
        tell(error, _now_s())
        if self._breaker.state is Circuit.OPEN and was is not Circuit.OPEN:
            _LOG.warning("%s %s is left alone for now: %s", self.stage, self.name, error)
            self.meter.circuit(self.stage, self.name, Circuit.OPEN.value)
            if self._prober is None:
                loop = asyncio.get_running_loop()
                # For all calls, not for the one that happened to notice.
                self._prober = loop.create_task(
                    self._ask_again(), name=f"probe-{self.name}", context=Context()
                )

    async def _ask_again(self) -> None:
        while self._breaker.state is not Circuit.CLOSED:
            wait_s = max(self._breaker.rests_until_s - _now_s(), _LOOK_S)
            await asyncio.sleep(wait_s)
            with suppress(EngineError):
                if not self._started:
                    await self.start()
                if self._breaker.allows(_now_s()):
                    await self._ask()
        self._prober = None

    async def _ask(self) -> None:
        try:
            await self._probe(self.engine)
        except EngineError as error:
            self.failed(error)
        except asyncio.CancelledError:
            self.abandoned()
            raise
        except Exception as error:
            self.failed(raised(self.stage, self.name, error))
        else:
            self.succeeded()


def raised(stage: str, name: str, error: Exception) -> EngineError:
    """An engine raised what it should not: told as an EngineError, logged with its traceback."""
    _LOG.error("%s %s raised", stage, name, exc_info=error)
    return EngineError(
        f"{name} raised {type(error).__name__}; the log has the traceback",
        engine=name,
        code=f"{stage}_raised",
    )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
