"""The embedded answerer: a small honest script, for a first call without any model.

What it says is decided by pure functions (``responder_skills``); this file is
the engine around them.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime

from voicecore.core.conversation import Conversation
from voicecore.engines.llm.responder_skills import GREETING, answer

_PIECE = re.compile(r"\S+\s*")


def local_time() -> datetime:
    """The wall clock in the server's time zone."""
    return datetime.now().astimezone()


class Responder:
    """An LLM engine that is no LLM. Holds no state per call: all is in the conversation."""

    name = "responder"
    speculative = True

    def __init__(
        self, *, greeting: str = GREETING, clock: Callable[[], datetime] = local_time
    ) -> None:
        """``greeting``: spoken when a call begins; ``clock``: tells the time to answer with."""
        self.greeting = greeting
        self._clock = clock

    async def start(self) -> None:
        """Nothing to load."""

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        """Yield the answer word by word, each with the space after it, at once."""
        for piece in _PIECE.findall(answer(conversation, self._clock())):
            yield piece

    async def close(self) -> None:
        """Nothing to free."""
