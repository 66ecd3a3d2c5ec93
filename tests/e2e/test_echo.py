"""A caller without an echo canceller: the agent isn't interrupted by its own voice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from caller.server import Server
from e2e.aiortc_caller import LOUD
from e2e.echoing_caller import EchoingCaller

SPOKEN_S = 6.5
MONOLOGUE = (
    "Here are our opening hours. On Monday and on Tuesday we open at nine in the morning and "
    "close at six in the evening. On Wednesday we are closed for the whole day. On Thursday and "
    "on Friday we open at ten and close at eight, and on Saturday we are here until noon."
)


@pytest.fixture(scope="module")
def servers(serve: Callable[..., Server]) -> tuple[Server, Server]:
    """With the echo guard, which is the default, and without."""
    flags = ("--stt", "stub", "--llm", "stub", "--greeting", MONOLOGUE)
    return serve(*flags), serve(*flags, "--echo-guard", "false")


async def monologue(http: aiohttp.ClientSession, server: Server) -> EchoingCaller:
    """Who listened to the agent for a while, echoing it."""
    caller = EchoingCaller(http, server.url, level_db=-10.0, frames=7)
    await caller.call()
    try:
        await caller.state("speaking")
        await asyncio.sleep(SPOKEN_S)
    finally:
        await caller.hang_up()
    return caller


def kinds(caller: EchoingCaller) -> list[str]:
    return [e.get("state", e["type"]) for e in caller.events if e["type"] in ("state", "barge_in")]


def voiced_s(caller: EchoingCaller) -> float:
    """How long the agent's voice was heard, its pauses left out."""
    return sum(level > LOUD for _, level in caller.heard) * 0.020


async def test_the_agent_does_not_interrupt_itself(
    http: aiohttp.ClientSession, servers: tuple[Server, Server]
) -> None:
    guarded, bare = await asyncio.gather(*(monologue(http, server) for server in servers))
    assert "barge_in" not in kinds(guarded)
    # What comes back is a voice: without a guard the agent stutters all the time. With it, a
    # caller whose machine stands still may make it doubt for a moment.
    doubts = [kinds(caller).count("yielding") for caller in (guarded, bare)]
    assert doubts[1] >= 4, doubts
    assert doubts[0] <= doubts[1] // 4, doubts
    assert voiced_s(guarded) > 1.5 * voiced_s(bare)
