"""Language models that answer, or fail in time to say so."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from random import Random

from voicecore.core.conversation import Conversation, Message
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.meter import EngineMeter, NoMeter
from voicecore.engines.protocols import LlmEngine
from voicecore.engines.resilience.chain import Chain
from voicecore.engines.resilience.first import first_item
from voicecore.engines.resilience.patience import Patience
from voicecore.engines.resilience.policy import AnswerPolicy
from voicecore.engines.resilience.provider import Provider, ProviderHealth
from voicecore.engines.resilience.pump import close
from voicecore.errors import EngineError


class ResilientLlm:
    """An LLM engine made of one or several, the preferred one first.

    A provider that fails before its first piece of text is asked again, then the next
    one is. One that fails in mid-answer has said something already: that answer is
    lost, EngineError. ``meter``: who counts. ``random``: draws the back-off.
    Event-loop thread only; owns the engines.
    """

    def __init__(
        self,
        engines: Sequence[LlmEngine],
        *,
        policy: AnswerPolicy | None = None,
        meter: EngineMeter | None = None,
        random: Random | None = None,
    ) -> None:
        self._policy = policy or AnswerPolicy()
        self._random = random or Random()
        self._chain: Chain[LlmEngine] = Chain(
            "llm",
            engines,
            failures=self._policy.failures,
            rest_s=self._policy.rest_s,
            meter=meter or NoMeter(),
            probe=_probe,
        )
        self.name = self._chain.name
        self.greeting = engines[0].greeting
        self.speculative = all(getattr(engine, "speculative", False) for engine in engines)

    async def start(self) -> None:
        """See :meth:`Chain.start`."""
        await self._chain.start()

    async def close(self) -> None:
        """See :meth:`Chain.close`."""
        await self._chain.close()

    async def warm(self) -> None:
        """Let the engine that will be asked connect; a failure shows when it is asked."""
        provider = next((p for p in self._chain.providers if p.is_up), None)
        warm = getattr(provider.engine, "warm", None) if provider is not None else None
        if warm is not None:
            await warm()

    def health(self) -> list[ProviderHealth]:
        """Of each engine, in order."""
        return self._chain.health()

    async def reply(self, conversation: Conversation) -> AsyncGenerator[str | ToolExchange, None]:
        """As :meth:`LlmEngine.reply`, by the first engine that begins to answer."""
        policy = self._policy

        def ask(provider: Provider[LlmEngine]) -> AsyncIterator[str | ToolExchange]:
            return provider.engine.reply(conversation)

        begun = await first_item(self._chain, ask, policy, self._random)
        try:
            if begun.item is None:
                return
            yield begun.item
            async with Patience(policy.next_item_s, begun.provider.name, "llm_timeout") as patience:
                while (piece := await patience.next(begun.stream)) is not None:
                    yield piece
        except EngineError as error:
            begun.provider.failed(error)
            raise
        finally:
            await close(begun.stream)


async def _probe(engine: LlmEngine) -> None:
    """Ask for a word."""
    conversation = Conversation()
    conversation.add(Message("user", "Say yes."))
    stream = engine.reply(conversation)
    try:
        await anext(aiter(stream), None)
    finally:
        await close(stream)
