"""Who speaks when: a reply begun early, a greeting nobody may cut, keys, and long silence."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import aiohttp
import numpy as np
import pytest

from caller.server import Server
from caller.speech import RATE_HZ
from e2e.aiortc_caller import AiortcCaller, Event
from e2e.far_record import decoded, tones
from e2e.keypad_caller import KeypadCaller
from e2e.patience import timely
from e2e.spoken import Pcm, counter, remark

TONE_S = 1.6
PACKET_S = 0.020
WORDS = "book a table"
"""Perhaps all, perhaps not: some 600 ms are waited, enough to begin a reply and to go on."""
GREETING = "This call is recorded."
PROMPT, GOODBYE = "Are you still there?", "Goodbye."


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(
        "--stt", "stub", "--stub-stt-text", WORDS,
        "--tts", "stub", "--stub-tts-seconds", str(TONE_S),
        "--agent", "e2e_agents:clerk",
        "--greeting", GREETING, "--greeting-protected", "true",
        "--idle-prompt-s", "1", "--idle-prompt", PROMPT,
        "--idle-goodbye-s", "1", "--idle-goodbye", GOODBYE,
    )  # fmt: skip


async def speculations(http: aiohttp.ClientSession, server: Server) -> dict[str, float]:
    return {
        outcome: await counter(http, server.url, "voicecore_speculations_total", outcome=outcome)
        for outcome in ("used", "wasted")
    }


def understood(text: str) -> tuple[list[str], int]:
    """What the clerk says of the caller's words, and how often it was asked."""
    match = re.fullmatch(r"(.*) after (\d+) askings", text)
    assert match, text
    return match[1].split(" + "), int(match[2])


def lengths(caller: AiortcCaller) -> list[float]:
    """Of the tones that the far end has on record, to a packet."""
    return [end - start for start, end in tones(decoded(caller.arrivals))]


def whole(length_s: float) -> bool:
    return abs(length_s - TONE_S) <= PACKET_S


def with_a_pause() -> Pcm:
    """A remark, 400 ms, another one."""
    edge = RATE_HZ // 10
    bare = remark()[edge:-edge]
    return np.concatenate([bare, np.zeros(RATE_HZ * 2 // 5, np.int16), bare])


async def test_a_greeting_is_heard_to_its_end_and_who_spoke_into_it_is_answered(
    http: aiohttp.ClientSession, server: Server
) -> None:
    caller = AiortcCaller(http, server.url)
    await caller.call()
    try:
        await caller.state("speaking")
        caller.say(remark())
        done = await caller.event("agent_done")
        mark = len(caller.events)
        answer = await caller.event("agent", where=lambda e: e["turn"] > done["turn"])
        await caller.state("speaking", after=mark)
        await caller.hears_voice()
    finally:
        await caller.hang_up()
    greeting_s, *_ = lengths(caller)
    assert whole(greeting_s), greeting_s
    assert (done["heard"], done["interrupted"]) == (GREETING, False)
    assert understood(answer["text"])[0] == [WORDS]
    assert "barge_in" not in [e["type"] for e in caller.events]


async def test_a_reply_begun_in_a_pause_is_used_or_nobody_ever_hears_of_it(
    http: aiohttp.ClientSession, server: Server
) -> None:
    before = await speculations(http, server)
    caller = AiortcCaller(http, server.url)
    await caller.call()
    try:
        greeting = await caller.event("agent_done")
        mark = len(caller.events)
        caller.say(remark())
        first = await caller.event("agent_done", after=mark)
        latency = await caller.event("latency", after=mark)
        between = await speculations(http, server)
        again = len(caller.events)
        caller.say(with_a_pause())
        second = await caller.event("agent_done", after=again)
    finally:
        await caller.hang_up()
    assert between["used"] - before["used"] == 1
    assert latency["llm_ms"] < latency["endpoint_ms"]
    assert latency["tts_ms"] < latency["endpoint_ms"]
    timely(latency["endpoint_ms"] < 900, f"the turn ended after {latency['endpoint_ms']} ms")
    late_ms = latency["packet_ms"] - latency["endpoint_ms"]
    timely(late_ms < 100, f"the first packet came {late_ms:.0f} ms after the turn's end")

    # He went on after 400 ms: a reply was begun by then, and that is all of it.
    after = await speculations(http, server)
    wasted = after["wasted"] - between["wasted"]
    assert wasted <= 1
    timely(wasted == 1, "no reply was begun in 400 ms")
    said, asked = understood(second["heard"])
    assert said == [WORDS, f"{WORDS} {WORDS}"]
    assert asked - understood(first["heard"])[1] == 2
    turns = {e["turn"] for e in caller.events if e["type"] == "agent"}
    assert turns == {greeting["turn"], first["turn"], second["turn"]}
    heard = lengths(caller)
    assert len(heard) == 3, heard
    assert all(whole(length_s) for length_s in heard), heard


async def test_keys_are_words_and_long_silence_ends_the_call(
    http: aiohttp.ClientSession, server: Server
) -> None:
    caller = KeypadCaller(http, server.url)
    await caller.call()
    try:
        await caller.state("speaking")
        caller.press("12#")
        bye = await caller.event("bye")
        # What was sent before it may still be on its way.
        await asyncio.sleep(0.2)
    finally:
        await caller.hang_up()
    keys = [(e["digit"], e["duration_ms"]) for e in caller.events if e["type"] == "digit"]
    assert keys == [("1", 100), ("2", 100), ("#", 100)]
    said: list[Event] = [e for e in caller.events if e["type"] == "agent_done"]
    assert [e["heard"] for e in said[:1] + said[2:]] == [GREETING, PROMPT, GOODBYE]
    assert understood(said[1]["heard"])[0] == ["[keys: 12#]"]
    answer = await caller.event("agent", where=lambda e: e["turn"] == said[1]["turn"])
    waited_ms = answer["t_ms"] - said[0]["t_ms"]
    timely(waited_ms < 500, f"a complete entry waited for {waited_ms:.0f} ms")
    assert bye["reason"] == "caller_silent"
    assert not any(e["interrupted"] for e in said)
    heard = lengths(caller)
    assert len(heard) == 4, heard
    assert all(whole(length_s) for length_s in heard), heard
    hello = await caller.event("hello")
    assert hello["recorded"] is False
