"""A caller speaks over the agent; what he heard is what is remembered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import aiohttp
import pytest

from caller.server import Server
from e2e.agents.e2e_agents import STORY
from e2e.aiortc_caller import AiortcCaller
from e2e.far_record import decoded, heard_words, tones
from e2e.patience import timely
from e2e.spoken import counter, remark

TONE_S = 10.0


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(
        "--stt", "stub", "--tts", "stub", "--stub-tts-seconds", str(TONE_S),
        "--agent", "e2e_agents:storyteller",
    )  # fmt: skip


async def test_only_what_was_heard_is_remembered(
    http: aiohttp.ClientSession, server: Server
) -> None:
    caller = AiortcCaller(http, server.url)
    await caller.call()
    try:
        caller.say(remark())
        await caller.state("speaking")
        await asyncio.sleep(2.3)
        mark = len(caller.events)
        caller.say(remark())
        await caller.event("barge_in", after=mark)
        done = await caller.event("agent_done", after=mark)
        answer = await caller.event(
            "agent", after=mark, where=lambda e: e["turn"] == done["turn"] + 1
        )
        await caller.state("speaking", after=mark)
        await asyncio.sleep(0.5)
    finally:
        await caller.hang_up()

    # The far end's own record: the story was cut, silence followed, then the next answer.
    story, following = tones(decoded(caller.arrivals))
    played_s = story[1] - story[0]
    timely(2.0 < played_s < TONE_S - 2, f"the story was cut after {played_s:.1f} s")
    assert following[0] - story[1] > 0.4

    assert done["interrupted"] is True
    assert heard_words(STORY.split(), done["heard"], played_s, TONE_S), (played_s, done["heard"])
    assert f"{done['heard']} {done['unheard']}" == STORY

    remembered = [m for m in json.loads(answer["text"]) if m[0] == "assistant"]
    assert remembered == [["assistant", done["heard"], True]]
    assert await counter(http, server.url, "voicecore_barge_ins_total") == 1
