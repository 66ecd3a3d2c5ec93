"""A call's conversation with the Realtime server's model, without a call around it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fakes.openai_realtime_server import RealtimeServer
from voicecore.core.conversation import Conversation, Message
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.s2s.openai_realtime import OpenAiRealtime
from voicecore.engines.s2s.protocol import SpeechReply, SpeechSession

KEY = "sk-test"


@dataclass
class Heard:
    """What came of an answer."""

    text: str = ""
    pcm: bytes = b""
    exchanges: list[ToolExchange] = field(default_factory=list)


@dataclass
class Talk:
    """One call's session, and the conversation as the core would keep it."""

    server: RealtimeServer
    engine: OpenAiRealtime
    session: SpeechSession
    conversation: Conversation

    async def speak(self, ms: int = 500) -> Any:
        """Begin an utterance and push ``ms`` of audio."""
        utterance = await self.session.open(lambda text: None)
        push(utterance, ms)
        return utterance

    async def ask(self, ms: int = 500) -> str:
        """Say something; it enters the conversation as it was understood."""
        text = await (await self.speak(ms)).finish()
        if text:
            self.conversation.add(Message("user", text))
        return text

    async def hear(self, reply: SpeechReply | None = None) -> Heard:
        """All of an answer; it enters the conversation as heard."""
        reply = self.session.answer() if reply is None else reply
        heard = Heard()
        async for piece in reply:
            if isinstance(piece, str):
                heard.text += piece
            elif isinstance(piece, ToolExchange):
                heard.exchanges.append(piece)
                for message in piece.messages:
                    self.conversation.add(message)
            else:
                heard.pcm += piece.astype("<i2").tobytes()
        reply.end(None)
        self.conversation.add(Message("assistant", heard.text))
        return heard


def push(utterance: Any, ms: int) -> None:
    """Push ``ms`` of a tone, 50 ms at a time."""
    at = np.arange(16 * ms) / 16_000
    tone = (6000 * np.sin(2 * np.pi * 440 * at)).astype(np.int16)
    for begin in range(0, len(tone), 800):
        utterance.push(tone[begin : begin + 800])


@asynccontextmanager
async def talking(server: RealtimeServer, **settings: Any) -> AsyncIterator[Talk]:
    """A session against ``server`` (its ``url`` may be overridden)."""
    engine = OpenAiRealtime(**{"key": KEY, "url": server.url, **settings})
    await engine.start()
    conversation = Conversation()
    session = engine.converse(conversation)
    try:
        yield Talk(server, engine, session, conversation)
    finally:
        await session.close()
        await engine.close()
