"""How the tests of OpenAiChat call it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.chat_server import (
    ChatServer,
    Exchange,
)
from voicecore.core.conversation import Conversation, Message
from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.errors import EngineError

SOON_S = 60.0
"""How long a test waits for what must happen at once; never waited in full."""


def talk(*messages: Message) -> Conversation:
    conversation = Conversation()
    for message in messages or (Message("user", "Hello"),):
        conversation.add(message)
    return conversation


@contextlib.asynccontextmanager
async def running(server: ChatServer, **settings: Any) -> AsyncIterator[OpenAiChat]:
    settings.setdefault("system_prompt", "")
    engine = OpenAiChat(server.url, "test-model", **settings)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def collect(engine: OpenAiChat, conversation: Conversation | None = None) -> list[str]:
    """The pieces of text of a whole reply."""
    pieces = [piece async for piece in engine.reply(conversation or talk())]
    return [piece for piece in pieces if isinstance(piece, str) and piece]


async def fails(engine: OpenAiChat) -> tuple[list[str], EngineError]:
    """The pieces that came, and the error that ended them."""
    pieces: list[str] = []

    async def take() -> None:
        async for piece in engine.reply(talk()):
            if isinstance(piece, str):
                pieces.append(piece)

    with pytest.raises(EngineError) as caught:
        await take()
    assert caught.value.engine == "openai"
    return pieces, caught.value


async def gone(exchange: Exchange) -> None:
    await asyncio.wait_for(exchange.disconnected.wait(), SOON_S)
