"""A call whose agent is one speech-to-speech model, in virtual time over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from fakes.openai_realtime_server import Call as ToolUse
from fakes.openai_realtime_server import RealtimeCall, RealtimeServer, voice_ms
from fakes.speech_call import APOLOGY, FAREWELL, GOODBYE, SpeechCall
from fakes.virtual_loop import virtually
from voicecore.core.speech_gate import EdgeKind

MORNING = "You said good morning. Is there more?"
ADAPTIVE: dict[str, Any] = {"endpoint": "adaptive", "bargein_policy": "staged"}


def test_a_greeting_and_a_turn() -> None:
    async def main() -> None:
        async with (
            RealtimeServer() as server,
            SpeechCall(server.url, greeting="Welcome here. What can I do?") as call,
        ):
            await call.until_state("speaking")
            await call.until_state("listening")
            said_ms = voice_ms("Welcome here.") + voice_ms("What can I do?")
            assert call.plane.played == said_ms * 24
            await call.speak()
            await call.until_state("speaking")
            await call.until_state("listening")
            assert call.said == [
                ("assistant", "Welcome here. What can I do?", False),
                ("user", "good morning", False),
                ("assistant", MORNING, False),
            ]
            # Given texts are said clause by clause.
            assert server.call.said() == [
                ("assistant", "Welcome here."),
                ("assistant", "What can I do?"),
                ("user", "good morning"),
                ("assistant", MORNING),
            ]
            assert server.call.errors == []
            assert call.events("transcript")[-1]["text"] == "good morning"
            assert call.events("latency")[0]["packet_ms"] < 520
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main())


@pytest.mark.parametrize("after_ms", [200, 640, 1000, 1900])
@pytest.mark.parametrize("pace_s", [0.0, 0.03, 0.099])
def test_both_memories_of_an_interrupted_answer_hold_what_was_heard(
    after_ms: float, pace_s: float
) -> None:
    async def main() -> None:
        async with RealtimeServer(pace_s=pace_s) as server, SpeechCall(server.url) as call:
            await call.speak()
            await call.until_state("speaking")
            await call.plane.run(after_ms)
            played_ms = call.plane.played / 24
            await call.speak(200)
            assert call.call.state == "hearing"
            truncate = await server.call.until_came("conversation.item.truncate")
            assert truncate["audio_end_ms"] == int(played_ms)
            # A word a 300 ms, 250 of them sound; behind a full stop 300 more.
            words = MORNING.split()
            ends = [250 + 300 * n + (300 if n > 3 else 0) for n in range(len(words))]
            whole = sum(end - 125 <= played_ms for end in ends)
            role, text, interrupted = call.said[-1]
            await call.plane.run(400)
            (done,) = call.events("agent_done")
            # Of what was not written yet nobody knows that it wasn't heard.
            assert (role, interrupted) == ("assistant", done["text"].strip() != text)
            assert abs(len(text.split()) - whole) <= 1, (text, whole)
            assert MORNING.startswith(text)
            await call.until_state("speaking")
            await call.until_state("listening")
            assert call.said[-1] == ("assistant", MORNING, False)
            assert server.call.errors == []
            assert server.call.items[1].audio_ms == int(played_ms)

    virtually(main())


def test_a_pause_within_a_turn_is_answered_once() -> None:
    parts = ("I would like to have a", "table for two.")

    async def main() -> None:
        server = RealtimeServer(understand=lambda number, pcm: parts[number], pace_s=0.03)
        async with server, SpeechCall(server.url, **ADAPTIVE) as call:
            await call.speak()
            await call.plane.run(300)
            assert server.call.kinds().count("response.create") == 1
            await call.speak()
            await call.until_state("speaking")
            await call.until_state("listening")
            answer = "You said table for two.. Is there more?"
            assert call.said == [
                ("user", " ".join(parts), False), ("assistant", answer, False),
            ]  # fmt: skip
            assert server.call.said() == [
                ("user", parts[0]), ("user", parts[1]), ("assistant", answer),
            ]  # fmt: skip
            assert server.call.errors == []

    virtually(main())


def test_a_sound_in_which_nothing_is_understood_is_not_answered() -> None:
    async def main() -> None:
        server = RealtimeServer(understand=lambda number, pcm: "")
        async with server, SpeechCall(server.url, **ADAPTIVE) as call:
            await call.speak()
            await call.plane.run(3000)
            assert call.call.state == "listening"
            assert call.plane.written == 0
            assert call.said == []
            assert server.call.items == []
            assert server.call.errors == []

    virtually(main())


def test_an_acknowledgement_over_the_answer_does_not_end_it() -> None:
    said = ("tell me", "uh huh", "and now")

    async def main() -> None:
        server = RealtimeServer(understand=lambda number, pcm: said[number], pace_s=0.03)
        async with server, SpeechCall(server.url, **ADAPTIVE) as call:
            await call.speak()
            await call.until_state("speaking")
            await call.plane.run(600)
            await call.speak(200)
            await call.until_state("listening")
            assert call.said[-1] == ("assistant", "You said tell me. Is there more?", False)
            await call.speak()
            await call.until_state("speaking")
            await server.call.until_came("conversation.item.delete")
            assert [text for role, text in server.call.said() if role == "user"] == [
                "tell me", "and now",
            ]  # fmt: skip
            assert server.call.errors == []

    virtually(main())


def test_keys_are_told_to_the_model() -> None:
    async def main() -> None:
        async with RealtimeServer() as server, SpeechCall(server.url) as call:
            for digit in "42#":
                call.call.on_digit(digit, 100)
            await call.until_state("speaking")
            await call.until_state("listening")
            assert call.said[0][1] in call.said[1][1]
            assert server.call.said() == [(role, text) for role, text, _ in call.said]

    virtually(main())


def test_a_silent_caller_is_reminded_in_the_models_voice() -> None:
    async def main() -> None:
        server = RealtimeServer()
        async with server, SpeechCall(server.url, idle_prompt_s=2.0) as call:
            await call.until_state("speaking")
            await call.until_state("listening")
            assert call.said == [("assistant", "Are you still there?", False)]
            assert server.call.spoken == ["Are you still there?"]

    virtually(main())


def test_a_tool_is_used_and_remembered() -> None:
    def think(call: RealtimeCall, asked: dict[str, Any]) -> Any:
        results = [item.text for item in call.items if item.kind == "function_call_output"]
        return f"It is {results[-1]}." if results else ToolUse("degrees", "{}", "One moment.")

    def degrees() -> int:
        return 21

    async def main() -> None:
        server = RealtimeServer(think=think)
        async with server, SpeechCall(server.url, engine={"tools": [degrees]}) as call:
            await call.speak()
            await call.until_state("speaking")
            await call.until_state("listening")
            roles = [(role, text) for role, text, _ in call.said]
            assert ("tool", "21") in roles
            assert roles[-1] == ("assistant", "One moment. It is 21.")
            assert server.call.errors == []

    virtually(main())


def heard_apology(call: SpeechCall) -> bool:
    return any(len(pcm) and (pcm == APOLOGY[0]).all() for pcm in call.plane.pcm)


def test_a_connection_that_breaks_in_an_answer_costs_that_answer() -> None:
    async def main() -> None:
        async with RealtimeServer(pace_s=0.03) as server, SpeechCall(server.url) as call:
            await call.speak()
            await call.until_state("speaking")
            await call.plane.run(300)
            server.gates.voice.clear()
            await server.call.cut()
            await call.until_state("listening")
            assert heard_apology(call)
            assert call.failures("s2s_closed") == 1
            server.gates.voice.set()
            before = [(role, text) for role, text, _ in call.said]
            await call.speak()
            await call.until_state("speaking")
            await call.until_state("listening")
            assert call.said[-1] == ("assistant", MORNING, False)
            assert len(server.calls) == 2
            # The new connection knows what was heard, the apology included.
            assert server.call.said()[: len(before)] == before
            assert server.call.errors == []

    virtually(main())


@pytest.mark.parametrize("speaks", [False, True])
def test_a_goodbye_needs_no_model(speaks: bool) -> None:
    async def main() -> None:
        async with RealtimeServer(pace_s=0.03) as server, SpeechCall(server.url) as call:
            await call.speak()
            await call.until_state("speaking")
            if not speaks:
                await call.until_state("listening")
                await server.call.cut()
            call.call.part(GOODBYE)
            await call.until_state("ended")
            assert call.call.end_reason == "server_drained"
            assert np.array_equal(np.concatenate(call.plane.pcm)[-len(FAREWELL) :], FAREWELL)
            assert call.said[-1] == ("assistant", GOODBYE, False)
            await call.call.close()
            assert call.events("bye")[-1]["reason"] == "server_drained"

    virtually(main())


def test_a_model_that_refuses_apologises_and_the_next_turn_works() -> None:
    trouble: list[Any] = [RuntimeError("rate_limit_exceeded")]

    def think(call: RealtimeCall, asked: dict[str, Any]) -> Any:
        return trouble.pop() if trouble else "Yes."

    async def main() -> None:
        async with RealtimeServer(think=think) as server, SpeechCall(server.url) as call:
            await call.speak()
            await call.plane.run(1000)
            assert heard_apology(call)
            assert call.failures("s2s_rate_limited") == 1
            await call.until_state("listening")
            await call.speak()
            await call.until_state("speaking")
            await call.until_state("listening")
            assert call.said[-1] == ("assistant", "Yes.", False)

    virtually(main())


def test_hanging_up_in_the_middle_leaves_nothing() -> None:
    async def main() -> None:
        async with RealtimeServer(pace_s=0.05) as server:
            async with SpeechCall(server.url) as call:
                await call.speak()
                await call.until_state("speaking")
                call.edge(EdgeKind.ONSET)
                call.edge(EdgeKind.CONFIRMED)
                await call.plane.run(100)
            assert np.concatenate(call.plane.pcm).any()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main())
