"""The Realtime API as the whole agent, against a server that keeps a conversation as it does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import numpy as np
import pytest

from fakes.openai_realtime_server import Call, RealtimeCall, RealtimeServer, voice_ms, voice_of
from fakes.realtime_talk import KEY, push, talking
from voicecore._native.resample import Resampler
from voicecore.core.conversation import Message
from voicecore.engines.llm.tools import Tool
from voicecore.engines.protocols import SttSession, SttStream
from voicecore.engines.s2s.openai_realtime import OpenAiRealtime
from voicecore.engines.s2s.protocol import (
    UNKNOWN_WORDS,
    SpeechReply,
    SpeechSession,
    SpeechToSpeechEngine,
)
from voicecore.engines.s2s.realtime_reply import ReplyLimits
from voicecore.engines.s2s.realtime_session import SessionLimits
from voicecore.errors import EngineError, MisuseError

MORNING = "You said good morning. Is there more?"


async def unheard(talk: Any) -> Any:
    """A question whose answer has begun: its first 100 ms came, the rest is held back."""
    talk.server.gates.voice.clear()
    await talk.ask()
    reply = talk.session.answer()
    async for piece in reply:
        if not isinstance(piece, str):
            return reply
    raise AssertionError("no audio came")


# -- one turn --------------------------------------------------------------------------------


async def test_a_turn_is_heard_understood_and_answered() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        assert isinstance(talk.engine, SpeechToSpeechEngine)
        assert isinstance(talk.session, SpeechSession)
        assert isinstance(talk.session, SttSession)
        assert isinstance(talk.session.answer(), SpeechReply)
        assert await talk.ask() == "good morning"
        heard = await talk.hear()
        assert heard.text == MORNING
        assert heard.pcm == voice_of(MORNING)
        assert server.call.said() == [("user", "good morning"), ("assistant", MORNING)]
        assert server.call.errors == []


async def test_the_session_is_settled_once_and_turns_are_ours() -> None:
    def weather(city: str) -> str:
        """The weather."""
        return city

    settings: dict[str, Any] = {
        "model": "gpt-x", "voice": "cedar", "instructions": "Be brief.", "language": "de",
        "transcription_model": "scribe", "tools": [weather], "options": {"max_output_tokens": 99},
    }  # fmt: skip
    async with RealtimeServer() as server, talking(server, **settings) as talk:
        await talk.session.warm()
        await talk.ask()
        await talk.hear()
        assert server.models == ["gpt-x"]
        assert server.call.headers["Authorization"] == f"Bearer {KEY}"
        assert server.call.kinds().count("session.update") == 1
        pcm = {"type": "audio/pcm", "rate": 24_000}
        assert server.call.settings == {
            "type": "realtime",
            "model": "gpt-x",
            "output_modalities": ["audio"],
            "instructions": "Be brief.",
            "max_output_tokens": 99,
            "audio": {
                "input": {
                    "format": pcm,
                    "turn_detection": None,
                    "transcription": {"model": "scribe", "language": "de"},
                },
                "output": {"format": pcm, "voice": "cedar"},
            },
            "tools": [
                {
                    "type": "function",
                    "name": "weather",
                    "description": "The weather.",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                }
            ],
        }


async def test_audio_goes_out_at_24_khz_whole() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        utterance = await talk.speak(0)
        assert isinstance(utterance, SttStream)
        tone = (5000 * np.sin(np.arange(16_000) * 0.2)).astype(np.int16)
        for begin in range(0, len(tone), 777):
            utterance.push(tone[begin : begin + 777])
        await utterance.finish()
        resampler = Resampler(16_000, 24_000)
        whole = np.concatenate([resampler.process(tone), resampler.flush()])
        assert server.call.committed == [whole.astype("<i2").tobytes()]


@pytest.mark.parametrize("ms", [0, 20])
async def test_too_little_audio_to_be_committed_is_padded(ms: int) -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        assert await talk.ask(ms) == "good morning"
        assert len(server.call.committed[0]) >= 2 * 2400
        assert server.call.errors == []


async def test_the_answer_is_asked_for_before_the_words_are_known() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        server.gates.words.clear()
        finishing = asyncio.ensure_future((await talk.speak()).finish())
        await server.call.until_came("response.create")
        await server.call.until(lambda call: call.spoken == [MORNING])
        assert not finishing.done()
        server.gates.words.set()
        assert await finishing == "good morning"
        talk.conversation.add(Message("user", "good morning"))
        assert (await talk.hear()).text == MORNING
        assert server.call.kinds().count("response.create") == 1


@pytest.mark.parametrize(("said", "words"), [(None, UNKNOWN_WORDS), ("", "")])
async def test_words_that_can_not_be_told(said: str | None, words: str) -> None:
    server = RealtimeServer(understand=lambda number, pcm: said)
    async with server, talking(server) as talk:
        assert await talk.ask() == words
        if words:
            assert (await talk.hear()).text.startswith("You said")
        else:
            # Nothing was said: neither that nor an answer to it is left.
            await server.call.until(lambda call: not call.items)
        assert server.call.errors == []


@pytest.mark.parametrize("transcribed", [True, False])
async def test_words_that_do_not_come_are_not_waited_for(transcribed: bool) -> None:
    model = "scribe" if transcribed else ""
    server = RealtimeServer()
    async with server, talking(server, transcript_s=0.05, transcription_model=model) as talk:
        server.gates.words.clear()
        assert await talk.ask() == UNKNOWN_WORDS
        assert (await talk.hear()).text == MORNING
        # That it is unknown to us is nothing the model has to be told.
        assert "conversation.item.create" not in server.call.kinds()


# -- the caller goes on, or it was nothing -----------------------------------------------------


async def test_who_speaks_on_is_answered_once_and_the_early_answer_never_was() -> None:
    parts = ("I would like", "two tickets")
    server = RealtimeServer(understand=lambda number, pcm: parts[number])
    async with server, talking(server) as talk:
        server.gates.voice.clear()
        assert await talk.ask() == parts[0]
        await server.call.until(lambda call: call.spoken)
        utterance = await talk.speak()
        await server.call.until_came("response.cancel")
        server.gates.voice.set()
        assert await utterance.finish() == parts[1]
        heard = await talk.hear()
        assert heard.text == "You said two tickets. Is there more?"
        assert server.call.said() == [
            ("user", parts[0]), ("user", parts[1]), ("assistant", heard.text),
        ]  # fmt: skip
        assert server.call.errors == []


async def test_an_early_answer_that_is_done_already_leaves_nothing_either() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        await talk.ask()
        await server.call.until(lambda call: call.spoken == [MORNING])
        await talk.speak()
        await server.call.until(lambda call: len(call.items) == 1)
        assert server.call.said() == [("user", "good morning")]


async def test_an_utterance_given_up_is_cleared() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        utterance = await talk.speak(300)
        await utterance.cancel()
        await server.call.until_came("input_audio_buffer.clear")
        await talk.ask(400)
        (pcm,) = server.call.committed
        assert len(pcm) == pytest.approx(2 * 24 * 400, abs=200)


async def test_an_utterance_given_up_after_its_end_is_taken_back() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        server.gates.words.clear()
        server.gates.voice.clear()
        utterance = await talk.speak()
        finishing = asyncio.ensure_future(utterance.finish())
        await server.call.until(lambda call: call.spoken)
        finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        await utterance.cancel()
        await server.call.until(lambda call: not call.items and call.cancelled)
        assert server.call.errors == []


async def test_what_was_no_part_of_the_conversation_is_deleted_with_the_next_answer() -> None:
    parts = ("tell me more", "uh huh", "and then")
    server = RealtimeServer(understand=lambda number, pcm: parts[number])
    async with server, talking(server) as talk:
        await talk.ask()
        reply = talk.session.answer()
        async for _ in reply:
            pass
        # Said over the agent's voice: the core takes it for nothing.
        assert await (await talk.speak()).finish() == "uh huh"
        assert server.call.kinds().count("response.create") == 1
        reply.end(None)
        talk.conversation.add(Message("assistant", "You said tell me more. Is there more?"))
        await talk.ask()
        heard = await talk.hear()
        await server.call.until_came("conversation.item.delete")
        assert [said for role, said in server.call.said() if role == "user"] == [
            parts[0], parts[2],
        ]  # fmt: skip
        assert heard.text == "You said and then. Is there more?"


async def test_two_utterances_at_once_do_not_mix() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        first = await talk.speak(200)
        second = await talk.speak(300)
        push(first, 200)
        push(second, 300)
        other = asyncio.ensure_future(second.finish())
        await first.finish()
        await other
        lengths = [len(pcm) / 48 for pcm in server.call.committed]
        assert lengths == pytest.approx([400, 600], abs=3)


async def test_no_answer_is_begun_early_beyond_the_budget() -> None:
    async with RealtimeServer() as server, talking(server, wasted_per_minute=1) as talk:
        for _ in range(2):
            await talk.ask()
        await talk.ask()
        asked = server.call.kinds().count("response.create")
        assert asked == 1
        assert (await talk.hear()).text == MORNING


# -- what was heard ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("played_ms", "left"),
    [(0.0, None), (0.9, None), (1.0, 1), (60.4, 60), (100.0, 100), (5000.0, 100)],
)
async def test_an_interrupted_answer_ends_where_it_was_heard(
    played_ms: float, left: int | None
) -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        reply = await unheard(talk)
        reply.end(played_ms)
        reply.end(4321.0)
        await server.call.until(lambda call: call.cancelled)
        kinds = server.call.kinds()
        if left is None:
            await server.call.until_came("conversation.item.delete")
            assert server.call.said() == [("user", "good morning")]
        else:
            truncate = await server.call.until_came("conversation.item.truncate")
            assert truncate["audio_end_ms"] == left
            assert truncate["content_index"] == 0
            assert (server.call.items[-1].audio_ms, server.call.items[-1].text) == (left, None)
        assert kinds.index("response.cancel") == len(kinds) - 1 or "response.cancel" in kinds
        assert server.call.errors == []


@pytest.mark.parametrize(("played_ms", "left"), [(None, None), (1234.5, 1234), (9999.0, None)])
async def test_an_answer_that_came_whole(played_ms: float | None, left: int | None) -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        await talk.ask()
        reply = talk.session.answer()
        async for _ in reply:
            pass
        reply.end(played_ms)
        await talk.ask()
        # What was sent before it has been dealt with by now.
        item = server.call.items[1]
        assert item.audio_ms == (voice_ms(MORNING) if left is None else left)
        assert server.call.errors == []
        assert "response.cancel" not in server.call.kinds()


async def test_an_answer_ended_before_it_began_is_not_asked_for_in_vain_for_ever() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        server.gates.answer.clear()
        await talk.ask()
        reply = talk.session.answer()
        waiting = asyncio.ensure_future(anext(aiter(reply)))
        await server.call.until_came("response.create")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        reply.end(0.0)
        await server.call.until(lambda call: call.cancelled)
        server.gates.answer.set()
        await talk.ask()
        assert (await talk.hear()).text == MORNING
        assert server.call.errors == []


# -- words that are given ------------------------------------------------------------------------


async def test_a_text_is_said_as_it_is() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        heard = await talk.hear(talk.session.say("Welcome to the museum."))
        assert heard.pcm == voice_of("Welcome to the museum.")
        response = (await server.call.until_came("response.create"))["response"]
        assert response["input"] == []
        assert response["tool_choice"] == "none"


async def test_keys_are_words_too() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        talk.conversation.add(Message("user", "[keys: 42#]"))
        assert (await talk.hear()).text == "You said [keys: 42#]. Is there more?"
        await talk.ask()
        # What was spoken is known; the keys pressed meanwhile aren't.
        talk.conversation.add(Message("user", "[keys: 7]"))
        assert (await talk.hear()).text == "You said [keys: 7]. Is there more?"
        assert [text for role, text in server.call.said() if role == "user"] == [
            "[keys: 42#]", "good morning", "[keys: 7]",
        ]  # fmt: skip
        assert server.call.errors == []


# -- tools -----------------------------------------------------------------------------------------


def asks_for(*calls: Call) -> Any:
    """The model calls these one after the other, then says what the last tool answered."""
    waiting = list(calls)

    def think(call: RealtimeCall, asked: dict[str, Any]) -> Any:
        if waiting and asked.get("tool_choice") != "none":
            return waiting.pop(0)
        results = [item.text for item in call.items if item.kind == "function_call_output"]
        return f"It says {results[-1]}." if results else "Nothing."

    return think


async def test_a_tool_is_run_and_its_result_spoken() -> None:
    def weather(city: str) -> str:
        return f"rain in {city}"

    think = asks_for(Call("weather", '{"city": "Bonn"}', preamble="One moment."))
    async with RealtimeServer(think=think) as server, talking(server, tools=[weather]) as talk:
        await talk.ask()
        heard = await talk.hear()
        assert heard.text == "One moment. It says rain in Bonn."
        assert heard.pcm == voice_of("One moment.") + voice_of("It says rain in Bonn.")
        ((asked, answered),) = (exchange.messages for exchange in heard.exchanges)
        assert [(c.name, c.arguments) for c in asked.tool_calls] == [
            ("weather", '{"city": "Bonn"}')
        ]
        assert answered.text == "rain in Bonn"
        assert answered.tool_call_id == asked.tool_calls[0].call_id
        output = [i for i in server.call.items if i.kind == "function_call_output"]
        assert output[0].fields["call_id"] == asked.tool_calls[0].call_id
        assert server.call.errors == []


async def test_no_tool_is_run_for_a_turn_that_is_not_over() -> None:
    runs: list[str] = []
    think = asks_for(Call("book", "{}"), Call("book", "{}"))
    server = RealtimeServer(think=think)
    async with server, talking(server, tools=[lambda_named("book", runs)]) as talk:
        await talk.ask()
        await server.call.until(lambda call: len(call.items) == 2)
        await talk.ask()
        await server.call.until(lambda call: "function_call" in [i.kind for i in call.items])
        assert runs == []
        await talk.hear()
        assert runs == ["book"]
        assert server.call.errors == []


async def test_rounds_of_tools_come_to_an_end() -> None:
    runs: list[str] = []
    think = asks_for(*[Call("again", "{}")] * 50)
    limits = SessionLimits(reply=ReplyLimits(tool_rounds=3))
    async with RealtimeServer(think=think) as server:
        tools = [lambda_named("again", runs)]
        async with talking(server, tools=tools, limits=limits) as talk:
            await talk.ask()
            assert (await talk.hear()).text == "It says done."
            assert len(runs) == 3


@pytest.mark.parametrize("uninterruptible", [False, True])
async def test_an_interrupted_tool_is_told_of_by_the_next_answer(uninterruptible: bool) -> None:
    running, gate = asyncio.Event(), asyncio.Event()
    ends: list[str] = []

    async def book() -> str:
        running.set()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise
        ends.append("booked")
        return "table 4"

    tool = Tool(book, uninterruptible=uninterruptible)
    server = RealtimeServer(think=asks_for(Call("book", "{}")))
    async with server, talking(server, tools=[tool]) as talk:
        await talk.ask()
        reply = talk.session.answer()
        waiting = asyncio.ensure_future(anext(aiter(reply)))
        await running.wait()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        reply.end(0.0)
        # The call without its result is taken back.
        await server.call.until(lambda call: len(call.items) == 1)
        gate.set()
        await talk.ask()
        heard = await talk.hear()
        assert ends == ["booked" if uninterruptible else "cancelled"]
        (exchange,) = heard.exchanges
        asked, answered = exchange.messages
        assert asked.tool_calls[0].name == "book"
        assert ("table 4" if uninterruptible else "cancelled") in answered.text
        assert heard.text == f"It says {answered.text}."
        kinds = [item.kind for item in server.call.items]
        assert kinds == ["message", "message", "function_call", "function_call_output", "message"]
        await talk.ask()
        assert (await talk.hear()).exchanges == []
        assert server.call.errors == []


def lambda_named(name: str, runs: list[str]) -> Any:
    def tool() -> str:
        runs.append(name)
        return "done"

    tool.__name__ = name
    return tool


# -- bad days ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("rate_limit_exceeded", "s2s_rate_limited"),
        ("insufficient_quota", "s2s_rate_limited"),
        ("server_error", "s2s_refused"),
        ("Hello, I am a quotation!", "s2s_refused"),
    ],
)
async def test_a_response_that_fails_costs_one_turn(code: str, told: str) -> None:
    trouble: list[Any] = [RuntimeError(code)]

    def think(call: RealtimeCall, asked: dict[str, Any]) -> Any:
        return trouble.pop() if trouble else "Yes."

    async with RealtimeServer(think=think) as server, talking(server) as talk:
        await talk.ask()
        reply = talk.session.answer()
        with pytest.raises(EngineError) as caught:
            await talk.hear(reply)
        assert caught.value.code == told
        assert "quotation" not in str(caught.value)
        reply.end(0.0)
        await talk.ask()
        assert (await talk.hear()).text == "Yes."
        assert len(server.calls) == 1


async def test_an_answer_without_a_sound_is_a_failure() -> None:
    async with RealtimeServer(think=lambda call, asked: "") as server, talking(server) as talk:
        await talk.ask()
        with pytest.raises(EngineError) as caught:
            await talk.hear()
        assert caught.value.code == "s2s_refused"


async def test_a_connection_that_breaks_costs_one_turn_and_the_next_knows_what_was_said() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        await talk.ask()
        await talk.hear()
        talk.conversation.add(Message("user", "[keys: 1]"))
        reply = await unheard(talk)
        await server.call.cut()
        with pytest.raises(EngineError) as caught:
            await talk.hear(reply)
        assert caught.value.code == "s2s_closed"
        reply.end(50.0)
        server.gates.voice.set()
        talk.conversation.add(Message("assistant", "You"))
        await talk.ask()
        assert (await talk.hear()).text == MORNING
        assert len(server.calls) == 2
        assert server.call.said() == [
            ("user", "good morning"), ("assistant", MORNING), ("user", "[keys: 1]"),
            ("user", "good morning"), ("assistant", "You"),
            ("user", "good morning"), ("assistant", MORNING),
        ]  # fmt: skip


async def test_a_connection_lost_between_turns_is_not_noticed() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        await talk.ask()
        await talk.hear()
        await server.call.cut()
        while len(server.calls) < 2:
            await talk.session.warm()
            await asyncio.sleep(0)
        talk.conversation.add(Message("user", "[keys: 1]"))
        assert (await talk.hear()).text == "You said [keys: 1]. Is there more?"
        assert server.call.said()[:2] == [("user", "good morning"), ("assistant", MORNING)]


async def test_an_utterance_on_a_connection_that_breaks_fails() -> None:
    async with RealtimeServer() as server, talking(server) as talk:
        server.gates.words.clear()
        finishing = asyncio.ensure_future((await talk.speak()).finish())
        await server.call.until_came("input_audio_buffer.commit")
        await server.call.cut()
        with pytest.raises(EngineError) as caught:
            await finishing
        assert caught.value.code == "s2s_closed"


async def test_a_new_connection_is_told_a_bounded_past_without_half_a_tool() -> None:
    limits = SessionLimits(remembered=3)
    async with RealtimeServer() as server, talking(server, limits=limits) as talk:
        told = [Message("user", str(n)) for n in range(9)]
        told.append(Message("tool", "42", tool_call_id="call_x"))
        told.append(Message("user", UNKNOWN_WORDS))
        told.append(Message("assistant", "Yes."))
        for message in told:
            talk.conversation.add(message)
        await talk.ask()
        assert server.call.said()[0] == ("assistant", "Yes.")


async def test_a_worn_connection_is_replaced_between_turns() -> None:
    limits = SessionLimits(age_s=-1.0)
    async with RealtimeServer() as server, talking(server, limits=limits) as talk:
        for turn in range(1, 4):
            await talk.ask()
            assert (await talk.hear()).text == MORNING
            assert len(server.calls) == turn
        assert len(server.call.items) == 6


@pytest.mark.parametrize(("key", "code"), [("sk-wrong", "s2s_key"), (KEY, "s2s_timeout")])
async def test_a_session_that_does_not_come_up(
    key: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with RealtimeServer() as server, talking(server, key=key, ready_s=0.05) as talk:
        server.gates.ready.clear()
        with caplog.at_level(logging.DEBUG):
            await talk.session.warm()
            with pytest.raises(EngineError) as caught:
                await talk.session.open(lambda text: None)
        assert caught.value.code == code
        assert caught.value.permanent == (code == "s2s_key")
        assert key not in f"{caught.value}{caplog.text}{vars(talk.engine)!r}"
        server.gates.ready.set()
        if key == KEY:
            assert await talk.ask() == "good morning"


async def test_an_answer_that_does_not_begin_is_given_up_with_its_connection() -> None:
    limits = SessionLimits(reply=ReplyLimits(first_s=0.05))
    async with RealtimeServer() as server, talking(server, limits=limits) as talk:
        server.gates.answer.clear()
        await talk.ask()
        reply = talk.session.answer()
        with pytest.raises(EngineError) as caught:
            await talk.hear(reply)
        assert caught.value.code == "s2s_timeout"
        reply.end(0.0)
        server.gates.answer.set()
        await talk.ask()
        assert (await talk.hear()).text == MORNING
        assert len(server.calls) == 2


async def test_closing_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    async with RealtimeServer() as server, talking(server) as talk:
        utterance = await talk.speak()
        await talk.session.close()
        await talk.session.close()
        with pytest.raises(EngineError):
            await utterance.finish()
        with pytest.raises(EngineError):
            await talk.session.open(lambda text: None)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    "bad",
    [
        {"key": " "},
        {"key": "sk-ä"},
        {"url": "https://api.example.com/v1/realtime"},
        {"url": "wss://user:secret@api.example.com/v1"},
        {"model": ""},
        {"voice": ""},
        {"transcript_s": 0},
        {"wasted_per_minute": -1},
        {"options": {"audio": {}}},
    ],
)
def test_values_that_can_not_be_used(bad: dict[str, Any]) -> None:
    with pytest.raises(MisuseError) as caught:
        OpenAiRealtime(**{"key": KEY, **bad})
    assert "secret" not in str(caught.value)
