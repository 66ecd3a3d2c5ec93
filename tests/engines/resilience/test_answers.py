"""Language models and synthesisers in chains: who answers, when, and what is left over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import numpy as np
import pytest

from fakes.scripted_engines import HANG, Counted, ScriptedLlm, ScriptedTts, broken
from fakes.virtual_loop import virtually
from voicecore.core.conversation import Conversation
from voicecore.engines.protocols import SpeechChunk
from voicecore.engines.resilience.llm import ResilientLlm
from voicecore.engines.resilience.policy import AnswerPolicy
from voicecore.engines.resilience.tts import ResilientTts
from voicecore.errors import EngineError, MissingLibraryError


def llm_of(*engines: ScriptedLlm, **policy: Any) -> tuple[ResilientLlm, Counted]:
    meter = Counted()
    llm = ResilientLlm(engines, policy=AnswerPolicy(**policy), meter=meter, random=Random(3))
    return llm, meter


async def ask(llm: ResilientLlm) -> str:
    return "".join([str(piece) async for piece in llm.reply(Conversation())])


def leaves_nothing(
    main: Callable[[], Coroutine[Any, Any, None]],
) -> Callable[[], None]:
    async def checked() -> None:
        await main()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        assert rest == set()

    def test() -> None:
        virtually(checked())

    test.__name__, test.__doc__ = main.__name__, main.__doc__
    return test


@leaves_nothing
async def test_one_that_works_is_passed_through() -> None:
    engine = ScriptedLlm(["Hel", 0.5, "lo."])
    llm, meter = llm_of(engine)
    await llm.start()
    assert await ask(llm) == "Hello."
    assert meter.of("first_byte") == [("llm", "scripted", 0.0)]
    assert llm.health()[0].state == "up"
    await llm.close()
    assert engine.closed == 1
    assert engine.open == 0


@leaves_nothing
async def test_it_is_asked_again_after_a_short_while() -> None:
    engine = ScriptedLlm([broken("llm_unreachable")], ["Yes."])
    llm, meter = llm_of(engine)
    await llm.start()
    assert await ask(llm) == "Yes."
    assert engine.asked == 2
    assert [row[2] for row in meter.of("failed")] == ["llm_unreachable"]
    await llm.close()


@leaves_nothing
async def test_the_next_one_is_asked_where_it_fails() -> None:
    first = ScriptedLlm([broken("llm_http_status")], name="first")
    second = ScriptedLlm(["Second."], name="second")
    llm, meter = llm_of(first, second)
    await llm.start()
    assert await ask(llm) == "Second."
    assert first.asked == 2
    assert meter.of("fell_back") == [("llm", "first", "second", "failed")]
    await llm.close()


@leaves_nothing
async def test_silence_is_given_up_in_time() -> None:
    first = ScriptedLlm([HANG], name="first")
    second = ScriptedLlm(["Second."], name="second")
    llm, _ = llm_of(first, second, first_item_s=3.0)
    await llm.start()
    began_s = asyncio.get_running_loop().time()
    assert await ask(llm) == "Second."
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(3.0, abs=0.01)
    assert first.asked == 1, "one that is silent is not asked again"
    assert first.open == 0
    await llm.close()


@leaves_nothing
async def test_a_slow_one_is_hedged_and_the_loser_is_closed() -> None:
    first = ScriptedLlm([2.0, "First."], name="first")
    second = ScriptedLlm([0.5, "Sec", 0.2, "ond."], name="second")
    llm, meter = llm_of(first, second, hedge_s=1.0)
    await llm.start()
    began_s = asyncio.get_running_loop().time()
    assert await ask(llm) == "Second."
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(1.7, abs=0.01)
    assert first.open == second.open == 0
    assert meter.of("fell_back") == [("llm", "first", "second", "slow")]
    await llm.close()


@leaves_nothing
async def test_a_hedge_that_is_not_needed_is_closed_too() -> None:
    first = ScriptedLlm([1.2, "First."], name="first")
    second = ScriptedLlm([0.5, "Second."], name="second")
    llm, _ = llm_of(first, second, hedge_s=1.0)
    await llm.start()
    assert await ask(llm) == "First."
    assert first.open == second.open == 0
    await llm.close()


@leaves_nothing
async def test_a_break_in_mid_answer_is_an_error_not_a_second_answer() -> None:
    engine = ScriptedLlm(["Half an ", broken("llm_closed")])
    llm, _ = llm_of(engine, ScriptedLlm(["Other."], name="second"))
    await llm.start()
    reply = llm.reply(Conversation())
    assert await anext(reply) == "Half an "
    with pytest.raises(EngineError):
        await anext(reply)
    await llm.close()


@leaves_nothing
async def test_a_stall_in_mid_answer_is_given_up() -> None:
    llm, _ = llm_of(ScriptedLlm(["Well, ", HANG]), next_item_s=4.0)
    await llm.start()
    with pytest.raises(EngineError) as caught:
        await ask(llm)
    assert caught.value.code == "llm_timeout"
    await llm.close()


@leaves_nothing
async def test_closing_the_reply_closes_the_engines() -> None:
    for hedge_s in (0.0, 0.5):
        engine = ScriptedLlm(["One. ", HANG])
        llm, _ = llm_of(engine, ScriptedLlm([HANG], name="second"), hedge_s=hedge_s)
        await llm.start()
        reply = llm.reply(Conversation())
        assert await anext(reply) == "One. "
        await reply.aclose()
        assert engine.open == 0
        await llm.close()


@leaves_nothing
async def test_cancelling_while_two_are_asked_closes_both() -> None:
    first, second = ScriptedLlm([HANG], name="first"), ScriptedLlm([HANG], name="second")
    llm, _ = llm_of(first, second, hedge_s=0.5)
    await llm.start()
    task = asyncio.create_task(ask(llm))
    await asyncio.sleep(1)
    assert first.open == second.open == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert first.open == second.open == 0
    await llm.close()


@leaves_nothing
async def test_what_keeps_failing_is_left_alone_and_asked_again_later() -> None:
    engine = ScriptedLlm(*[[broken("llm_http_status")]] * 4, ["Yes."])
    llm, meter = llm_of(engine, failures=4, attempts=2)
    await llm.start()
    for _ in range(2):
        with pytest.raises(EngineError):
            await ask(llm)
    asked = engine.asked
    with pytest.raises(EngineError, match=r"no llm engine works: .*scripted: it broke") as caught:
        await ask(llm)
    assert caught.value.code == "llm_down"
    assert engine.asked == asked, "it is left alone"
    assert llm.health()[0].state == "down"
    assert llm.health()[0].reason == "scripted: it broke"
    await asyncio.sleep(6)
    assert llm.health()[0].state == "up"
    assert [state for _, _, state in meter.of("circuit")] == ["open", "closed"]
    assert await ask(llm) == "Yes."
    await llm.close()


@leaves_nothing
async def test_closing_ends_the_asking() -> None:
    engine = ScriptedLlm([broken("llm_key", permanent=True)])
    llm, _ = llm_of(engine)
    await llm.start()
    with pytest.raises(EngineError):
        await ask(llm)
    assert engine.asked == 1, "a refused key is not tried again"
    await llm.close()


@leaves_nothing
async def test_retry_after_is_obeyed() -> None:
    engine = ScriptedLlm([broken("llm_rate_limited", retry_after_s=2.0)], ["Yes."])
    llm, _ = llm_of(engine, first_item_s=1.0)
    await llm.start()
    with pytest.raises(EngineError):
        await ask(llm)
    await asyncio.sleep(1.9)
    assert engine.asked == 1
    assert llm.health()[0].state == "down"
    await asyncio.sleep(4)
    assert llm.health()[0].state == "up"
    await llm.close()


@leaves_nothing
async def test_one_that_can_not_start_does_not_keep_the_others_from_it() -> None:
    first, second = ScriptedLlm(["First."], name="first"), ScriptedLlm(["Second."], name="second")
    first.start_error = broken("llm_unreachable")
    llm, _ = llm_of(first, second)
    await llm.start()
    assert await ask(llm) == "Second."
    first.start_error = None
    await asyncio.sleep(8)
    assert await ask(llm) == "First."
    await llm.close()
    second.start_error = MissingLibraryError("pip install it")
    with pytest.raises(MissingLibraryError):
        await llm.start()
    await llm.close()


@leaves_nothing
async def test_what_an_engine_should_not_raise_is_an_engine_error() -> None:
    llm, _ = llm_of(ScriptedLlm([ZeroDivisionError()]))
    await llm.start()
    with pytest.raises(EngineError) as caught:
        await ask(llm)
    assert caught.value.code == "llm_raised"
    await llm.close()


# -- voices -------------------------------------------------------------------------------


def tts_of(*engines: ScriptedTts, **policy: Any) -> tuple[ResilientTts, Counted]:
    meter = Counted()
    tts = ResilientTts(engines, policy=AnswerPolicy(**policy), meter=meter, random=Random(3))
    return tts, meter


async def say(tts: ResilientTts, text: str) -> list[SpeechChunk]:
    return [chunk async for chunk in tts.speak(text)]


def words(text: str, chunks: list[SpeechChunk]) -> list[tuple[str, int]]:
    marks = [mark for chunk in chunks for mark in chunk.words]
    return [(text[mark.char_start : mark.char_end], mark.sample) for mark in marks]


@leaves_nothing
async def test_speech_passes_through() -> None:
    tts, _ = tts_of(ScriptedTts(["one", "two"]))
    await tts.start()
    chunks = await say(tts, "one two")
    assert words("one two", chunks) == [("one", 0), ("two", 1600)]
    assert sum(len(chunk.pcm) for chunk in chunks) == 3200
    await tts.close()


@leaves_nothing
async def test_a_voice_that_breaks_in_mid_sentence_is_followed_by_the_next() -> None:
    text = "one two three four"
    first = ScriptedTts(["one", "two", broken("tts_closed")], name="first")
    second = ScriptedTts(["three", "four"], name="second", rate_hz=8000)
    tts, _ = tts_of(first, second)
    await tts.start()
    chunks = await say(tts, text)
    assert second.texts == [" three four"]
    assert words(text, chunks) == [("one", 0), ("two", 1600), ("three", 3200), ("four", 4800)]
    samples = np.concatenate([chunk.pcm for chunk in chunks])
    assert abs(len(samples) - 4 * 1600) < 40
    assert all(chunk.pcm.dtype == np.int16 for chunk in chunks)
    await tts.close()


@leaves_nothing
async def test_without_word_times_a_broken_sentence_is_lost() -> None:
    first = ScriptedTts(["one", broken("tts_closed")], name="first", marks=False)
    second = ScriptedTts(["one", "two"], name="second")
    tts, _ = tts_of(first, second)
    await tts.start()
    with pytest.raises(EngineError):
        await say(tts, "one two")
    assert second.texts == []
    await tts.close()


@leaves_nothing
async def test_nothing_was_said_so_the_next_begins_anew() -> None:
    first = ScriptedTts([HANG], name="first", marks=False)
    second = ScriptedTts(["one", "two"], name="second")
    tts, _ = tts_of(first, second, first_item_s=1.0)
    await tts.start()
    assert words("one two", await say(tts, "one two")) == [("one", 0), ("two", 1600)]
    await tts.close()


@leaves_nothing
async def test_a_stall_within_the_last_word_is_no_reason_to_say_it_twice() -> None:
    first = ScriptedTts(["one", "two", HANG], name="first")
    second = ScriptedTts(["never"], name="second")
    tts, _ = tts_of(first, second, next_item_s=2.0)
    await tts.start()
    assert words("one two", await say(tts, "one two")) == [("one", 0), ("two", 1600)]
    assert second.texts == []
    await tts.close()


@leaves_nothing
async def test_sessions_are_made_for_a_call_and_closed_with_it() -> None:
    class Warm(ScriptedTts):
        sessions = 0
        warmed = 0

        def session(self) -> Warm:
            Warm.sessions += 1
            return self

        async def warm(self) -> None:
            Warm.warmed += 1

        def speak(self, text: str, *, answer: int = 0) -> Any:
            return super().speak(text)

        async def close(self) -> None:
            Warm.sessions -= 1

    engine = Warm(["one"])
    tts, _ = tts_of(engine)
    await tts.start()
    session = tts.session()
    await session.warm()
    assert (Warm.sessions, Warm.warmed) == (1, 1)
    assert [len(c.pcm) async for c in session.speak("one", answer=4)] == [1600]
    assert Warm.sessions == 1
    await session.close()
    assert Warm.sessions == 0
    await tts.close()
