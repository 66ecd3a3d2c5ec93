"""Recognisers that understand, or fail in time to say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from voicecore.engines.meter import EngineMeter, NoMeter
from voicecore.engines.protocols import (
    RemoteSttStream,
    SttEngine,
    SttSession,
    SttStream,
    SttWithSessions,
)
from voicecore.engines.resilience.chain import Chain
from voicecore.engines.resilience.hearing import HeardUtterance
from voicecore.engines.resilience.policy import HearingPolicy
from voicecore.engines.resilience.provider import Provider, ProviderHealth
from voicecore.errors import MisuseError

RATE_HZ = 16_000
_PROBE_S = 0.2


class ResilientStt:
    """An STT engine made of one or several, the preferred one first.

    With a remote engine, or with several, the audio of each utterance is kept until a
    final text covers it: where a connection breaks, stalls or can't be made it is taken
    up on another one, of the same engine or of the next. ``coarse`` is what the preferred
    one is. Event-loop thread only; owns
    the engines. Raises MisuseError for an engine of another rate than 16 kHz.
    """

    def __init__(
        self,
        engines: Sequence[SttEngine],
        *,
        policy: HearingPolicy | None = None,
        meter: EngineMeter | None = None,
        random: Random | None = None,
    ) -> None:
        for engine in engines:
            if engine.rate_hz != RATE_HZ:
                raise MisuseError(
                    f"{engine.name} wants {engine.rate_hz} Hz: recognisers get {RATE_HZ} Hz"
                )
        self._policy = policy or HearingPolicy()
        self._random = random or Random()
        self._chain: Chain[SttEngine] = Chain(
            "stt",
            engines,
            failures=self._policy.failures,
            rest_s=self._policy.rest_s,
            meter=meter or NoMeter(),
            probe=_probe,
        )
        self._sessions: set[ResilientSttSession] = set()
        self.name = self._chain.name
        self.rate_hz = RATE_HZ
        self.coarse: bool = getattr(engines[0], "coarse", False)

    async def start(self) -> None:
        """See :meth:`Chain.start`."""
        await self._chain.start()

    async def close(self) -> None:
        """See :meth:`Chain.close`; sessions that are still open are closed."""
        for session in list(self._sessions):
            await session.close()
        await self._chain.close()

    def session(self, codec: str = "") -> ResilientSttSession:
        """What a call needs; closed by whoever asks for it."""
        session = ResilientSttSession(
            self._chain, codec, self._policy, self._random, self._sessions.discard
        )
        self._sessions.add(session)
        return session

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """As :meth:`SttEngine.open`, with a session for this utterance alone."""
        session = self.session()
        stream = await session.open(on_partial)
        stream.when_over(session)
        return stream

    def health(self) -> list[ProviderHealth]:
        """Of each engine, in order."""
        return self._chain.health()


class ResilientSttSession:
    """One call's. Sessions of engines that are not asked are not made."""

    def __init__(
        self,
        chain: Chain[SttEngine],
        codec: str,
        policy: HearingPolicy,
        random: Random,
        on_closed: Callable[[ResilientSttSession], None],
    ) -> None:
        """Made by :meth:`ResilientStt.session`."""
        self._chain = chain
        self._codec = codec
        self._policy = policy
        self._random = random
        self._on_closed = on_closed
        self._sessions: dict[Provider[SttEngine], SttSession] = {}
        self._utterances: set[HeardUtterance] = set()
        preferred = self._opener(chain.providers[0])
        self.encoded = isinstance(preferred, SttSession) and preferred.encoded

    async def warm(self) -> None:
        """Let the engine that will be asked connect."""
        provider = next((p for p in self._chain.providers if p.is_up), None)
        opener = self._opener(provider) if provider is not None else None
        if isinstance(opener, SttSession):
            await opener.warm()

    async def open(self, on_partial: Callable[[str], None]) -> HeardUtterance:
        """As :meth:`SttEngine.open`; with audio kept, it waits for no connection."""
        utterance = HeardUtterance(
            self._chain,
            self._opener,
            on_partial,
            self._policy,
            self._random,
            keeps_audio=len(self._chain.providers) > 1 or bool(self._sessions),
            on_over=self._utterances.discard,
        )
        self._utterances.add(utterance)
        await utterance.begin()
        return utterance

    async def close(self) -> None:
        """Give up what is under way, close the engines' sessions. Twice is fine."""
        for utterance in list(self._utterances):
            await utterance.cancel()
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()
        self._on_closed(self)

    def _opener(self, provider: Provider[SttEngine]) -> SttSession | SttEngine:
        """What opens a stream: the engine's session for this call, else the engine."""
        if provider not in self._sessions and isinstance(provider.engine, SttWithSessions):
            self._sessions[provider] = provider.engine.session(self._codec)
        return self._sessions.get(provider, provider.engine)


async def _probe(engine: SttEngine) -> None:
    """Let it listen to a moment of silence.

    One that stays connected has proved itself by that, and needn't answer to silence.
    """
    stream = await engine.open(lambda text: None)
    try:
        stream.push(np.zeros(round(_PROBE_S * RATE_HZ), np.int16))
        if not isinstance(stream, RemoteSttStream):
            await stream.finish()
    finally:
        await stream.cancel()
