"""One service takes another's place: who talks is answered, who stays hears goodbye."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import aiohttp

from caller.server import running
from e2e.aiortc_caller import LOUD, AiortcCaller
from e2e.patience import PATIENCE_S, timely
from e2e.spoken import remark

DRAIN_S = 6
GOODBYE = "We close now."
TONE_S = 1.2
PACKET_S = 0.020
FLAGS = (
    "--overload", "off",
    "--stt", "stub", "--stub-stt-text", "go on please",
    "--llm", "stub",
    "--tts", "stub", "--stub-tts-seconds", str(TONE_S),
    "--drain-goodbye", GOODBYE, "--drain-timeout-s", str(DRAIN_S),
)  # fmt: skip


async def status_of(http: aiohttp.ClientSession, method: str, url: str) -> tuple[int, str]:
    """Status and error code of a refusal, which always says when to come again."""
    async with http.request(method, url) as reply:
        assert int(reply.headers["Retry-After"]) >= 1
        return reply.status, (await reply.json())["error"]["code"]


async def answered(caller: AiortcCaller) -> None:
    """He says something, and hears all of the answer."""
    mark = len(caller.events)
    caller.say(remark())
    done = await caller.event("agent_done", after=mark)
    assert (done["heard"], done["interrupted"]) == (done["text"], False)


async def test_a_rolling_replacement_drops_nobody(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with (
        running(*FLAGS, log=tmp_path / "old") as old,
        running(*FLAGS, log=tmp_path / "new") as new,
    ):
        talks, stays = AiortcCaller(http, old.url), AiortcCaller(http, old.url)
        comes = AiortcCaller(http, new.url)
        try:
            await asyncio.gather(talks.call(), stays.call())
            old.process.send_signal(signal.SIGTERM)
            began_s = time.monotonic()
            speaking = asyncio.create_task(answered(talks))
            await asyncio.sleep(0.2)
            session = f"{old.url}/api/voice/session"
            assert await status_of(http, "POST", session) == (503, "draining")
            assert await status_of(http, "GET", f"{old.url}/readyz") == (503, "draining")
            async with http.get(f"{session}/{stays.session_id}", headers=stays.auth) as reply:
                assert reply.status == 200, "signaling goes on"
            await comes.call()
            await speaking
            timely(time.monotonic() - began_s < DRAIN_S, "the turn outlasted the drain")
            await talks.hang_up()
            # Nobody but he who stays is left, and he hears it all.
            bye = await stays.event("bye")
            assert bye["reason"] == "server_drained"
            done = [event for event in stays.events if event["type"] == "agent_done"]
            assert [(event["text"], event["unheard"]) for event in done] == [(GOODBYE, "")]
            loud = [at_ns for at_ns, level in stays.heard if level > LOUD]
            assert len(loud) * PACKET_S >= 0.9 * TONE_S
            assert loud[0] / 1e9 >= began_s + DRAIN_S
            assert await asyncio.to_thread(old.process.wait, PATIENCE_S) == 0
            took_s = time.monotonic() - began_s
            timely(took_s < DRAIN_S + 10, f"the drain took {took_s:.1f} s")
            await answered(comes)
        finally:
            await asyncio.gather(*(caller.hang_up() for caller in (talks, stays, comes)))
    log = (tmp_path / "old").read_text()
    assert f"draining: 2 calls left, up to {DRAIN_S} s" in log
    assert "draining: goodbye to 1 call" in log
    assert "ERROR" not in log
