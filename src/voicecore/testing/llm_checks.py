"""What :class:`~voicecore.engines.protocols.LlmEngine` promises, a function each."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from voicecore.core.conversation import Conversation
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.protocols import LlmEngine
from voicecore.testing.checking import (
    Bench,
    Check,
    NotApplicable,
    checks_of,
    expect,
    piles_nothing_up,
)
from voicecore.testing.lifecycle import has_members, lifecycle_checks
from voicecore.testing.material import asked
from voicecore.testing.watch import loop_stays_free


async def _reply(
    bench: Bench, engine: Any, conversation: Conversation | None = None
) -> list[str | ToolExchange]:
    """A whole reply, each piece looked at as it comes."""
    reply = engine.reply(asked(bench.texts[0]) if conversation is None else conversation)
    pieces: list[str | ToolExchange] = []
    while (piece := await bench.within(anext(reply, None), "the next piece")) is not None:
        expect(
            isinstance(piece, str | ToolExchange),
            f"reply() yields a {type(piece).__name__}, not str or ToolExchange",
        )
        if isinstance(piece, ToolExchange):
            _look_at(piece)
        pieces.append(piece)
    return pieces


def _look_at(exchange: ToolExchange) -> None:
    roles = [message.role for message in exchange.messages]
    calls = exchange.messages[0].tool_calls if exchange.messages else ()
    expect(
        roles[:1] == ["assistant"] and set(roles[1:]) <= {"tool"} and bool(calls),
        f"a ToolExchange holds {', '.join(roles)}: one assistant with tool_calls, then tools",
    )
    answered = [message.tool_call_id for message in exchange.messages[1:]]
    expect(
        answered == [call.call_id for call in calls],
        "a ToolExchange answers other calls than were made, or in another order",
    )


async def _aclose(reply: Any) -> None:
    expect(hasattr(reply, "aclose"), "reply() gives an iterator without aclose()")
    await reply.aclose()


async def has_the_protocol(bench: Bench) -> None:
    """It has the members of LlmEngine, a name and a greeting."""
    engine = has_members(bench, LlmEngine)
    expect(isinstance(engine.greeting, str), "greeting must be a text, perhaps empty")


async def answers(bench: Bench) -> None:
    """A question is answered by pieces of text, tool exchanges among them at most."""
    async with bench.started() as engine:
        for text in bench.texts:
            pieces = await _reply(bench, engine, asked(text))
            said = "".join(piece for piece in pieces if isinstance(piece, str))
            expect(bool(said.strip()), "the answer has no text")


async def warms(bench: Bench) -> None:
    """warm(), where there is one, may be called at any time, and twice."""
    async with bench.started() as engine:
        if not hasattr(engine, "warm"):
            raise NotApplicable("it has no warm()")
        for _ in range(2):
            await bench.within(engine.warm(), "warm()")
        await _reply(bench, engine)


async def leaves_the_conversation_alone(bench: Bench) -> None:
    """A speculative engine's reply changes nothing of the conversation."""
    async with bench.started() as engine:
        if not getattr(engine, "speculative", False):
            raise NotApplicable("it is not speculative")
        conversation = asked(bench.texts[0])
        before = conversation.messages
        await _reply(bench, engine, conversation)
        expect(conversation.messages == before, "the conversation was changed by a reply")


async def can_be_closed_early(bench: Bench) -> None:
    """Closing the iterator, before and after the first piece, is fine; the engine goes on."""
    async with bench.started() as engine:
        await bench.within(_aclose(engine.reply(asked(bench.texts[0]))), "closing at once")
        reply = engine.reply(asked(bench.texts[0]))
        await bench.within(anext(reply, None), "the first piece")
        await bench.within(_aclose(reply), "closing the iterator")
        await _reply(bench, engine)


async def can_be_cancelled(bench: Bench) -> None:
    """Cancelling the task that listens stops the work; the engine goes on."""
    async with bench.started() as engine:
        task = asyncio.ensure_future(_reply(bench, engine))
        await asyncio.sleep(0)
        task.cancel()
        await bench.within(asyncio.wait([task]), "a cancelled reply")
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        await _reply(bench, engine)


async def piles_up_nothing(bench: Bench) -> None:
    """Replies that were closed early leave no task."""
    async with bench.started() as engine:

        async def closed_early() -> None:
            reply = engine.reply(asked(bench.texts[0]))
            await bench.within(anext(reply, None), "the first piece")
            await bench.within(_aclose(reply), "closing the iterator")

        await piles_nothing_up(bench, closed_early)


async def serves_two_at_once(bench: Bench) -> None:
    """Two conversations side by side are both answered."""
    async with bench.started() as engine:
        both = await asyncio.gather(_reply(bench, engine), _reply(bench, engine))
        expect(all(both), "one of two replies side by side is empty")


async def keeps_the_loop_free(bench: Bench) -> None:
    """The event loop never stands still while it answers."""
    async with bench.started() as engine:
        await loop_stays_free(bench, lambda: _reply(bench, engine))


CHECKS: Final[tuple[Check, ...]] = (
    *lifecycle_checks("llm", has_the_protocol, _reply),
    *checks_of(
        "llm",
        answers,
        warms,
        leaves_the_conversation_alone,
        can_be_closed_early,
        can_be_cancelled,
        piles_up_nothing,
        serves_two_at_once,
        keeps_the_loop_free,
    ),
)
