"""Tools from end to end: session, answer and a chat server over a real socket."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from core.driver import ScriptedCall
from fakes.chat_calls import SOON_S, running
from fakes.chat_server import ChatServer, Reply, answer, asks_for, say
from service.test_answering import FakePlane, FakeTts, chunk
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.engines.llm.tool_rounds import CANCELLED
from voicecore.engines.llm.tools import Tool
from voicecore.service.answering import Answer


class LiveCall(ScriptedCall):
    """A session in the test's time whose model is asked for real; the voice is the script's."""

    def __init__(self, llm: OpenAiChat) -> None:
        self.llm = llm
        self.answers: dict[int, Answer] = {}
        self.changed = asyncio.Event()
        super().__init__()

    def send(self, event: ev.Event) -> list[act.Action]:
        done = super().send(event)
        for action in done:
            if isinstance(action, act.StartReply):
                self._ask(action.turn)
            elif isinstance(action, act.CancelReply) and action.turn in self.answers:
                self.answers[action.turn].cancel()
        self.changed.set()
        return done

    def take(self, event: ev.Event) -> None:
        """What the answer reports: clauses are spoken at once."""
        self.speak(self.send(event))

    def _ask(self, turn: int) -> None:
        plane: Any = FakePlane()
        tts: Any = FakeTts(chunk(10))
        made = Answer(
            turn,
            plane,
            tts,
            resampler=None,
            kept=lambda text, rate_hz: np.zeros(1, np.int16),
            report=self.take,
        )
        self.answers[turn] = made
        made.ask(self.llm, self.session.conversation)

    async def until(self, holds: Any) -> None:
        async with asyncio.timeout(SOON_S):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    async def answered(self) -> None:
        """The answer to the newest turn is written, and played to its end."""
        await asyncio.wait_for(asyncio.gather(*self.answers[self.session.turn].tasks), SOON_S)
        self.at(self.now_ms + 50)
        self.play_to(self.written)

    @property
    def roles(self) -> list[str]:
        return [message.role for message in self.session.conversation]

    async def close(self) -> None:
        tasks = [task for made in self.answers.values() for task in made.tasks]
        for made in self.answers.values():
            made.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


ASKED = Reply([*say("Let me see. "), *asks_for(("1", "look", "{}")).steps])


async def test_the_caller_hears_a_word_then_the_answer_and_later_turns_know_it() -> None:
    go = asyncio.Event()

    async def look() -> str:
        await go.wait()
        return "sun"

    async with (
        ChatServer(ASKED, answer("It is **sunny**."), answer("Until Sunday.")) as server,
        running(server, tools=[look], progress_after_s=0.01) as engine,
    ):
        call = LiveCall(engine)
        call.caller_says("What is the weather?", 0, 1000)
        await call.until(lambda: "One moment." in str(call.notes("agent")))
        go.set()
        await call.answered()
        words = "Let me see. One moment. It is sunny."
        assert call.roles == ["user", "assistant", "tool", "assistant"]
        assert call.said[-1] == ("assistant", words)
        assert call.session.conversation.messages[2].text == "sun"
        call.caller_says("How long?", call.now_ms + 500, call.now_ms + 1500)
        await call.answered()
        assert call.said[-1] == ("assistant", "Until Sunday.")
        await call.close()
    sent = server.exchanges[2].messages
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent[3]["content"] == words


async def test_a_barge_in_cancels_one_tool_and_not_the_other() -> None:
    began, booked, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def look() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def book() -> str:
        began.set()
        await booked.wait()
        return "table 4"

    asked = Reply(
        [*say("Let me see to that. "), *asks_for(("1", "look", "{}"), ("2", "book", "{}")).steps]
    )
    tools = [look, Tool(book, uninterruptible=True)]
    async with (
        ChatServer(asked, answer("You have table 4.")) as server,
        running(server, tools=tools) as engine,
    ):
        call = LiveCall(engine)
        call.caller_says("Book a table.", 0, 1000)
        await asyncio.wait_for(began.wait(), SOON_S)
        call.at(call.now_ms + 50)
        call.play_to(7200)
        call.at(call.now_ms + 300).onset()
        call.at(call.now_ms + 64).confirm()
        assert call.state is State.HEARING
        assert call.said[-1] == ("assistant", "Let me see")
        await asyncio.wait_for(cancelled.wait(), SOON_S)
        assert "tool" not in call.roles
        booked.set()
        call.at(call.now_ms + 600).release()
        call.at(call.now_ms + 480)
        call.send(ev.TranscriptFinal(call.session.turn, "By the window."))
        await call.answered()
        assert call.roles == ["user", "assistant", "user", "assistant", "tool", "tool", "assistant"]
        results = [m.text for m in call.session.conversation if m.role == "tool"]
        assert results == [CANCELLED, "table 4"]
        assert call.said[-1] == ("assistant", "You have table 4.")
        await call.close()
    sent = server.exchanges[1].messages
    assert sent[1]["content"].startswith("Let me see [the user interrupted")
    assert [m["role"] for m in sent[-3:]] == ["assistant", "tool", "tool"]
