"""A speech-to-speech provider's bad days: the caller is answered or hears the apology, soon."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from fakes.faulty_front import Fault, FaultyFront
from fakes.openai_realtime_server import RealtimeServer
from fakes.speech_call import APOLOGY, SpeechCall
from fakes.virtual_loop import virtually

CONNECT_MS = 3000
PINGS_MS = 1900
PAUSE_MS = 480
"""How long a pause ends the caller's turn here."""
SLACK_MS = 100


async def first_heard(call: SpeechCall, within_ms: float) -> str:
    """``answer``, ``apology``, or ``silence`` for so long."""
    call.plane.pcm.clear()
    for _ in range(round(within_ms / 20)):
        await call.plane.run(20)
        for pcm in call.plane.pcm:
            return "apology" if np.array_equal(pcm, APOLOGY) else "answer"
    return "silence"


async def recovers(call: SpeechCall) -> None:
    """The next turn is answered."""
    await call.until_state("listening")
    await call.speak()
    assert await first_heard(call, PAUSE_MS + SLACK_MS) == "answer"
    await call.until_state("listening")


@pytest.mark.parametrize("passes", [0, 300])
@pytest.mark.parametrize("fault", [f for f in Fault if f is not Fault.NONE])
def test_whatever_is_wrong_from_the_beginning_is_apologised_for(fault: Fault, passes: int) -> None:
    async def main() -> None:
        async with (
            RealtimeServer() as server,
            FaultyFront(server.url, fault, passes=passes) as front,
        ):
            if fault is Fault.REFUSES:
                await front.refuse()
            async with SpeechCall(front.url) as call:
                await call.speak()
                heard = await first_heard(call, CONNECT_MS + PAUSE_MS + SLACK_MS)
                assert heard == "apology"
                front.fault = Fault.NONE
                if fault is Fault.REFUSES:
                    await front.listen()
                await recovers(call)
            assert server.call.errors == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main())


@pytest.mark.parametrize("when", ["idle", "utterance", "thinking", "answer"])
@pytest.mark.parametrize("how", ["freeze", "cut"])
def test_a_connection_that_dies_under_way_costs_one_turn_at_most(when: str, how: str) -> None:
    async def main() -> None:
        async with (
            RealtimeServer() as server,
            FaultyFront(server.url) as front,
            SpeechCall(front.url) as call,
        ):
            await call.speak()
            await call.until_state("speaking")
            await call.until_state("listening")

            def strike() -> None:
                front.freeze() if how == "freeze" else front.cut()

            if when == "idle":
                strike()
                await call.plane.run(PINGS_MS + SLACK_MS)
                await recovers(call)
                return
            if when == "answer":
                server.gates.voice.clear()
            elif when == "thinking":
                server.gates.answer.clear()
            await call.speak(200)
            if when == "utterance":
                strike()
                await call.speak(200)
            else:
                await call.plane.run(PAUSE_MS + 40)
                if when == "answer":
                    await call.until_state("speaking")
                strike()
            heard = await first_heard(call, PINGS_MS + PAUSE_MS + SLACK_MS)
            assert heard == "apology"
            server.gates.voice.set()
            server.gates.answer.set()
            await recovers(call)
            assert server.call.errors == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main())


def test_a_provider_that_answers_pings_and_nothing_else_is_given_up() -> None:
    async def main() -> None:
        async with RealtimeServer() as server, SpeechCall(server.url) as call:
            server.gates.answer.clear()
            await call.speak()
            assert await first_heard(call, 8000 + PAUSE_MS + SLACK_MS) == "apology"
            assert call.failures("s2s_timeout") == 1
            server.gates.answer.set()
            await recovers(call)
            assert len(server.calls) == 2

    virtually(main())
