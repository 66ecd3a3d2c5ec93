"""OpenAiChat when the server fails, stalls or is no longer wanted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from fakes.chat_calls import SOON_S, collect, fails, gone, running, talk
from fakes.chat_server import (
    CUT,
    ChatServer,
    Reply,
    answer,
    asks_for,
    chunk,
    end,
    say,
)
from voicecore.engines.llm.openai_chat import OpenAiChat
from voicecore.errors import EngineError, MisuseError

# --- what goes wrong -------------------------------------------------------------------


async def test_a_cut_in_mid_answer_comes_after_the_tokens() -> None:
    async with ChatServer(Reply([*say("one", "two"), CUT])) as server, running(server) as engine:
        pieces, error = await fails(engine)
    assert pieces == ["one", "two"]
    assert error.code == "llm_closed"


async def test_an_answer_that_ends_properly_without_its_end_is_cut_too() -> None:
    async with ChatServer(Reply(say("one"))) as server, running(server) as engine:
        pieces, error = await fails(engine)
    assert (pieces, error.code) == (["one"], "llm_closed")


async def test_the_engine_serves_on_after_an_error() -> None:
    async with ChatServer(Reply(status=500), answer("fine")) as server, running(server) as engine:
        await fails(engine)
        assert await collect(engine) == ["fine"]


@pytest.mark.parametrize(
    ("status", "body", "code", "expected"),
    [
        (500, b"boom: Hello", "llm_http_status", "HTTP 500: see the server's log"),
        (401, b'{"error": {"message": "key sk-1", "code": "invalid_api_key"}}',
         "llm_key", "(HTTP 401, invalid_api_key): check its API key"),
        (403, b"", "llm_key", "(HTTP 403)"),
        (404, b'{"error": {"message": "no", "code": null, "type": "not_found"}}',
         "llm_http_status", "HTTP 404, not_found: check the URL and the model's name"),
        (429, b'{"error": "slow down, Hello"}', "llm_rate_limited", "HTTP 429: the rate limit"),
        (429, b'{"error": {"code": "insufficient_quota"}}', "llm_rate_limited", "quota"),
        (400, b'{"error": {"message": "x", "code": "bad: Hello"}}',
         "llm_http_status", "HTTP 400: the server"),
        (308, b"", "llm_http_status", "HTTP 308: configure the URL it redirects to"),
    ],
)  # fmt: skip
async def test_http_errors_say_what_to_do_and_quote_nothing(
    status: int, body: bytes, code: str, expected: str
) -> None:
    reply = Reply([body], status=status, content_type="application/json")
    async with ChatServer(reply) as server, running(server) as engine:
        _, error = await fails(engine)
    assert error.code == code
    assert error.permanent == (status in (401, 403, 404, 308) or b"insufficient" in body)
    assert error.retry_after_s == 0.0
    assert expected in str(error)
    assert "Hello" not in str(error)
    assert "sk-1" not in str(error)


@pytest.mark.parametrize("status", [429, 503])
async def test_how_long_to_leave_it_alone_is_handed_on(status: int) -> None:
    reply = Reply(status=status, headers={"Retry-After": "7"})
    async with ChatServer(reply) as server, running(server) as engine:
        _, error = await fails(engine)
    assert error.retry_after_s == 7.0
    assert not error.permanent


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
    assert error.code == ("llm_refused" if b"error" in bad else "llm_bad_message")
    assert "Hello" not in str(error)


@pytest.mark.parametrize("content_type", ["text/html", "application/json"])
async def test_a_page_that_is_no_stream_is_named(content_type: str) -> None:
    reply = Reply([b"<html>"], content_type=content_type)
    async with ChatServer(reply) as server, running(server) as engine:
        _, error = await fails(engine)
    assert error.code == "llm_bad_message"
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
    engine = OpenAiChat(f"http://127.0.0.1:{full_port}", "m", connect_s=0.05)
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
    async with ChatServer(reply) as server, running(server, first_token_s=0.1) as engine:
        pieces, error = await asyncio.wait_for(fails(engine), SOON_S)
        await gone(server.exchanges[0])
    assert (pieces, error.code) == ([], "llm_timeout")
    assert "0.1 s" in str(error)


async def test_the_next_token_is_bounded() -> None:
    reply = Reply([*say("one"), asyncio.Event()])
    patience = {"first_token_s": SOON_S, "next_token_s": 0.05}
    async with ChatServer(reply) as server, running(server, **patience) as engine:
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
    assert caught.value.code == "llm_closed"


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
