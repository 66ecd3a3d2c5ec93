"""Three processes are one service: any of them answers for all, and one may die."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from caller.server import Server
from e2e.aiortc_caller import AiortcCaller
from e2e.browser import STUBS
from e2e.patience import PATIENCE_S, until
from e2e.spoken import counter
from voicecore.service.session_ids import owner_of

WORKERS, LIMIT, BURST = 3, 8, 40
EACH = [3, 3, 2]


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(
        *STUBS, "--workers", str(WORKERS), "--max-calls", str(LIMIT), "--stub-tts-seconds", "1",
        "--greeting", "Hello.",
    )  # fmt: skip


@pytest.fixture
async def one() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with one connection: one worker gets all its requests."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        yield http


@pytest.fixture
async def many() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with a connection for each request: any worker may get it."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        yield http


def worker_of(session_id: str) -> int:
    owner = owner_of(session_id)
    assert owner is not None
    return owner.worker


async def dead(pid: int) -> bool:
    """Whether it has ended; perhaps somebody has still to take notice."""
    try:
        text = (Path("/proc") / str(pid) / "stat").read_text()
    except OSError:
        return True
    return text.rpartition(")")[2].split()[0] == "Z"


async def all_ready(http: aiohttp.ClientSession, server: Server) -> None:
    async def ready() -> bool:
        async with http.get(f"{server.url}/readyz") as reply:
            body = await reply.json()
        states = [worker["state"] for worker in body.get("workers", [])]
        return states == ["ready"] * WORKERS

    await until(ready, "all workers take calls")


async def opened_and_refused(http: aiohttp.ClientSession, server: Server) -> list[float]:
    names = ("voicecore_calls_opened_total", "voicecore_calls_refused_total")
    return [await counter(http, server.url, name) for name in names]


async def open_call(http: aiohttp.ClientSession, server: Server) -> tuple[int, dict[str, Any]]:
    async with http.post(f"{server.url}/api/voice/session") as reply:
        return reply.status, await reply.json()


async def status(
    http: aiohttp.ClientSession, server: Server, call: dict[str, Any], method: str, **body: Any
) -> int:
    url = f"{server.url}/api/voice/session/{call['session_id']}"
    headers = {"Authorization": f"Bearer {call['token']}"}
    async with http.request(method, url, headers=headers, **body) as reply:
        return reply.status


async def test_of_a_burst_as_many_as_there_are_places_spread_evenly(
    server: Server, one: aiohttp.ClientSession, many: aiohttp.ClientSession
) -> None:
    await all_ready(one, server)
    before = await opened_and_refused(one, server)
    results = await asyncio.gather(*(open_call(many, server) for _ in range(BURST)))
    calls = [call for code, call in results if code == 200]
    assert sorted(code for code, _ in results) == [200] * LIMIT + [503] * (BURST - LIMIT)
    spread = Counter(worker_of(call["session_id"]) for call in calls)
    assert [spread[worker] for worker in range(WORKERS)] == EACH
    async with one.get(f"{server.url}/readyz") as reply:
        assert reply.status == 503
    # Each is reached by any connection, and two in three of them by another worker's.
    for http in (one, many):
        for call in calls:
            assert await status(http, server, call, "GET") == 200
            assert await status(http, server, call, "PATCH", json={"candidate": None}) == 204
    for number, call in enumerate(calls):
        assert await status((one, many)[number % 2], server, call, "DELETE") == 204
        assert await status(one, server, call, "GET") == 404
    after = await opened_and_refused(one, server)
    assert [new - old for new, old in zip(after, before, strict=True)] == [LIMIT, BURST - LIMIT]


@pytest.mark.parametrize("flow", ["server_offers", "client_offers"])
async def test_calls_signalled_through_another_worker_are_answered(
    server: Server, one: aiohttp.ClientSession, flow: str
) -> None:
    await all_ready(one, server)
    callers = [AiortcCaller(one, server.url) for _ in range(WORKERS)]
    try:
        # By one connection, so two of the three are signalled through another's worker.
        for caller in callers:
            await caller.call(flow)
        assert {worker_of(caller.session_id) for caller in callers} == set(range(WORKERS))
        for caller in callers:
            await caller.event("hello")
            await caller.state("listening")
            assert max(level for _, level in caller.heard) > 0.01, "the greeting is heard"
    finally:
        for caller in callers:
            await caller.hang_up()


async def test_a_worker_that_is_killed_takes_its_own_calls_alone(
    server: Server, one: aiohttp.ClientSession, many: aiohttp.ClientSession
) -> None:
    await all_ready(one, server)
    calls = [(await open_call(many, server))[1] for _ in range(6)]
    before = await counter(many, server.url, "voicecore_calls_opened_total")
    old = server.workers()
    os.kill(old[1], signal.SIGKILL)

    await until(functools.partial(dead, old[1]), "the worker is dead")
    for call in calls:
        mine = worker_of(call["session_id"]) == 1
        assert await status(many, server, call, "GET") == (404 if mine else 200)
    # Nobody is refused meanwhile.
    code, meanwhile = await open_call(many, server)
    assert code == 200
    await all_ready(many, server)
    new = server.workers()
    assert new[1] != old[1]
    assert (new[0], new[2]) == (old[0], old[2])
    fresh = [(await open_call(many, server))[1] for _ in range(2)]
    assert 1 in {worker_of(call["session_id"]) for call in fresh}, "it has fewest"
    after = await counter(many, server.url, "voicecore_calls_opened_total")
    assert after == before + 3, "what the dead one had counted is still there"
    assert await counter(many, server.url, "voicecore_worker_restarts_total") >= 1
    for call in (*calls, *fresh, meanwhile):
        await status(many, server, call, "DELETE")


async def test_at_last_all_end_together_on_a_signal(
    server: Server, one: aiohttp.ClientSession
) -> None:
    await all_ready(one, server)
    workers = server.workers().values()
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, PATIENCE_S) == 0
    for pid in workers:
        assert await dead(pid)
