"""OpenAiChat against a scripted server over real loopback sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from typing import Any

import pytest

from fakes.chat_calls import SOON_S, collect, fails, running, talk
from fakes.chat_server import (
    CUT,
    DONE,
    ChatServer,
    Reply,
    answer,
    asks_for,
    chunk,
    end,
    fragment,
    say,
)
from voicecore.core.conversation import Conversation, Message, ToolCall
from voicecore.engines.llm.chat_stream import ChatStream
from voicecore.engines.llm.chat_wire import chat_url
from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.engines.llm.tools import Tool
from voicecore.engines.protocols import LlmEngine
from voicecore.engines.wire.faults import Faults
from voicecore.errors import MisuseError

FAULTS = Faults("llm", "test")

# --- the ordinary answer ---------------------------------------------------------------


async def test_pieces_come_in_order_and_the_request_is_right() -> None:
    async with ChatServer(answer("Good ", "day", ".")) as server:
        async with running(server, options={"temperature": 0.2}) as engine:
            assert isinstance(engine, LlmEngine)
            assert await collect(engine) == ["Good ", "day", "."]
        (exchange,) = server.exchanges
    assert exchange.path == "/v1/chat/completions"
    assert exchange.headers["Accept"] == "text/event-stream"
    assert "Authorization" not in exchange.headers
    assert exchange.body == {
        "model": "test-model",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "temperature": 0.2,
    }


async def test_a_piece_is_given_before_the_next_exists() -> None:
    gate = asyncio.Event()
    reply = Reply([*say("one"), gate, *say("two"), *end()])
    async with ChatServer(reply) as server, running(server) as engine:
        pieces = engine.reply(talk())
        assert await anext(pieces) == "one"
        gate.set()
        assert [piece async for piece in pieces] == ["two"]


async def test_the_connection_is_kept_for_the_next_reply() -> None:
    async with ChatServer(answer("a"), answer("b")) as server:
        async with running(server) as engine:
            assert await collect(engine) + await collect(engine) == ["a", "b"]
        first, second = server.exchanges
        assert first.peer == second.peer


async def test_replies_run_side_by_side() -> None:
    gate = asyncio.Event()
    reply = Reply([*say("slow"), gate, *end()])
    async with ChatServer(reply, answer("quick")) as server, running(server) as engine:
        slow = engine.reply(talk())
        assert await anext(slow) == "slow"
        assert await collect(engine) == ["quick"]
        gate.set()
        assert [piece async for piece in slow] == []


@pytest.mark.parametrize(
    "steps",
    [
        [*say("hi"), chunk({}, "stop")],
        [*say("hi"), chunk({}, "stop"), CUT],
        [*say("hi"), DONE],
        [*say("hi"), chunk({}, "stop"), asyncio.Event()],
        [*say("hi"), DONE, asyncio.Event()],
        [b": keep-alive\n\n", *say("hi"), b"retry: 3\n\n", *end("length")],
        [chunk({"content": "hi"}, "stop"), b"data: not read any more\n\n".replace(b"data", b":")],
    ],
    ids=["no DONE", "cut after the end", "DONE alone", "hangs after the end", "hangs after DONE",
         "comments", "reason with text"],
)  # fmt: skip
async def test_servers_end_in_their_own_ways(steps: list[Any]) -> None:
    patient = {"first_token_s": SOON_S, "next_token_s": SOON_S}
    async with ChatServer(Reply(steps)) as server, running(server, **patient) as engine:
        assert await asyncio.wait_for(collect(engine), SOON_S) == ["hi"]


async def test_text_in_any_split_of_the_bytes() -> None:
    data = b"".join([*say("Grüß ", "dich 👋", "\nund ", "tschüß"), *end()])
    for seed in range(20):
        print(f"seed {seed}")
        rng = random.Random(seed)
        stream, pieces, at = ChatStream(FAULTS), [], 0
        while at < len(data):
            size = rng.randrange(1, 40)
            pieces += list(stream.feed(data[at : at + size]))
            at += size
        assert pieces == ["Grüß ", "dich 👋", "\nund ", "tschüß"]
        assert stream.finished


# --- what the model is told ------------------------------------------------------------


async def sent(conversation: Conversation, **settings: Any) -> list[dict[str, Any]]:
    async with ChatServer(answer("ok")) as server:
        async with running(server, **settings) as engine:
            await collect(engine, conversation)
        return server.exchanges[0].messages


async def test_an_interrupted_answer_is_sent_as_heard_with_a_mark() -> None:
    conversation = talk(
        Message("assistant", "Welcome."),
        Message("user", "Tell me about trains."),
        Message("assistant", "Trains run on", interrupted=True, unheard=" rails of steel."),
        Message("user", "And planes?"),
    )
    messages = await sent(conversation, system_prompt="Be brief.")
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert messages[1] == {"role": "assistant", "content": "Welcome."}
    cut = messages[3]
    assert cut["role"] == "assistant"
    assert cut["content"].startswith("Trains run on [")
    assert "interrupted" in cut["content"]
    assert "steel" not in json.dumps(messages)


async def test_an_answer_cut_off_before_its_first_word_is_only_the_mark() -> None:
    messages = await sent(talk(Message("assistant", "", interrupted=True, unheard="Never heard")))
    (message,) = messages
    assert message["content"].startswith("[")
    assert "Never" not in json.dumps(messages)


async def test_tool_messages_of_the_conversation_keep_to_pairs() -> None:
    """Half a pair, left by a bounded conversation or a cut-off call, is refused by servers."""
    asked = ToolCall("id-1", "weather", "{}")
    never_run = ToolCall("id-2", "weather", "{}")
    conversation = talk(
        Message("tool", "lost its call", tool_call_id="id-0"),
        Message("user", "Rain?"),
        Message("assistant", "", tool_calls=(asked, never_run)),
        Message("user", "Hurry!"),
        Message("tool", "sunny", tool_call_id="id-1"),
        Message("assistant", ""),
        Message("assistant", "It is sunny.", tool_calls=(never_run,)),
    )
    function = {"name": "weather", "arguments": "{}"}
    assert await sent(conversation) == [
        {"role": "user", "content": "Rain?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "id-1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "id-1", "content": "sunny"},
        {"role": "user", "content": "Hurry!"},
        {"role": "assistant", "content": "It is sunny."},
    ]


async def test_the_conversation_is_taken_when_reply_is_called() -> None:
    conversation = talk()
    async with ChatServer(answer("ok")) as server, running(server) as engine:
        reply = engine.reply(conversation)
        conversation.add(Message("user", "later"))
        assert [piece async for piece in reply] == ["ok"]
        assert len(server.exchanges[0].messages) == 1


# --- tools -----------------------------------------------------------------------------


def weather(city: str) -> dict[str, str]:
    """Tell the weather of a city."""
    return {"city": city, "sky": "clear"}


async def test_a_tool_is_called_and_its_result_sent_back() -> None:
    first = Reply([*say("Let me see. "), *asks_for(("id-1", "weather", '{"city": "Bern"}')).steps])
    async with ChatServer(first, answer("Clear.")) as server:
        async with running(server, tools=[weather]) as engine:
            assert await collect(engine) == ["Let me see. ", "Clear."]
        one, two = server.exchanges
    function = one.body["tools"][0]["function"]
    assert function["name"] == "weather"
    assert function["description"] == "Tell the weather of a city."
    assert function["parameters"]["properties"] == {"city": {"type": "string"}}
    assert one.body["tool_choice"] == "auto"
    assert two.messages[0] == {"role": "user", "content": "Hello"}
    call, result = two.messages[1:]
    assert call["content"] == "Let me see. "
    assert call["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": '{"city": "Bern"}',
    }
    assert result["tool_call_id"] == call["tool_calls"][0]["id"] == "id-1"
    assert json.loads(result["content"]) == {"city": "Bern", "sky": "clear"}


async def test_several_calls_run_side_by_side_and_keep_their_order() -> None:
    met = asyncio.Barrier(2)

    async def meet(who: str) -> str:
        await met.wait()
        return who

    asked = asks_for(("1", "meet", '{"who": "a"}'), ("2", "meet", '{"who": "b"}'))
    async with ChatServer(asked, answer("done")) as server:
        async with running(server, tools=[meet]) as engine:
            assert await collect(engine) == ["done"]
        results = server.exchanges[1].messages[-2:]
    assert [(m["tool_call_id"], m["content"]) for m in results] == [("1", "a"), ("2", "b")]


async def test_tool_rounds_are_bounded_and_the_last_must_answer() -> None:
    asked = asks_for(("1", "weather", '{"city": "Bern"}'))
    async with ChatServer(asked, asked, answer("enough")) as server:
        async with running(server, tools=[weather], max_tool_rounds=2) as engine:
            assert await collect(engine) == ["enough"]
        choices = [exchange.body["tool_choice"] for exchange in server.exchanges]
    assert choices == ["auto", "auto", "none"]


async def test_a_model_that_never_stops_calling_is_an_error() -> None:
    asked = asks_for(("1", "weather", '{"city": "Bern"}'))
    async with ChatServer(*[asked] * 9) as server:
        async with running(server, tools=[weather]) as engine:
            _, error = await fails(engine)
        assert len(server.exchanges) == 5
    assert error.code == "llm_tool_rounds"


@pytest.mark.parametrize(
    "fragments",
    [
        [fragment(0, '{"a"', "i", "f"), fragment(1, "{", "j", "g"), fragment(0, ":1}"),
         fragment(1, "}")],
        [fragment(None, '{"a"', "i", "f"), fragment(None, ":1}"), fragment(None, "{}", "j", "g")],
        [fragment(None, '{"a":1}', "i", "f"), fragment(None, "{", "j", "g"),
         fragment(None, "}", "j")],
        [fragment(0, "", "i", "f"), fragment(0, '{"a":1}', "i", "f"), fragment(1, "{}", "j", "g")],
        [fragment(0, '{"a":', "i", "f"), fragment(0, "1}"), fragment(0, "{", "j", "g"),
         fragment(0, "}")],
    ],
    ids=["interleaved", "no index", "no index, id repeated", "id and name repeated",
         "one index for all"],
)  # fmt: skip
def test_tool_call_fragments_are_put_together(fragments: list[bytes]) -> None:
    data = b"".join([*fragments, *end("tool_calls")])
    stream = ChatStream(FAULTS)
    assert [text for i in range(len(data)) for text in stream.feed(data[i : i + 1])] == []
    assert stream.tool_calls() == (ToolCall("i", "f", '{"a":1}'), ToolCall("j", "g", "{}"))


def test_calls_without_an_id_get_ids_of_their_own() -> None:
    stream = ChatStream(FAULTS)
    data = fragment(0, "{}", name="f") + fragment(1, "", name="g")
    assert list(stream.feed(data)) == []
    one, two = stream.tool_calls()
    assert one.call_id
    assert two.call_id
    assert one.call_id != two.call_id
    assert two.arguments == "{}"


# --- settings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "posted"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1/chat/completions"),
        ("http://localhost:11434/", "http://localhost:11434/v1/chat/completions"),
        (" https://h/v1 \n", "https://h/v1/chat/completions"),
        ("https://h/v1/", "https://h/v1/chat/completions"),
        ("https://h/openai/v1", "https://h/openai/v1/chat/completions"),
        ("https://h/v1beta/openai/", "https://h/v1beta/openai/chat/completions"),
        ("https://h/v1/chat/completions", "https://h/v1/chat/completions"),
        ("https://h/d/chat/completions/?v=1#x", "https://h/d/chat/completions?v=1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1/chat/completions"),
    ],
)
def test_urls(given: str, posted: str) -> None:
    assert chat_url(given) == posted


@pytest.mark.parametrize(
    "url",
    ["", "localhost:11434", "ftp://h/v1", "http://", "http://h:port", "http://h:99999", "http://["],
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(MisuseError, match="not of the form"):
        OpenAiChat(url, "m")


@pytest.mark.parametrize("url", ["https://user:hunter2@h/v1", "user:hunter2@h", "http://hunter2@["])
def test_credentials_in_the_url_are_refused_unseen(url: str) -> None:
    with pytest.raises(MisuseError, match="key") as caught:
        OpenAiChat(url, "m")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": ""},
        {"max_tool_rounds": -1},
        {"options": {"stream": False}},
        {"key": "a\nb"},
        {"key": "ключ"},
        {"progress_after_s": -1},
        {"context_tokens": 700},
        {"max_reply_tokens": -1},
        {"max_reply_tokens": 9, "options": {"max_tokens": 8}},
        {"max_reply_tokens": 9, "max_reply_field": "length"},
        {"tool_timeout_s": 0.0, "tools": [weather]},
        {"tools": [Tool(weather, timeout_s=0.0)]},
    ],
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(MisuseError) as caught:
        OpenAiChat("http://h", **{"model": "m", **settings})
    assert settings.get("key", "\0") not in str(caught.value)


@pytest.mark.parametrize("field", ["connect_s", "first_token_s", "next_token_s"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_bad_timeouts(field: str, value: float) -> None:
    with pytest.raises(MisuseError, match=field):
        OpenAiChat("http://h", "m", **{field: value})  # type: ignore[arg-type]


async def test_the_key_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [answer("ok"), Reply(status=401), Reply([*say("x"), CUT]), Reply([b"data: {\n\n"])]
    async with ChatServer(*replies) as server:
        async with running(server, key=" hunter2\n") as engine:
            await collect(engine)
            shown = repr(engine) + str(engine)
            for _ in replies[1:]:
                _, error = await fails(engine)
                shown += repr(error) + str(error)
        assert server.exchanges[0].headers["Authorization"] == "Bearer hunter2"
    assert "hunter2" not in shown + caplog.text
    assert "OpenAiChat(url='http://" in shown
    assert "Hello" not in caplog.text


async def test_a_key_in_the_query_is_not_shown() -> None:
    async with ChatServer(Reply(status=500)) as server:
        engine = OpenAiChat(server.url + "/v1?key=hunter2", "m")
        await engine.start()
        _, error = await fails(engine)
        await engine.close()
        assert server.exchanges[0].path == "/v1/chat/completions?key=hunter2"
    assert "hunter2" not in repr(engine) + str(error)
