"""A stock aiortc client talks with the embedded engines; engines die; G.711 is spoken."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from caller.server import Server
from e2e.aiortc_caller import AiortcCaller
from e2e.patience import until
from e2e.spoken import command, counter, words_of


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve("--stt-workers", "1", "--max-calls", "4", "--greeting", "")


@asynccontextmanager
async def calling(
    http: aiohttp.ClientSession,
    server: Server,
    flow: str = "server_offers",
    codec: str | None = None,
) -> AsyncIterator[AiortcCaller]:
    caller = AiortcCaller(http, server.url, codec=codec)
    try:
        await caller.call(flow)
        await caller.event("hello")
        yield caller
    finally:
        await caller.hang_up()


def worker(server: Server, name: str) -> int:
    """The process id of the server's worker whose command line names ``name``; 0: none."""
    root = Path("/proc") / str(server.process.pid) / "task"
    for task in root.iterdir():
        for child in (task / "children").read_text().split():
            if name.encode() in (Path("/proc") / child / "cmdline").read_bytes():
                return int(child)
    return 0


async def until_restarted(server: Server, name: str, old: int) -> None:
    async def restarted() -> bool:
        return worker(server, name) not in (0, old)

    await until(restarted, f"{name} is started again")


async def ask(caller: AiortcCaller) -> str:
    """Say the command; wait for its words and for the agent's voice."""
    mark = len(caller.events)
    caller.say(command()[1])
    await caller.microphone.finished.wait()
    final = await caller.event("transcript", after=mark, where=lambda e: e["final"])
    await caller.hears_voice()
    return str(final["text"])


@pytest.mark.parametrize(
    ("flow", "codec"),
    [("server_offers", None), ("client_offers", None), ("client_offers", "pcmu")],
)
async def test_words_come_back_and_the_agent_is_heard(
    http: aiohttp.ClientSession, server: Server, flow: str, codec: str | None
) -> None:
    async with calling(http, server, flow, codec) as caller:
        text = await ask(caller)
        spoken = words_of(command()[0])
        # The embedded model is made for wideband: of G.711 it understands something else.
        enough = 0 if codec else len(spoken) / 3
        assert len(words_of(text) & spoken) >= enough, text
        assert text
        async with http.get(
            f"{server.url}/api/voice/session/{caller.session_id}", headers=caller.auth
        ) as reply:
            state = await reply.json()
        assert state["codec"] == (codec or "opus")
        assert "latency" in [e["type"] for e in caller.events]
        states = [e["state"] for e in caller.events if e["type"] == "state"]
        assert states[-3:] == ["hearing", "thinking", "speaking"]
        if flow == "server_offers":  # once is enough: the answer takes its time
            done = await caller.event("agent_done", timeout_s=90)
            assert done["heard"] == str(done["text"]).strip()
            assert done["interrupted"] is False
            await caller.state("listening", after=len(states))


async def test_recogniser_killed_in_mid_turn(http: aiohttp.ClientSession, server: Server) -> None:
    async with calling(http, server) as caller:
        old = worker(server, "pocketsphinx_worker")
        caller.say(command()[1])
        await caller.state("hearing")
        os.kill(old, signal.SIGKILL)
        error = await caller.event("error")
        assert error["code"] == "worker_lost"
        await caller.hears_voice()
        done = await caller.event("agent_done")
        assert "orry" in done["heard"]
        await until_restarted(server, "pocketsphinx_worker", old)
        await caller.state("listening", after=1)
        assert words_of(await ask(caller))
        assert [e["type"] for e in caller.events].count("error") == 1
    failures = await counter(http, server.url, "voicecore_engine_failures_total", stage="stt")
    assert failures == 1


async def test_a_voice_killed_in_mid_answer_speaks_anew(
    http: aiohttp.ClientSession, server: Server
) -> None:
    async with calling(http, server) as caller:
        old = worker(server, "espeak_worker")
        # Synthesis takes milliseconds: held still, so that it can be killed in the middle.
        os.kill(old, signal.SIGSTOP)
        caller.say(command()[1])
        await caller.event("agent")
        os.kill(old, signal.SIGKILL)
        # Nothing of the clause was heard: it is asked for again, of the worker's successor.
        await caller.hears_voice()
        done = await caller.event("agent_done")
        assert done["heard"] == done["text"].strip()
        await until_restarted(server, "espeak_worker", old)
        assert words_of(await ask(caller))
        assert "error" not in [e["type"] for e in caller.events]
