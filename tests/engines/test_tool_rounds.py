"""Tools within replies: what the caller hears meanwhile, and what an interruption leaves."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from fakes.chat_calls import SOON_S, collect, running, talk
from fakes.chat_server import ChatServer, Reply, answer, asks_for, say
from voicecore.core.conversation import Conversation, Message, ToolCall
from voicecore.core.events import ToolsUsed
from voicecore.core.record_blocks import RECORD, pack
from voicecore.core.timeline import TIMELINE, Step
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.engines.llm.tool_rounds import CANCELLED, RUNNING, ToolRounds
from voicecore.engines.llm.tools import Tool, ToolBox
from voicecore.errors import EngineError

ASKED = asks_for(("1", "look", "{}"))
Replying = AsyncGenerator[str | ToolExchange, None]


class Switch:
    """A tool that waits until it is let go, and tells what became of it."""

    def __init__(self, result: str = "found") -> None:
        self.began, self.go, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.result = result

    async def __call__(self) -> str:
        self.began.set()
        try:
            await self.go.wait()
        finally:
            self.ended.set()
        return self.result


async def all_of(reply: Replying) -> list[str | ToolExchange]:
    """The pieces, but for signs of life."""
    return [piece async for piece in reply if piece]


def results(exchange: object) -> list[tuple[str, str]]:
    """``(name, result)`` of each call of an exchange, which must be whole."""
    assert isinstance(exchange, ToolExchange)
    asked, *told = exchange.messages
    assert asked.role == "assistant"
    assert asked.text == ""
    assert [call.call_id for call in asked.tool_calls] == [m.tool_call_id for m in told]
    return [(c.name, m.text) for c, m in zip(asked.tool_calls, told, strict=True)]


def record(conversation: Conversation, pieces: list[str | ToolExchange]) -> None:
    """What the session does with a reply that was heard."""
    for piece in pieces:
        if isinstance(piece, ToolExchange):
            for message in piece.messages:
                conversation.add(message)
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    conversation.add(Message("assistant", text))


async def cut_off(engine: OpenAiChat, conversation: Conversation, *began: asyncio.Event) -> None:
    """A reply that is closed once these tools run."""
    task = asyncio.create_task(all_of(engine.reply(conversation)))
    for event in began:
        await asyncio.wait_for(event.wait(), SOON_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- within one reply ------------------------------------------------------------------


async def test_what_tools_did_is_told_before_the_words_it_led_to() -> None:
    first = Reply([*say("Let me see. "), *asks_for(("1", "look", "{}")).steps])
    async with ChatServer(first, answer("Clear."), answer("Still.")) as server:
        async with running(server, tools=[Tool(lambda: "sun", name="look")]) as engine:
            conversation = talk()
            pieces = await all_of(engine.reply(conversation))
            assert [piece for piece in pieces if isinstance(piece, str)] == [
                "Let me see. ",
                "Clear.",
            ]
            assert results(pieces[1]) == [("look", "sun")]
            record(conversation, pieces)
            conversation.add(Message("user", "And now?"))
            assert await all_of(engine.reply(conversation)) == ["Still."]
        roles = [message["role"] for message in server.exchanges[2].messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


@pytest.mark.parametrize(
    ("own", "said"), [("", ["One moment. "]), ("I look it up.", ["I look it up. "])]
)
async def test_the_caller_hears_a_word_when_tools_take_long(own: str, said: list[str]) -> None:
    look = Switch()
    async with ChatServer(ASKED, answer("Clear.")) as server:
        tools = [Tool(look, name="look", progress=own)]
        async with running(server, tools=tools, progress_after_s=0.01) as engine:
            reply = engine.reply(talk())
            assert await anext(reply) == ""
            pieces = [await anext(reply)]
            look.go.set()
            pieces += await all_of(reply)
    assert pieces[:-2] == said
    assert results(pieces[-2]) == [("look", "found")]
    assert pieces[-1] == "Clear."


async def test_it_is_said_once_a_reply_and_apart_from_what_was_said_before() -> None:
    looks = [Switch(), Switch()]
    first = Reply([*say("Let me see."), *ASKED.steps])
    second = asks_for(("2", "look_again", "{}"))
    async with ChatServer(first, second, answer("Clear.")) as server:
        tools = [
            Tool(looks[0], name="look"),
            Tool(looks[1], name="look_again", progress="It takes longer."),
        ]
        async with running(server, tools=tools, progress_after_s=0.01) as engine:
            reply = engine.reply(talk())
            said = [await anext(reply), await anext(reply), await anext(reply)]
            assert said == ["Let me see.", "", " One moment. "]
            looks[0].go.set()
            looks[1].go.set()
            texts = [piece for piece in await all_of(reply) if isinstance(piece, str)]
    assert texts == ["Clear."]


@pytest.mark.parametrize("settings", [{"progress": ""}, {"progress_after_s": 60.0}])
async def test_nothing_is_said_if_that_is_wanted_or_tools_are_quick(
    settings: dict[str, Any],
) -> None:
    async with ChatServer(ASKED, answer("Clear.")) as server:
        tools = [Tool(lambda: "x", name="look")]
        async with running(server, tools=tools, **settings) as engine:
            assert await collect(engine) == ["Clear."]


async def test_a_tool_has_its_own_time() -> None:
    look = Switch()
    async with (
        ChatServer(ASKED, answer("No.")) as server,
        running(server, tools=[Tool(look, name="look", timeout_s=0.01)]) as engine,
    ):
        pieces = await all_of(engine.reply(talk()))
    assert results(pieces[0]) == [("look", json.dumps({"error": "the tool took too long"}))]


async def test_ids_that_a_server_counts_anew_in_each_answer_are_told_apart() -> None:
    seen = iter(("rain", "sun", "snow"))
    twice = asks_for(("1", "look", "{}"), ("1", "look", "{}"))
    async with (
        ChatServer(ASKED, answer("Wet."), twice, answer("Well.")) as server,
        running(server, tools=[Tool(lambda: next(seen), name="look")]) as engine,
    ):
        conversation = talk()
        record(conversation, await all_of(engine.reply(conversation)))
        conversation.add(Message("user", "Now?"))
        record(conversation, await all_of(engine.reply(conversation)))
        last = server.exchanges[-1].messages
    told = [m["content"] for m in last if m["role"] == "tool"]
    assert sorted(told) == ["rain", "snow", "sun"]
    assert told[0] == "rain"
    assert len({m["tool_call_id"] for m in last if m["role"] == "tool"}) == 3


# --- cut off ---------------------------------------------------------------------------


async def test_what_had_happened_is_told_by_the_next_reply_and_once() -> None:
    quick, slow = Switch("booked"), Switch()
    quick.go.set()
    asked = asks_for(("1", "quick", "{}"), ("2", "slow", "{}"))
    async with ChatServer(asked, answer("Well."), answer("Yes.")) as server:
        tools = [Tool(quick, name="quick"), Tool(slow, name="slow")]
        async with running(server, tools=tools) as engine:
            conversation = talk()
            await cut_off(engine, conversation, quick.ended, slow.began)
            assert slow.ended.is_set()
            conversation.add(Message("user", "Wait"))
            pieces = await all_of(engine.reply(conversation))
            assert results(pieces[0]) == [("quick", "booked"), ("slow", CANCELLED)]
            assert pieces[1:] == ["Well."]
            record(conversation, pieces)
            assert await all_of(engine.reply(conversation)) == ["Yes."]
        sent = server.exchanges[1].messages
    assert [m["role"] for m in sent] == ["user", "user", "assistant", "tool", "tool"]
    assert sent[-2]["content"] == "booked"


async def test_an_uninterruptible_tool_goes_on_and_its_result_comes_first() -> None:
    book = Switch("booked")
    asked = asks_for(("1", "book", "{}"))
    async with (
        ChatServer(asked, answer("Done.")) as server,
        running(server, tools=[Tool(book, name="book", uninterruptible=True)]) as engine,
    ):
        conversation = talk()
        await cut_off(engine, conversation, book.began)
        assert not book.ended.is_set()
        book.go.set()
        await asyncio.wait_for(book.ended.wait(), SOON_S)
        await asyncio.sleep(0)
        pieces = await all_of(engine.reply(conversation))
    assert results(pieces[0]) == [("book", "booked")]
    assert pieces[1:] == ["Done."]


async def test_one_that_still_runs_is_told_so_and_its_result_follows() -> None:
    book = Switch("booked")
    asked = asks_for(("1", "book", '{"a": 1}'))
    replies = [asked, answer("I am at it."), answer("Patience."), answer("Done.")]
    parameters: dict[str, Any] = {}
    async with ChatServer(*replies) as server:
        tool = Tool(lambda a: book(), "book", parameters=parameters, uninterruptible=True)
        async with running(server, tools=[tool]) as engine:
            conversation = talk()
            await cut_off(engine, conversation, book.began)
            pieces = await all_of(engine.reply(conversation))
            assert results(pieces[0]) == [("book", RUNNING)]
            record(conversation, pieces)
            pieces = await all_of(engine.reply(conversation))
            assert pieces == ["Patience."]
            record(conversation, pieces)
            book.go.set()
            await asyncio.wait_for(book.ended.wait(), SOON_S)
            await asyncio.sleep(0)
            pieces = await all_of(engine.reply(conversation))
            assert results(pieces[0]) == [("book", "booked")]
            assert pieces[1:] == ["Done."]
            record(conversation, pieces)
            calls = [call for message in conversation for call in message.tool_calls]
    assert len({call.call_id for call in calls}) == 2
    assert {(call.name, call.arguments) for call in calls} == {("book", '{"a": 1}')}


async def test_calls_don_t_mix() -> None:
    book = Switch()
    async with (
        ChatServer(asks_for(("1", "book", "{}")), answer("Hi."), answer("Yes.")) as server,
        running(server, tools=[Tool(book, name="book")]) as engine,
    ):
        ours, theirs = talk(), talk()
        await cut_off(engine, ours, book.began)
        assert await all_of(engine.reply(theirs)) == ["Hi."]
        assert results((await all_of(engine.reply(ours)))[0]) == [("book", CANCELLED)]


async def test_what_a_consumer_lost_is_told_once_more_and_not_for_ever() -> None:
    tools = [Tool(lambda: "sun", name="look")]
    async with (
        ChatServer(ASKED, answer("a"), answer("b"), answer("c")) as server,
        running(server, tools=tools) as engine,
    ):
        conversation = talk()
        assert results((await all_of(engine.reply(conversation)))[0]) == [("look", "sun")]
        assert results((await all_of(engine.reply(conversation)))[0]) == [("look", "sun")]
        assert await all_of(engine.reply(conversation)) == ["c"]


async def test_a_call_that_is_over_leaves_nothing() -> None:
    look = Switch()
    rounds = ToolRounds(ToolBox([Tool(look, name="look")]))
    conversation = talk()
    made = rounds.begin(conversation, [ToolCall("1", "look", "{}")])
    await rounds.leave(made)
    assert results(rounds.untold(conversation)[0]) == [("look", CANCELLED)]
    known = weakref.ref(conversation)
    del conversation, made
    gc.collect()
    assert known() is None
    await rounds.close()


async def test_outliving_tools_are_bounded() -> None:
    books = [Switch(), Switch()]
    box = ToolBox(
        [Tool(book, name=f"book{i}", uninterruptible=True) for i, book in enumerate(books)]
    )
    rounds = ToolRounds(box, most_outliving=1)
    conversation = talk()
    made = rounds.begin(conversation, [ToolCall(str(i), f"book{i}", "{}") for i in range(2)])
    for book in books:
        await asyncio.wait_for(book.began.wait(), SOON_S)
    await rounds.leave(made)
    assert [book.ended.is_set() for book in books] == [False, True]
    await rounds.close()
    assert books[0].ended.is_set()
    box.close()


async def test_closing_the_engine_cancels_and_awaits_what_goes_on() -> None:
    book = Switch()
    before = asyncio.all_tasks()
    async with ChatServer(asks_for(("1", "book", "{}"))) as server:
        async with running(server, tools=[Tool(book, name="book", uninterruptible=True)]) as engine:
            await cut_off(engine, talk(), book.began)
            assert not book.ended.is_set()
        assert book.ended.is_set()
        assert not [t for t in asyncio.all_tasks() - before if t.get_name() == "tool"]


async def test_a_model_that_makes_a_tool_up_is_told_so() -> None:
    asked = asks_for(("1", "fly", "{}"))
    async with (
        ChatServer(asked, answer("No.")) as server,
        running(server, tools=[Tool(lambda: "x", name="look")], progress_after_s=0.0) as engine,
    ):
        pieces = await all_of(engine.reply(talk()))
    exchange = next(piece for piece in pieces if isinstance(piece, ToolExchange))
    assert "there is no tool of that name" in results(exchange)[0][1]


async def test_after_too_many_rounds_what_was_done_is_told_all_the_same() -> None:
    tools = [Tool(lambda: "x", name="look")]
    async with (
        ChatServer(ASKED, ASKED, answer("ok")) as server,
        running(server, tools=tools, max_tool_rounds=1) as engine,
    ):
        reply = engine.reply(talk())
        assert await anext(reply) == ""
        assert results(await anext(reply)) == [("look", "x")]
        with pytest.raises(EngineError) as caught:
            await anext(reply)
    assert caught.value.code == "llm_tool_rounds"


@pytest.mark.parametrize("count", [1, 4, 32])
async def test_results_share_what_a_record_can_hold(count: int) -> None:
    rounds = ToolRounds(ToolBox([Tool(lambda: "ü" * 40_000, name="look", parameters={})]))
    share = (1 << 15) // count - 4
    calls = [ToolCall(str(i), "look", "{" + " " * share + "}") for i in range(count)]
    made = rounds.begin(talk(), calls)
    await made.wait()
    exchange = made.exchange()
    assert sum(len(m.text) for m in exchange.messages) == min(count * 32_768, 1 << 17)
    text = json.dumps(TIMELINE.encode(Step(0, ToolsUsed(1, exchange), ())))
    assert len(pack(RECORD, text.encode())) < 1 << 20
    await rounds.close()
