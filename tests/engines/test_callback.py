"""CallbackLlm: an agent's own Python code as an LLM engine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from voicecore.core.conversation import Conversation, Message
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.llm.callback import CallbackLlm
from voicecore.engines.protocols import LlmEngine
from voicecore.errors import EngineError, MisuseError

SOON_S = 60.0


def talk(text: str = "hello") -> Conversation:
    conversation = Conversation()
    conversation.add(Message("user", text))
    return conversation


@contextlib.asynccontextmanager
async def running(agent: Any, **settings: Any) -> AsyncIterator[CallbackLlm]:
    engine = CallbackLlm(agent, **settings)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def collect(engine: LlmEngine, conversation: Conversation | None = None) -> list[str]:
    return [piece async for piece in engine.reply(conversation or talk())]


async def fails(agent: Any) -> EngineError:
    async with running(agent) as engine:
        with pytest.raises(EngineError) as caught:
            await collect(engine)
    assert caught.value.engine == "agent"
    return caught.value


# --- the forms of an agent -------------------------------------------------------------


async def async_generator(conversation: Conversation) -> AsyncIterator[str]:
    yield "you said "
    yield ""
    yield conversation.last_user_text


async def coroutine(conversation: Conversation) -> str:
    return "you said " + conversation.last_user_text


def generator(conversation: Conversation) -> Iterator[str]:
    yield "you said "
    yield conversation.last_user_text


def function(conversation: Conversation) -> str:
    return "you said " + conversation.last_user_text


def listing(conversation: Conversation) -> list[str]:
    return ["you said ", conversation.last_user_text]


async def hands_on(conversation: Conversation) -> AsyncIterator[str]:
    return async_generator(conversation)


def named(prefix: str, conversation: Conversation) -> str:
    return prefix + conversation.last_user_text


class WithReply:
    greeting = "Good day."

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        yield "you said " + conversation.last_user_text


class WithSyncReply:
    def reply(self, conversation: Conversation) -> Iterator[str]:
        yield "you said " + conversation.last_user_text


class Callable_:
    async def __call__(self, conversation: Conversation) -> str:
        return "you said " + conversation.last_user_text


class BareIterator:
    """An async iterator that is no generator and has nothing to close."""

    def __init__(self, conversation: Conversation) -> None:
        self.pieces = ["you said ", conversation.last_user_text]

    def __aiter__(self) -> BareIterator:
        return self

    async def __anext__(self) -> str:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)


@pytest.mark.parametrize(
    "agent",
    [
        async_generator,
        coroutine,
        generator,
        function,
        listing,
        hands_on,
        functools.partial(named, "you said "),
        lambda conversation: async_generator(conversation),
        WithReply(),
        WithSyncReply(),
        Callable_(),
        lambda conversation: BareIterator(conversation),
    ],
)
async def test_every_form_of_agent_answers(agent: Any) -> None:
    async with running(agent) as engine:
        assert isinstance(engine, LlmEngine)
        pieces = await collect(engine)
        assert "".join(pieces) == "you said hello"
        assert "" not in pieces


async def test_saying_nothing_is_an_answer() -> None:
    async with running(lambda conversation: "") as engine:
        assert await collect(engine) == []


def test_greetings() -> None:
    assert CallbackLlm(function).greeting == ""
    assert CallbackLlm(WithReply()).greeting == "Good day."
    assert CallbackLlm(WithReply(), "").greeting == ""
    assert CallbackLlm(function, "Hello").greeting == "Hello"


async def test_pieces_come_as_they_are_made() -> None:
    gate = asyncio.Event()

    async def agent(conversation: Conversation) -> AsyncIterator[str]:
        yield "one"
        await gate.wait()
        yield "two"

    async with running(agent) as engine:
        reply = engine.reply(talk())
        assert await anext(reply) == "one"
        gate.set()
        assert [piece async for piece in reply] == ["two"]


async def test_blocking_agents_run_side_by_side_off_the_loop() -> None:
    met = threading.Barrier(3)

    def agent(conversation: Conversation) -> Iterator[str]:
        met.wait(SOON_S)
        yield str(threading.get_ident() != loop_thread)

    loop_thread = threading.get_ident()
    async with running(agent) as engine:
        replies = asyncio.gather(*(collect(engine) for _ in range(3)))
        assert await asyncio.wait_for(replies, SOON_S) == [["True"]] * 3


async def test_an_agents_start_and_close_are_called() -> None:
    calls: list[str] = []

    class Agent(WithReply):
        async def start(self) -> None:
            calls.append("start")

        def close(self) -> None:
            calls.append("close")

    async with running(Agent()) as engine:
        await engine.start()
        assert await collect(engine) == ["you said hello"]
        await engine.close()
    assert calls == ["start", "close"]


# --- what goes wrong -------------------------------------------------------------------


class OddError(Exception):
    pass


def raising(error: BaseException) -> list[Any]:
    async def async_gen(conversation: Conversation) -> AsyncIterator[str]:
        raise error
        yield ""

    async def coro(conversation: Conversation) -> str:
        raise error

    def gen(conversation: Conversation) -> Iterator[str]:
        raise error
        yield ""

    def plain(conversation: Conversation) -> str:
        raise error

    return [async_gen, coro, gen, plain]


@pytest.mark.parametrize("form", range(4))
@pytest.mark.parametrize("error", [OddError("what"), StopIteration(), TimeoutError(), OSError()])
async def test_an_agents_exception_is_an_engine_error(
    form: int, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        raised = await fails(raising(error)[form])
    assert raised.code == "agent_failed"
    assert "what" not in str(raised)
    assert "Traceback" in caplog.text
    assert "hello" not in caplog.text, "the transcript is not logged"


async def test_pieces_before_the_exception_count() -> None:
    async def agent(conversation: Conversation) -> AsyncIterator[str]:
        yield "one"
        raise OddError

    async with running(agent) as engine:
        reply = engine.reply(talk())
        assert await anext(reply) == "one"
        with pytest.raises(EngineError):
            await anext(reply)
        assert [piece async for piece in reply] == []


async def test_an_engine_error_of_the_agent_passes_as_it_is() -> None:
    own = EngineError("out of quota", engine="agent", code="quota")
    for agent in raising(own):
        assert await fails(agent) is own


@pytest.mark.parametrize("form", [0, 1])
async def test_a_cancellation_from_inside_is_the_agents_failure(form: int) -> None:
    """Say, of a task of its own: the call's task is not cancelled by it."""
    error = await fails(raising(asyncio.CancelledError())[form])
    assert error.code == "agent_failed"


@pytest.mark.parametrize("value", [None, 7, b"bytes", {"text": "x"}])
async def test_anything_but_text_is_refused(value: Any) -> None:
    async def agent(conversation: Conversation) -> AsyncIterator[Any]:
        yield value

    for form in (agent, lambda conversation: value, lambda conversation: iter([value])):
        error = await fails(form)
        assert error.code == "agent_bad_reply"
        assert type(value).__name__ in str(error)


@pytest.mark.parametrize(
    "agent",
    [7, "text", None, object(), WithReply, lambda: "x", lambda conversation, more: "x"],
)
def test_what_is_no_agent_is_refused(agent: Any) -> None:
    with pytest.raises(MisuseError) as caught:
        CallbackLlm(agent)
    assert caught.value.code == "agent_wrong_kind"


async def test_order_of_start_reply_and_close() -> None:
    engine = CallbackLlm(function)
    with pytest.raises(MisuseError, match="start"):
        engine.reply(talk())
    await engine.close()
    await engine.start()
    assert await collect(engine) == ["you said hello"]
    await engine.close()
    with pytest.raises(MisuseError, match="start"):
        engine.reply(talk())


async def test_an_agent_that_cannot_start_is_an_engine_error() -> None:
    class Agent(WithReply):
        def start(self) -> None:
            raise OddError

    engine = CallbackLlm(Agent())
    with pytest.raises(EngineError):
        await engine.start()
    await engine.close()


# --- giving up -------------------------------------------------------------------------


class Endless:
    """Waits for ever after its first piece, and says when it was cleaned up."""

    def __init__(self, fail: bool = False) -> None:
        self.fail = fail
        self.began = asyncio.Event()
        self.cleaned = False

    async def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        try:
            yield "one"
            self.began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # clean-up may await
            self.cleaned = True
            if self.fail:
                raise OddError


@pytest.mark.parametrize("fail", [False, True])
async def test_closing_the_iterator_runs_the_clean_up(fail: bool) -> None:
    agent = Endless(fail)
    async with running(agent) as engine:
        reply = engine.reply(talk())
        assert await anext(reply) == "one"
        await reply.aclose()
        assert agent.cleaned


@pytest.mark.parametrize("fail", [False, True])
async def test_cancelling_the_task_runs_the_clean_up(fail: bool) -> None:
    agent = Endless(fail)
    async with running(agent) as engine:
        task = asyncio.create_task(collect(engine))
        await asyncio.wait_for(agent.began.wait(), SOON_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert agent.cleaned


async def test_closing_runs_a_sync_generators_clean_up() -> None:
    cleaned = threading.Event()

    def agent(conversation: Conversation) -> Iterator[str]:
        try:
            yield "one"
            yield "two"
        finally:
            cleaned.set()

    held = agent(talk())
    async with running(lambda conversation: held) as engine:
        reply = engine.reply(talk())
        assert await anext(reply) == "one"
        await reply.aclose()
        assert cleaned.is_set()


async def test_a_blocked_sync_agent_is_left_at_once_and_closed_when_it_returns() -> None:
    loop = asyncio.get_running_loop()
    began, release, cleaned = asyncio.Event(), threading.Event(), threading.Event()

    def agent(conversation: Conversation) -> Iterator[str]:
        try:
            loop.call_soon_threadsafe(began.set)
            release.wait(SOON_S)
            yield "too late"
        finally:
            cleaned.set()

    held = agent(talk())  # a reference of our own: the garbage collector doesn't clean up
    async with running(lambda conversation: held) as engine:
        task = asyncio.create_task(collect(engine))
        await asyncio.wait_for(began.wait(), SOON_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not cleaned.is_set()
        release.set()
        assert await asyncio.to_thread(cleaned.wait, SOON_S)


async def test_closing_the_engine_ends_a_sync_reply() -> None:
    async with running(generator) as engine:
        reply = engine.reply(talk())
        assert await anext(reply) == "you said "
        await engine.close()
        with pytest.raises(EngineError):
            await anext(reply)


async def test_closing_the_iterator_after_the_engine() -> None:
    async with running(generator) as engine:
        reply = engine.reply(talk())
        assert await anext(reply) == "you said "
        await engine.close()
        await reply.aclose()


@pytest.mark.parametrize("fails", [False, True])
async def test_an_agent_that_wants_to_be_warmed_is(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Warmed(WithReply):
        warmed = 0

        async def warm(self) -> None:
            self.warmed += 1
            if fails:
                raise ValueError("no")

    agent = Warmed()
    async with running(agent) as engine:
        await engine.warm()
    assert agent.warmed == 1
    assert ("agent's warm failed" in caplog.text) == fails
    async with running(WithReply()) as engine:
        await engine.warm()


async def test_what_another_engines_tools_did_is_handed_on() -> None:
    exchange = ToolExchange((Message("assistant", ""),))

    async def agent(conversation: Conversation) -> AsyncIterator[str | ToolExchange]:
        yield exchange
        yield "Done."

    async with running(agent) as engine:
        assert [piece async for piece in engine.reply(talk())] == [exchange, "Done."]
