"""Synthesisers that speak, or fail in time to say so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from random import Random

import numpy as np

from voicecore._native.resample import Resampler
from voicecore.engines.meter import EngineMeter, NoMeter
from voicecore.engines.protocols import (
    SpeechChunk,
    TtsEngine,
    TtsSession,
    TtsWithSessions,
    WordMark,
)
from voicecore.engines.resilience.chain import Chain
from voicecore.engines.resilience.first import Begun, first_item
from voicecore.engines.resilience.patience import Patience
from voicecore.engines.resilience.policy import AnswerPolicy
from voicecore.engines.resilience.provider import Provider, ProviderHealth
from voicecore.engines.resilience.pump import close
from voicecore.engines.resilience.spoken_so_far import SpokenSoFar
from voicecore.errors import EngineError


class ResilientTts:
    """A TTS engine made of one or several, the preferred one first.

    All speech comes at ``rate_hz`` of the first; that of others is resampled. A
    provider that fails in mid-sentence is followed by the next one from the word it had
    come to, where it tells word times and there is a next one; else the sentence is lost,
    EngineError. Event-loop thread only; owns the engines.
    """

    def __init__(
        self,
        engines: Sequence[TtsEngine],
        *,
        policy: AnswerPolicy | None = None,
        meter: EngineMeter | None = None,
        random: Random | None = None,
    ) -> None:
        self._policy = policy or AnswerPolicy(first_item_s=3.0, next_item_s=3.0)
        self._random = random or Random()
        self._chain: Chain[TtsEngine] = Chain(
            "tts",
            engines,
            failures=self._policy.failures,
            rest_s=self._policy.rest_s,
            meter=meter or NoMeter(),
            probe=_probe,
        )
        self.name = self._chain.name
        self.rate_hz = engines[0].rate_hz

    async def start(self) -> None:
        """See :meth:`Chain.start`."""
        await self._chain.start()

    async def close(self) -> None:
        """See :meth:`Chain.close`."""
        await self._chain.close()

    def session(self) -> ResilientTtsSession:
        """What a call needs; closed by whoever asks for it."""
        return ResilientTtsSession(self._chain, self.rate_hz, self._policy, self._random)

    async def speak(self, text: str) -> AsyncGenerator[SpeechChunk, None]:
        """As :meth:`TtsEngine.speak`, outside of a call: with a session for this text alone."""
        session = self.session()
        try:
            async with aclosing(session.speak(text)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await session.close()

    def health(self) -> list[ProviderHealth]:
        """Of each engine, in order."""
        return self._chain.health()


class ResilientTtsSession:
    """One call's. Sessions of engines that are not asked are not made."""

    def __init__(
        self, chain: Chain[TtsEngine], rate_hz: int, policy: AnswerPolicy, random: Random
    ) -> None:
        """Made by :meth:`ResilientTts.session`."""
        self._chain = chain
        self._rate_hz = rate_hz
        self._policy = policy
        self._random = random
        self._sessions: dict[Provider[TtsEngine], TtsSession] = {}
        self._resamplers: dict[Provider[TtsEngine], Resampler] = {}

    async def warm(self) -> None:
        """Let the engine that will be asked connect."""
        provider = next((p for p in self._chain.providers if p.is_up), None)
        session = self._session(provider) if provider is not None else None
        if session is not None:
            await session.warm()

    async def speak(self, text: str, *, answer: int = 0) -> AsyncGenerator[SpeechChunk, None]:
        """As :meth:`TtsSession.speak`, by the first engine that begins to speak."""
        said = SpokenSoFar(text)
        failed: set[Provider[TtsEngine]] = set()
        while True:
            rest = said.rest

            def ask(provider: Provider[TtsEngine], rest: str = rest) -> AsyncIterator[SpeechChunk]:
                session = self._session(provider)
                if session is None:
                    return provider.engine.speak(rest)
                return session.speak(rest, answer=answer)

            begun = await first_item(
                self._chain, ask, self._policy, self._random, frozenset(failed)
            )
            try:
                async for chunk in self._at_our_rate(begun):
                    yield said.add(chunk)
                return
            except EngineError as error:
                begun.provider.failed(error)
                failed.add(begun.provider)
                if not said.break_off() or len(failed) == len(self._chain.providers):
                    raise
                if not said.rest.strip():
                    return
            finally:
                await close(begun.stream)

    async def close(self) -> None:
        """Close the engines' sessions. Twice is fine."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def _chunks(
        self, begun: Begun[TtsEngine, SpeechChunk]
    ) -> AsyncGenerator[SpeechChunk, None]:
        if begun.item is None:
            return
        yield begun.item
        async with Patience(
            self._policy.next_item_s, begun.provider.name, "tts_timeout"
        ) as patience:
            while (chunk := await patience.next(begun.stream)) is not None:
                yield chunk

    async def _at_our_rate(
        self, begun: Begun[TtsEngine, SpeechChunk]
    ) -> AsyncGenerator[SpeechChunk, None]:
        from_hz, to_hz = begun.provider.engine.rate_hz, self._rate_hz
        resampler = self._resampler(begun.provider)
        async for chunk in self._chunks(begun):
            if resampler is None:
                yield chunk
            else:
                words = tuple(_at_rate(mark, from_hz, to_hz) for mark in chunk.words)
                yield SpeechChunk(resampler.process(chunk.pcm), words)
        if resampler is not None:
            rest = resampler.flush()
            yield SpeechChunk(np.ascontiguousarray(rest))

    def _session(self, provider: Provider[TtsEngine]) -> TtsSession | None:
        if provider not in self._sessions and isinstance(provider.engine, TtsWithSessions):
            self._sessions[provider] = provider.engine.session()
        return self._sessions.get(provider)

    def _resampler(self, provider: Provider[TtsEngine]) -> Resampler | None:
        """One for each provider of another rate; making it takes a millisecond."""
        from_hz = provider.engine.rate_hz
        if from_hz == self._rate_hz:
            return None
        if provider not in self._resamplers:
            self._resamplers[provider] = Resampler(from_hz, self._rate_hz)
        resampler = self._resamplers[provider]
        resampler.reset()
        return resampler


def _at_rate(mark: WordMark, from_hz: int, to_hz: int) -> WordMark:
    end = None if mark.end is None else mark.end * to_hz // from_hz
    return WordMark(mark.char_start, mark.char_end, mark.sample * to_hz // from_hz, end)


async def _probe(engine: TtsEngine) -> None:
    """Ask for the beginning of a word."""
    stream = engine.speak("Yes.")
    try:
        await anext(aiter(stream), None)
    finally:
        await close(stream)
