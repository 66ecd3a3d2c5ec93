"""A language model that always says the same few tokens, for benches and tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from voicecore.core.conversation import Conversation
from voicecore.errors import MisuseError

TOKENS = ("This is ", "a stub ", "answer.")


class LlmStub:
    """Yields ``tokens`` for every conversation, at once or ``token_delay_ms`` apart.

    With a delay of 0 (the default) the iterator never yields to the event
    loop between tokens. With one, the delay stands before each token, the
    first included.
    """

    name = "stub"
    speculative = True

    def __init__(
        self,
        tokens: Sequence[str] = TOKENS,
        *,
        token_delay_ms: float = 0.0,
        greeting: str = "",
    ) -> None:
        """``token_delay_ms``: 0..60000; ``greeting``: ``""`` lets the caller speak first."""
        if not 0.0 <= token_delay_ms <= 60_000.0:
            raise MisuseError(f"token_delay_ms must be 0..60000, got {token_delay_ms}")
        self.tokens = tuple(tokens)
        self.token_delay_ms = token_delay_ms
        self.greeting = greeting

    async def start(self) -> None:
        """Nothing to load."""

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        """Yield the tokens in order; the conversation is not looked at."""
        for token in self.tokens:
            if self.token_delay_ms > 0.0:
                await asyncio.sleep(self.token_delay_ms / 1000.0)
            yield token

    async def close(self) -> None:
        """Nothing to free."""
