"""Finds a stream for an utterance: which provider, how often, for how long."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

from voicecore.engines.protocols import SttEngine, SttSession, SttStream
from voicecore.engines.resilience.chain import Chain
from voicecore.engines.resilience.policy import HearingPolicy
from voicecore.engines.resilience.provider import Provider, raised
from voicecore.errors import EngineError

_CHANCES = 2
"""To give the final text, on two connections."""
_LOOK_S = 0.25

Opener = Callable[[Provider[SttEngine]], SttSession | SttEngine]
OnPartial = Callable[[Provider[SttEngine], SttStream, str], None]


class Seeker:
    """Of one utterance. ``patient``: it may wait for a provider, for the audio is kept.

    ``on_partial(provider, stream, text)`` is told of partial texts.
    """

    def __init__(
        self,
        chain: Chain[SttEngine],
        opener: Opener,
        policy: HearingPolicy,
        random: Random,
        on_partial: OnPartial,
        *,
        patient: bool,
    ) -> None:
        self.opened_s = 0.0
        """When the newest stream was asked for."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the utterance is at its end, and somebody waits for its text."""
        self._chain = chain
        self._opener = opener
        self._policy = policy
        self._random = random
        self._on_partial = on_partial
        self._patient = patient
        self._loop = asyncio.get_running_loop()
        self._tries: Counter[Provider[SttEngine]] = Counter()
        self._failed_at_end: Counter[Provider[SttEngine]] = Counter()
        self._spent_chances: Counter[Provider[SttEngine]] = Counter()
        self._last: EngineError | None = None
        self._opening: asyncio.Timeout | None = None

    def end(self) -> None:
        """The utterance ends: what is being opened has less time now. Twice is fine."""
        if self.ended.done():
            return
        self.ended.set_result(None)
        when_s = self._loop.time() + self._policy.final_s
        if self._opening is not None and when_s < (self._opening.when() or when_s):
            self._opening.reschedule(when_s)

    async def connect(self) -> tuple[Provider[SttEngine], SttStream]:
        """A stream of the first provider that opens one.

        Tried again as long as the caller speaks, and ``final_s`` beyond; then the last
        EngineError is raised.
        """
        give_up_s = 0.0
        while True:
            provider = self._choose()
            if self.ended.done():
                give_up_s = give_up_s or self._loop.time() + self._policy.final_s
                late = self._loop.time() >= give_up_s
                if provider is None or (late and self._failed_at_end[provider]):
                    raise self._last or self._chain.all_down()
            if provider is None:
                if not self._patient:
                    raise self._last or self._chain.all_down()
                await self._pause(_LOOK_S)
                continue
            if tries := self._tries[provider]:
                await self._pause(self._policy.backoff.delay_s(tries, self._random))
            self._tries[provider] += 1
            try:
                return provider, await self._open(provider)
            except EngineError as error:
                self.failed(provider, error)
                if not self._patient:
                    raise

    def failed(
        self, provider: Provider[SttEngine], error: EngineError, *, excused: bool = False
    ) -> None:
        """A stream couldn't be opened: ``excused`` where that says nothing of the next."""
        self._last = error
        if self.ended.done():
            self._failed_at_end[provider] += 1
        (provider.broke if excused else provider.failed)(error)

    def lost(self, provider: Provider[SttEngine], error: EngineError, *, excused: bool) -> None:
        """A stream that was open broke; at the end of the utterance that costs a chance."""
        if self.ended.done():
            # One that was merely silent would be silent again.
            self._spent_chances[provider] += _CHANCES if error.code == "stt_timeout" else 1
        self.failed(provider, error, excused=excused)

    def _choose(self) -> Provider[SttEngine] | None:
        """The first that was not tried too often; once all were, the first that may be asked.

        After the end of the utterance they take turns, those with a chance left.
        """
        usable = list(self._chain.usable())
        if self.ended.done():
            left = (p for p in usable if self._spent_chances[p] < _CHANCES)
            return min(left, key=self._failed_at_end.__getitem__, default=None)
        most = self._policy.attempts
        provider = next((p for p in usable if self._tries[p] < most), None)
        return provider or (usable[0] if usable else None)

    async def _open(self, provider: Provider[SttEngine]) -> SttStream:
        limit_s = self._policy.final_s if self.ended.done() else self._policy.open_s
        self.opened_s = self._loop.time()
        self._count(provider)
        opened: list[SttStream] = []

        def on_partial(text: str) -> None:
            if opened:
                self._on_partial(provider, opened[0], text)

        try:
            async with asyncio.timeout(limit_s) as self._opening:
                opened.append(await self._opener(provider).open(on_partial))
        except TimeoutError:
            raise timed_out(provider, limit_s) from None
        except EngineError:
            raise
        except asyncio.CancelledError:
            provider.abandoned()
            raise
        except Exception as error:
            raise raised("stt", provider.name, error) from None
        finally:
            self._opening = None
        return opened[0]

    def _count(self, provider: Provider[SttEngine]) -> None:
        preferred, meter = self._chain.providers[0], self._chain.meter
        if self._tries[provider] > 1:
            meter.reconnected("stt", provider.name)
        elif provider is not preferred:
            reason = "failed" if self._tries[preferred] else "open"
            meter.fell_back("stt", preferred.name, provider.name, reason)

    async def _pause(self, wait_s: float) -> None:
        """Wait, shorter when the utterance ends meanwhile."""
        if not self.ended.done():
            await asyncio.wait([self.ended], timeout=wait_s)
        else:
            await asyncio.sleep(min(wait_s, _LOOK_S))


def timed_out(provider: Provider[SttEngine], limit_s: float) -> EngineError:
    """Nothing came of ``provider`` in time."""
    return EngineError(
        f"{provider.name}: no answer within {limit_s:g} s",
        engine=provider.name,
        code="stt_timeout",
    )
