"""OpenAiChat against a scripted server over real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fakes.chat_server import (
    CUT,
    DONE,
    ChatServer,
    Exchange,
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
from voicecore.engines.llm.openai_chat import ChatTimeouts, OpenAiChat, chat_url
from voicecore.engines.protocols import LlmEngine
from voicecore.errors import EngineError, MisuseError

SOON_S = 5.0
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
    return [piece async for piece in engine.reply(conversation or talk())]


async def fails(engine: OpenAiChat) -> tuple[list[str], EngineError]:
    """The pieces that came, and the error that ended them."""
    pieces: list[str] = []

    async def take() -> None:
        async for piece in engine.reply(talk()):
            pieces.append(piece)

    with pytest.raises(EngineError) as caught:
        await take()
    assert caught.value.engine == "openai_chat"
    return pieces, caught.value


async def gone(exchange: Exchange) -> None:
    await asyncio.wait_for(exchange.disconnected.wait(), SOON_S)


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
    patient = ChatTimeouts(first_token_s=60.0, next_token_s=60.0)
    async with ChatServer(Reply(steps)) as server, running(server, timeouts=patient) as engine:
        assert await asyncio.wait_for(collect(engine), SOON_S) == ["hi"]


async def test_text_in_any_split_of_the_bytes() -> None:
    data = b"".join([*say("Grüß ", "dich 👋", "\nund ", "tschüß"), *end()])
    for seed in range(20):
        print(f"seed {seed}")
        rng = random.Random(seed)
        stream, pieces, at = ChatStream("x"), [], 0
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
    ],
    ids=["interleaved", "no index", "no index, id repeated", "id and name repeated"],
)  # fmt: skip
def test_tool_call_fragments_are_put_together(fragments: list[bytes]) -> None:
    data = b"".join([*fragments, *end("tool_calls")])
    stream = ChatStream("x")
    assert [text for i in range(len(data)) for text in stream.feed(data[i : i + 1])] == []
    assert stream.tool_calls() == (ToolCall("i", "f", '{"a":1}'), ToolCall("j", "g", "{}"))


def test_calls_without_an_id_get_ids_of_their_own() -> None:
    stream = ChatStream("x")
    data = fragment(0, "{}", name="f") + fragment(1, "", name="g")
    assert list(stream.feed(data)) == []
    one, two = stream.tool_calls()
    assert one.call_id
    assert two.call_id
    assert one.call_id != two.call_id
    assert two.arguments == "{}"


# --- what goes wrong -------------------------------------------------------------------


async def test_a_cut_in_mid_answer_comes_after_the_tokens() -> None:
    async with ChatServer(Reply([*say("one", "two"), CUT])) as server, running(server) as engine:
        pieces, error = await fails(engine)
    assert pieces == ["one", "two"]
    assert error.code == "llm_cut"


async def test_an_answer_that_ends_properly_without_its_end_is_cut_too() -> None:
    async with ChatServer(Reply(say("one"))) as server, running(server) as engine:
        pieces, error = await fails(engine)
    assert (pieces, error.code) == (["one"], "llm_cut")


async def test_the_engine_serves_on_after_an_error() -> None:
    async with ChatServer(Reply(status=500), answer("fine")) as server, running(server) as engine:
        await fails(engine)
        assert await collect(engine) == ["fine"]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (500, b"boom: Hello", "HTTP 500: see the server's log"),
        (401, b'{"error": {"message": "key sk-1", "code": "invalid_api_key"}}',
         "HTTP 401 (invalid_api_key): check the API key"),
        (404, b'{"error": {"message": "no", "code": null, "type": "not_found"}}',
         "HTTP 404 (not_found): check the URL and the model's name"),
        (429, b'{"error": "slow down, Hello"}', "HTTP 429: the rate limit"),
        (400, b'{"error": {"message": "x", "code": "bad: Hello"}}', "HTTP 400: the server"),
        (308, b"", "HTTP 308: configure the URL it redirects to"),
    ],
)  # fmt: skip
async def test_http_errors_say_what_to_do_and_quote_nothing(
    status: int, body: bytes, expected: str
) -> None:
    reply = Reply([body], status=status, content_type="application/json")
    async with ChatServer(reply) as server, running(server) as engine:
        _, error = await fails(engine)
    assert error.code == "llm_http_status"
    assert expected in str(error)
    assert "Hello" not in str(error)
    assert "sk-1" not in str(error)


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {not json Hello\n\n",
        b"data: [1]\n\n",
        b'data: {"choices": {}}\n\n',
        b'data: {"choices": [3]}\n\n',
        chunk({"content": [1]}),
        chunk({"tool_calls": [{"index": 99, "function": {}}]}),
        chunk({"tool_calls": [{"index": "0", "function": {}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": {"x": 1}}}]}),
        b'data: {"error": {"message": "Hello is not allowed"}}\n\n',
        b"event: error\ndata: {}\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"data: " + b"x" * (2 << 20),
    ],
    ids=["no JSON", "no object", "choices", "choice", "content", "index", "index type",
         "arguments", "error", "error event", "deep", "endless"],
)  # fmt: skip
async def test_a_malformed_stream_keeps_what_came_before(bad: bytes) -> None:
    """In one network chunk: the good events before the bad one still count."""
    async with ChatServer(Reply([*say("one"), bad, *end()])) as server, running(server) as engine:
        pieces, error = await fails(engine)
    assert pieces == ["one"]
    assert error.code == "llm_bad_stream"
    assert "Hello" not in str(error)


@pytest.mark.parametrize("content_type", ["text/html", "application/json"])
async def test_a_page_that_is_no_stream_is_named(content_type: str) -> None:
    reply = Reply([b"<html>"], content_type=content_type)
    async with ChatServer(reply) as server, running(server) as engine:
        _, error = await fails(engine)
    assert error.code == "llm_bad_stream"
    assert "check the URL" in str(error)


async def test_start_needs_no_server_and_reply_says_that_it_is_down() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    engine = OpenAiChat(f"http://127.0.0.1:{port}", "m")
    await engine.start()
    _, error = await fails(engine)
    await engine.close()
    assert error.code == "llm_unreachable"
    assert f"127.0.0.1:{port}" in str(error)


async def test_a_connection_that_closes_unanswered_is_tried_once_more() -> None:
    cut = Reply([CUT])
    async with ChatServer(cut, answer("hi"), cut, cut) as server, running(server) as engine:
        assert await collect(engine) == ["hi"]
        _, error = await fails(engine)
        assert len(server.exchanges) == 4
    assert error.code == "llm_unreachable"


async def test_tls_with_a_plain_server_says_so() -> None:
    async with ChatServer() as server:
        engine = OpenAiChat(server.url.replace("http:", "https:"), "m")
        await engine.start()
        _, error = await fails(engine)
        await engine.close()
    assert error.code == "llm_unreachable"
    assert "TLS" in str(error)


# --- waiting ---------------------------------------------------------------------------


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that never accepts: its queue is full, so the kernel ignores new callers."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_connecting_is_bounded(full_port: int) -> None:
    timeouts = ChatTimeouts(connect_s=0.05)
    engine = OpenAiChat(f"http://127.0.0.1:{full_port}", "m", timeouts=timeouts)
    await engine.start()
    _, error = await asyncio.wait_for(fails(engine), SOON_S)
    await engine.close()
    assert error.code == "llm_timeout"
    assert "no connection" in str(error)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(before=asyncio.Event()),
        Reply([asyncio.Event()]),
        Reply([*say(), b": still loading\n\n", asyncio.Event()]),
    ],
    ids=["no head", "no event", "a role and a comment"],
)
async def test_the_first_token_is_bounded(reply: Reply) -> None:
    timeouts = ChatTimeouts(first_token_s=0.1)
    async with ChatServer(reply) as server, running(server, timeouts=timeouts) as engine:
        pieces, error = await asyncio.wait_for(fails(engine), SOON_S)
        await gone(server.exchanges[0])
    assert (pieces, error.code) == ([], "llm_timeout")
    assert "0.1 s" in str(error)


async def test_the_next_token_is_bounded() -> None:
    timeouts = ChatTimeouts(first_token_s=SOON_S, next_token_s=0.05)
    reply = Reply([*say("one"), asyncio.Event()])
    async with ChatServer(reply) as server, running(server, timeouts=timeouts) as engine:
        pieces, error = await asyncio.wait_for(fails(engine), SOON_S)
        await gone(server.exchanges[0])
    assert (pieces, error.code) == (["one"], "llm_timeout")
    assert "no further token" in str(error)


# --- giving up -------------------------------------------------------------------------


async def test_closing_the_iterator_closes_the_connection() -> None:
    reply = Reply([*say("one"), asyncio.Event()])
    async with ChatServer(reply, answer("next")) as server, running(server) as engine:
        pieces = engine.reply(talk())
        assert await anext(pieces) == "one"
        await pieces.aclose()
        await gone(server.exchanges[0])
        assert await collect(engine) == ["next"]


@pytest.mark.parametrize(
    "reply",
    [Reply([*say("one"), asyncio.Event()]), Reply(before=asyncio.Event())],
    ids=["in mid-answer", "before the head"],
)
async def test_cancelling_the_task_closes_the_connection(reply: Reply) -> None:
    async with ChatServer(reply) as server, running(server) as engine:
        task = asyncio.create_task(collect(engine))
        await asyncio.wait_for(server.arrived.wait(), SOON_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone(server.exchanges[0])


async def test_cancelling_reaches_a_running_tool() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asked = asks_for(("1", "endless", "{}"))
    async with ChatServer(asked) as server, running(server, tools=[endless]) as engine:
        task = asyncio.create_task(collect(engine))
        await asyncio.wait_for(began.wait(), SOON_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()


async def test_closing_the_engine_ends_a_reply_under_way() -> None:
    reply = Reply([*say("one"), asyncio.Event()])
    async with ChatServer(reply) as server, running(server) as engine:
        pieces = engine.reply(talk())
        assert await anext(pieces) == "one"
        await engine.close()
        with pytest.raises(EngineError) as caught:
            await anext(pieces)
        await gone(server.exchanges[0])
    assert caught.value.code == "llm_cut"


async def test_order_of_start_reply_and_close() -> None:
    engine = OpenAiChat("http://localhost:1", "m")
    with pytest.raises(MisuseError, match="start"):
        engine.reply(talk())
    await engine.close()
    async with ChatServer(answer("a"), answer("b")) as server, running(server) as engine:
        await engine.start()
        assert await collect(engine) == ["a"]
        await engine.close()
        await engine.start()
        assert await collect(engine) == ["b"]


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
    with pytest.raises(MisuseError, match="api_key") as caught:
        OpenAiChat(url, "m")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": ""},
        {"max_tool_rounds": -1},
        {"options": {"stream": False}},
        {"api_key": "a\nb"},
        {"api_key": "ключ"},
    ],
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(MisuseError) as caught:
        OpenAiChat("http://h", **{"model": "m", **settings})
    assert settings.get("api_key", "\0") not in str(caught.value)


@pytest.mark.parametrize("field", ["connect_s", "first_token_s", "next_token_s", "tool_s"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_bad_timeouts(field: str, value: float) -> None:
    with pytest.raises(MisuseError, match=field):
        ChatTimeouts(**{field: value})


async def test_the_key_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [answer("ok"), Reply(status=401), Reply([*say("x"), CUT]), Reply([b"data: {\n\n"])]
    async with ChatServer(*replies) as server:
        async with running(server, api_key=" hunter2\n") as engine:
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
