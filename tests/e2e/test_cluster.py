"""Three instances, a real Redis, a real HAProxy: whose call it is, and what if one goes.

The tests stand in an order: the last ones take instances away.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from e2e.aiortc_caller import AiortcCaller
from e2e.patience import until
from e2e.spoken import counter
from ops.cluster import NAMES, Cluster, Instance, cluster, missing

LIMIT = 30
LEASE_S = 3.0
FLAGS = (
    "--cluster-max-calls", str(LIMIT), "--lease-s", str(LEASE_S), "--max-calls", "25",
    "--answer-timeout-s", "120", "--drain-timeout-s", "120",
    "--allowed-origins", "https://shop.test",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := missing():
        pytest.skip(reason)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        folder = tmp_path_factory.mktemp("cluster")
        try:
            yield runner.run(stack.enter_async_context(cluster(folder, *FLAGS)))
        finally:
            runner.run(stack.aclose())
            for log in sorted(folder.glob("*.log")):
                print(log.name, log.read_text(errors="replace")[-3000:])


@dataclass(frozen=True)
class Session:
    """One that was opened."""

    id: str
    token: str

    @property
    def owner(self) -> str:
        return self.id.split("-")[0]

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Callers:
    """Signaling by hand, through HAProxy unless said otherwise. No redirect is followed."""

    def __init__(self, http: aiohttp.ClientSession, site: Cluster) -> None:
        self.http, self.site = http, site
        self.opened: list[Session] = []

    async def open(self) -> Session | None:
        """A session, or None: refused as it should be."""
        async with self.http.post(f"{self.site.url}/api/voice/session") as reply:
            told = await reply.json()
            if reply.status == 200:
                assert reply.headers["X-Voicecore-Session"] == told["session_id"]
                session = Session(told["session_id"], told["token"])
                self.opened.append(session)
                return session
            assert (reply.status, told["error"]["code"]) in (
                (503, "at_capacity"),
                (503, "not_ready"),
                (503, "no_instance"),
            ), told
            assert int(reply.headers["Retry-After"]) >= 1
            return None

    async def burst(self, count: int) -> list[Session]:
        """Those of ``count`` requests at once that were let in."""
        opened = await asyncio.gather(*(self.open() for _ in range(count)))
        return [session for session in opened if session is not None]

    async def ask(
        self, method: str, session: Session, base: str = "", **options: Any
    ) -> tuple[int, str]:
        """Status, and where to if it is another's."""
        url = f"{base or self.site.url}/api/voice/session/{session.id}"
        options = {"headers": session.auth, "allow_redirects": False} | options
        async with self.http.request(method, url, **options) as reply:
            await reply.read()
            return reply.status, reply.headers.get("Location", "")

    async def answer(self, body: dict[str, Any], **options: Any) -> tuple[int, str]:
        """Status and code of an answer that its owner finds wrong."""
        body = {"answer": {"type": "answer", "sdp": "nonsense" * 1000}, **body}
        url = f"{self.site.url}/api/voice/answer"
        async with self.http.post(url, json=body, allow_redirects=False, **options) as reply:
            return reply.status, (await reply.json())["error"]["code"]

    async def hang_up(self) -> None:
        """All that are open; those of the dead are none any more."""
        opened, self.opened = self.opened, []
        await asyncio.gather(
            *(self.ask("DELETE", session, allow_redirects=True) for session in opened)
        )

    async def active(self) -> float:
        """Calls of all instances that live, as they say themselves."""
        living = [one for one in self.site.instances.values() if one.lives]
        counts = [await counter(self.http, one.url, "voicecore_calls_active") for one in living]
        return sum(counts)

    async def in_directory(self, at: Instance) -> object:
        told = await at.readiness(self.http)
        return told.get("directory", {}).get("calls")


@pytest.fixture
async def callers(http: aiohttp.ClientSession, site: Cluster) -> AsyncIterator[Callers]:
    some = Callers(http, site)
    yield some
    await some.hang_up()


async def test_of_a_burst_exactly_the_limit_is_let_in_and_each_call_reaches_its_owner(
    callers: Callers,
) -> None:
    opened = await callers.burst(2 * LIMIT)
    assert len(opened) == LIMIT
    assert set(Counter(session.owner for session in opened)) == set(NAMES)
    assert await callers.active() == LIMIT
    for session in opened:
        assert await callers.ask("GET", session) == (200, "")
        assert (await callers.ask("PATCH", session, json={"candidate": None}))[0] == 204
        assert await callers.answer({"session_id": session.id, "token": session.token}) == (
            400,
            "bad_sdp",
        )
    for session in opened:
        cookie = {"Cookie": f"voicecore_session={session.id}.{session.token}"}
        assert await callers.answer({}, headers=cookie) == (400, "bad_sdp")
        assert (await callers.ask("DELETE", session))[0] == 204
    assert await callers.active() == 0
    again = await callers.burst(LIMIT + 3)
    assert len(again) == LIMIT, "all places are there again"


async def test_who_asks_another_instance_is_told_the_owner(callers: Callers, site: Cluster) -> None:
    session = await callers.open()
    assert session is not None
    there = f"{site.url}/at/{session.owner}/api/voice/session/{session.id}"
    for name, one in site.instances.items():
        told = await callers.ask("GET", session, one.url)
        assert told == ((200, "") if name == session.owner else (307, there))
    other = next(one for name, one in site.instances.items() if name != session.owner)
    page = {**session.auth, "Origin": "https://shop.test"}
    url = f"{other.url}/api/voice/session/{session.id}"
    async with callers.http.get(url, headers=page, allow_redirects=False) as reply:
        assert reply.headers["Access-Control-Allow-Origin"] == "https://shop.test"
        assert (reply.status, reply.headers["Location"]) == (307, there)
    # To another origin clients take no Authorization along: the token goes in the body.
    body = {"candidate": None, "token": session.token}
    told = await callers.ask(
        "PATCH", session, other.url, headers={}, json=body, allow_redirects=True
    )
    assert told == (204, "")
    nobody = Session(f"{session.owner}-0-0000000000000000", "x")
    assert (await callers.ask("GET", nobody, other.url))[0] == 404
    assert (await callers.ask("GET", Session("zz-0-00", "x"), other.url))[0] == 404


async def test_what_is_for_operators_stays_inside(callers: Callers, site: Cluster) -> None:
    for path in ("/metrics", "/%6detrics", "/readyz", "/at/a/metrics", "/admin/sessions"):
        async with callers.http.get(f"{site.url}{path}") as reply:
            assert reply.status == 404, path
    big = {"data": b"x" * 300_000, "headers": {"Content-Type": "application/json"}}
    async with callers.http.post(f"{site.url}/api/voice/offer", **big) as reply:
        assert reply.status == 413
        assert (await reply.json())["error"]["code"] == "body_too_large"


async def test_redis_goes_and_comes_back_empty_during_a_call(
    http: aiohttp.ClientSession, callers: Callers, site: Cluster
) -> None:
    caller = AiortcCaller(http, site.url)
    await caller.call()
    try:
        before = await callers.burst(5)
        site.redis.kill()
        while_away = await callers.burst(2 * LIMIT)
        assert 0 < len(while_away) < LIMIT, "each has its share, which is not all"
        assert await callers.active() <= LIMIT
        site.redis.start()
        settling = await callers.burst(2 * LIMIT)
        assert await callers.active() <= LIMIT

        async def whole() -> bool:
            more = await callers.burst(LIMIT)
            settling.extend(more)
            assert await callers.active() <= LIMIT
            return await callers.active() == LIMIT

        await until(whole, "all places are given again", 4 * LEASE_S + 20)
        held = [*before, *while_away, *settling]
        assert {await callers.ask("GET", session) for session in held} == {(200, "")}
        arrived = len(caller.arrivals)
        await until(lambda: _longer(caller, arrived + 10), "the call goes on")
        state = await callers.ask("GET", Session(caller.session_id, ""), headers=caller.auth)
        assert state == (200, "")
    finally:
        await caller.hang_up()


async def _longer(caller: AiortcCaller, count: int) -> bool:
    return len(caller.arrivals) > count


async def test_haproxy_keeps_its_table_over_a_reload_and_does_without_it(
    callers: Callers, site: Cluster
) -> None:
    opened = await callers.burst(9)
    await asyncio.to_thread(site.haproxy.reload)
    assert [await callers.ask("GET", session) for session in opened] == [(200, "")] * 9
    site.haproxy.forget()
    # It lets each have its turn; two of three are no owner.
    firsts = [await callers.ask("GET", opened[0]) for _ in NAMES]
    assert sorted(status for status, _ in firsts) == [200, 307, 307]
    # One origin: Authorization goes along.
    assert [(await callers.ask("GET", session, allow_redirects=True))[0] for session in opened] == [
        200
    ] * 9


async def test_who_is_killed_takes_his_own_calls_alone_and_his_places_come_back(
    callers: Callers, site: Cluster
) -> None:
    await site.mend(callers.http)  # a second try finds what the first left
    opened = await callers.burst(LIMIT)
    lost = {session for session in opened if session.owner == "b"}
    kept = [session for session in opened if session.owner != "b"]
    assert len(opened) == LIMIT
    assert lost
    assert kept
    b = site.instances["b"]
    b.signal(signal.SIGKILL)
    await b.ended()
    assert {await callers.ask("GET", session) for session in kept} == {(200, "")}
    for session in lost:
        status, _ = await callers.ask("GET", session, allow_redirects=True)
        assert status in (404, 503)
    callers.opened = list(kept)

    async def expired() -> bool:
        return await callers.in_directory(site.instances["a"]) == len(kept)

    await until(expired, "its entries expire", LEASE_S + 20)
    more = await callers.burst(LIMIT)
    assert len(kept) + len(more) == LIMIT
    assert {session.owner for session in more} <= {"a", "c"}


async def test_who_drains_keeps_his_call_and_gets_no_more(
    http: aiohttp.ClientSession, callers: Callers, site: Cluster
) -> None:
    await site.mend(http, 2)
    caller = AiortcCaller(http, site.url)
    await caller.call()
    live = Session(caller.session_id, caller.auth["Authorization"].split()[1])
    one = site.instances[live.owner]
    try:
        one.signal(signal.SIGTERM)

        async def noticed() -> bool:
            return "NOLB" in site.haproxy.state(live.owner)

        # Whether or not HAProxy knows it yet, nobody who opens a call sees anything of it.
        assert all(session is not None for session in [await callers.open() for _ in range(6)])
        await until(noticed, "HAProxy sees that it drains")
        opened = await callers.burst(6)
        assert len(opened) == 6
        assert live.owner not in {session.owner for session in opened}
        assert await callers.ask("GET", live) == (200, "")
        site.haproxy.forget()
        assert (await callers.ask("GET", live, allow_redirects=True))[0] == 200
        arrived = len(caller.arrivals)
        await until(lambda: _longer(caller, arrived + 10), "the call goes on")
    finally:
        await caller.hang_up()
    assert await one.ended() == 0
