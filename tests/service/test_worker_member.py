"""Workers pass on what is another's, and speak for all."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from fakes.crew import FakeCrew, Worker, crew
from voicecore.core.overload import OverloadLevel
from voicecore.errors import CapacityError, PeerError
from voicecore.service.forwarded import from_worker
from voicecore.service.session_ids import owner_of
from voicecore.service.workers.board import FRESH_NS
from voicecore.service.workers.member import TRY_NEXT

MakeCrew = Callable[..., Awaitable[FakeCrew]]


@pytest.fixture
async def make_crew(console_dir: Path) -> AsyncIterator[MakeCrew]:
    async with AsyncExitStack() as stack:

        async def make(*limits: int, **settings: Any) -> FakeCrew:
            return await stack.enter_async_context(crew(console_dir, *limits, **settings))

        yield make


async def opened(worker: Worker, **options: Any) -> dict[str, Any]:
    async with worker.client.post("/api/voice/session", **options) as reply:
        body: dict[str, Any] = await reply.json()
        assert reply.status == 200, body
        return body


def whose(call: dict[str, Any]) -> int:
    owner = owner_of(call["session_id"])
    assert owner is not None
    return owner.worker


def bearer(call: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {call['token']}"}


async def error_of(reply: aiohttp.ClientResponse) -> tuple[int, str]:
    return reply.status, (await reply.json())["error"]["code"]


def socket_of(worker: Worker) -> str:
    """Where it takes what others pass on."""
    return str(worker.runner.addresses[1])


def vacated(worker: Worker) -> str:
    """Where it took what others pass on; somebody else may take it there from now on."""
    path = socket_of(worker)
    Path(path).unlink()
    return path


@contextmanager
def deaf(path: str) -> Iterator[None]:
    """A process that accepts and says nothing, in a dead one's place."""
    Path(path).unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        yield


# -- calls that are another's ----------------------------------------------------------


async def test_any_worker_answers_for_a_call_of_any(make_crew: MakeCrew) -> None:
    workers = (await make_crew(2, 2, 2)).workers
    calls = [await opened(workers[0]) for _ in range(6)]
    for call in calls:
        path = f"/api/voice/session/{call['session_id']}"
        for asked in workers:
            answer = {"type": "answer", "sdp": "v=0\r\n"}
            body = {"session_id": call["session_id"], "answer": answer}
            # The first who is asked takes it, the others hear that it is there already.
            expected = 200 if asked is workers[0] else 409
            async with asked.client.post(
                "/api/voice/answer", json=body, headers=bearer(call)
            ) as reply:
                assert reply.status == expected
            async with asked.client.patch(
                path, json={"candidate": None}, headers=bearer(call)
            ) as reply:
                assert (reply.status, await reply.read()) == (204, b"")
            async with asked.client.get(path, headers=bearer(call)) as reply:
                assert await reply.json() == {"session_id": call["session_id"], "answered": True}
            offer = {"type": "offer", "sdp": "v=0\r\n"}
            async with asked.client.post(
                f"{path}/restart", json=offer, headers=bearer(call)
            ) as reply:
                assert (await reply.json())["session_id"] == call["session_id"]
        taken = workers[whose(call)].manager.calls[call["session_id"]]
        assert (len(taken.candidates), taken.restarts) == (3, 3)
    for number, call in enumerate(calls):
        path = f"/api/voice/session/{call['session_id']}"
        asked = workers[number % 3]
        async with asked.client.delete(path, headers=bearer(call)) as reply:
            assert reply.status == 204
        async with asked.client.get(path, headers=bearer(call)) as reply:
            assert await error_of(reply) == (404, "unknown_session")
    assert [worker.manager.active for worker in workers] == [0, 0, 0]


async def test_errors_of_the_owner_are_told_as_they_are(make_crew: MakeCrew) -> None:
    workers = (await make_crew(1, 1)).workers
    call = await opened(workers[1])
    path = f"/api/voice/session/{call['session_id']}"
    async with workers[0].client.get(path) as reply:
        assert await error_of(reply) == (401, "token_missing")
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    async with workers[0].client.get(path, headers={"Authorization": "Bearer no"}) as reply:
        assert await error_of(reply) == (403, "wrong_token")


async def test_the_cookie_names_the_owner_too(make_crew: MakeCrew) -> None:
    workers = (await make_crew(1, 1)).workers
    async with workers[1].client.post("/api/voice/session") as reply:
        cookie = {"Cookie": reply.headers["Set-Cookie"].partition(";")[0]}
        assert whose(await reply.json()) == 1
    async with workers[0].client.delete("/api/voice/session", headers=cookie) as reply:
        assert reply.status == 204
        assert "Max-Age=0" in reply.headers["Set-Cookie"]
    assert workers[1].manager.active == 0


@pytest.mark.parametrize("session_id", ["_-7-12", "_-1-no-such", "other-1-12", "odd", "_-x-1"])
async def test_what_nobody_has_is_unknown(make_crew: MakeCrew, session_id: str) -> None:
    workers = (await make_crew(1, 1)).workers
    async with workers[0].client.get(
        f"/api/voice/session/{session_id}", headers={"Authorization": "Bearer x"}
    ) as reply:
        assert await error_of(reply) == (404, "unknown_session")


async def test_another_instances_call_is_left_to_other_ways(make_crew: MakeCrew) -> None:
    workers = (await make_crew(1, 1, instance="ours")).workers
    call = await opened(workers[1])
    assert owner_of(call["session_id"]) == ("ours", 1)
    async with workers[0].client.get(
        f"/api/voice/session/{call['session_id']}", headers=bearer(call)
    ) as reply:
        assert reply.status == 200
    theirs = call["session_id"].replace("ours", "theirs")
    async with workers[0].client.get(f"/api/voice/session/{theirs}", headers=bearer(call)) as reply:
        assert await error_of(reply) == (404, "unknown_session")


async def test_a_dead_workers_calls_are_gone(make_crew: MakeCrew) -> None:
    asked, owner = (await make_crew(1, 1)).workers
    call = await opened(owner)
    await owner.die()
    async with asked.client.get(
        f"/api/voice/session/{call['session_id']}", headers=bearer(call)
    ) as reply:
        assert await error_of(reply) == (404, "unknown_session")


async def test_a_hung_workers_calls_are_to_be_asked_for_again(
    make_crew: MakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicecore.service.workers.wire.PASS_ON_TIMEOUT_S", 0.02)
    asked, owner = (await make_crew(1, 1)).workers
    call = await opened(owner)
    path = socket_of(owner)
    await owner.die()
    with deaf(path):
        async with asked.client.get(
            f"/api/voice/session/{call['session_id']}", headers=bearer(call)
        ) as reply:
            assert await error_of(reply) == (503, "worker_silent")
            assert reply.headers["Retry-After"]


async def test_a_connection_that_breaks_off_is_a_death(make_crew: MakeCrew) -> None:
    made = await make_crew(1, 1)
    asked, owner = made.workers
    call = await opened(owner)
    path = socket_of(owner)
    await owner.die()

    async def broken(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfew")
        writer.close()

    async with await asyncio.start_unix_server(broken, path):
        async with asked.client.get(
            f"/api/voice/session/{call['session_id']}", headers=bearer(call)
        ) as reply:
            assert await error_of(reply) == (404, "unknown_session")
        # The same for a call that is to be opened: the next one gets it.
        assert whose(await opened(asked)) == 0


# -- new calls -------------------------------------------------------------------------


async def test_calls_are_spread_whoever_is_asked(make_crew: MakeCrew) -> None:
    workers = (await make_crew(5, 5, 5)).workers
    calls = [await opened(workers[0]) for _ in range(9)]
    assert [worker.manager.active for worker in workers] == [3, 3, 3]
    assert {whose(call) for call in calls} == {0, 1, 2}
    body = {"type": "offer", "sdp": "v=0\r\n"}
    for _ in range(3):
        async with workers[2].client.post("/api/voice/offer", json=body) as reply:
            assert reply.status == 200
    assert [worker.manager.active for worker in workers] == [4, 4, 4]


async def test_of_a_burst_exactly_the_limit_is_admitted(make_crew: MakeCrew) -> None:
    workers = (await make_crew(5, 4, 4)).workers

    async def ask(number: int) -> tuple[int, str, str]:
        async with workers[number % 3].client.post("/api/voice/session") as reply:
            body = await reply.json()
            retry = reply.headers.get("Retry-After", "")
            return reply.status, retry, body.get("error", {}).get("message", "")

    results = await asyncio.gather(*(ask(number) for number in range(60)))
    assert sorted(status for status, _, _ in results) == [200] * 13 + [503] * 47
    refusals = {(retry, text) for status, retry, text in results if status == 503}
    assert refusals == {("5", "All 13 places are taken; try again soon")}
    assert [worker.manager.active for worker in workers] == [5, 4, 4]
    refused = sum(
        worker.metrics.registry.get_sample_value(
            "voicecore_calls_refused_total", {"reason": "at_capacity"}
        )
        or 0
        for worker in workers
    )
    assert refused == 47, "each caller who was refused is counted once"


async def test_a_burst_below_the_limit_is_spread_evenly(make_crew: MakeCrew) -> None:
    workers = (await make_crew(50, 50, 50)).workers
    await asyncio.gather(*(opened(workers[0]) for _ in range(30)))
    assert [worker.manager.active for worker in workers] == [10, 10, 10]


async def test_a_full_worker_says_so_to_workers_alone(make_crew: MakeCrew) -> None:
    made = await make_crew(1, 1)
    one, other = made.workers
    await opened(one)
    other.manager.limit = 0  # it was told otherwise: the board lags behind
    async with one.client.post("/api/voice/session") as reply:
        assert await error_of(reply) == (503, "at_capacity")
        assert TRY_NEXT not in reply.headers


async def test_who_drains_or_is_too_busy_gets_no_call(make_crew: MakeCrew) -> None:
    workers = (await make_crew(5, 5, 5)).workers
    workers[0].manager.draining = True
    workers[1].manager.overload_level = OverloadLevel.REFUSING
    for worker in workers:
        worker.member.tell()
    calls = [await opened(workers[number % 3]) for number in range(5)]
    assert {whose(call) for call in calls} == {2}
    async with workers[1].client.post("/api/voice/session") as reply:
        assert reply.status == 503


async def test_while_nobody_takes_calls_the_one_asked_says_why(make_crew: MakeCrew) -> None:
    workers = (await make_crew(5, 5)).workers
    for worker in workers:
        worker.manager.draining = True
        worker.member.tell()
    async with workers[0].client.post("/api/voice/session") as reply:
        assert await error_of(reply) == (503, "draining")
        assert reply.headers["Retry-After"]


async def test_a_dead_worker_is_passed_over(make_crew: MakeCrew) -> None:
    workers = (await make_crew(5, 5)).workers
    await opened(workers[0])
    await workers[1].die()  # by the board it is there and has fewer calls
    assert whose(await opened(workers[0])) == 0


async def test_who_hangs_with_a_request_is_passed_over(
    make_crew: MakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicecore.service.workers.wire.LOOK_S", 0.01)
    made = await make_crew(5, 5)
    asked, hung = made.workers
    call = await opened(hung)
    await opened(asked)
    await opened(asked)  # so the other one is the better choice
    path = vacated(hung)
    await hung.die()
    came = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read(-1)  # until whoever asks gives up
        writer.close()

    async with await asyncio.start_unix_server(hang, path):
        opening = asyncio.create_task(opened(asked))
        await came.wait()
        made.pass_time(FRESH_NS / 1e9)
        assert whose(await opening) == 0
        async with asked.client.get(
            f"/api/voice/session/{call['session_id']}", headers=bearer(call)
        ) as reply:
            assert await error_of(reply) == (503, "worker_silent")


async def test_a_body_that_is_too_large_is_passed_to_nobody(make_crew: MakeCrew) -> None:
    workers = (await make_crew(1, 1)).workers
    call = await opened(workers[1])
    async with workers[0].client.patch(
        f"/api/voice/session/{call['session_id']}", data=b"x" * (256 * 1024 + 1)
    ) as reply:
        assert await error_of(reply) == (413, "body_too_large")


# -- who is asking ---------------------------------------------------------------------


async def test_the_caller_is_known_behind_a_proxy_and_a_hop(make_crew: MakeCrew) -> None:
    workers = (
        await make_crew(1, 1, trusted_proxies=["127.0.0.0/8"], allowed_hosts=["voice.example"])
    ).workers
    by_proxy = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "voice.example",
        "Origin": "https://voice.example",
    }
    await opened(workers[0])
    async with workers[0].client.post("/api/voice/session", headers=by_proxy) as reply:
        assert reply.status == 200
        assert whose(await reply.json()) == 1
        assert "Secure" in reply.headers["Set-Cookie"]
        assert "Access-Control-Allow-Origin" not in reply.headers


async def test_other_origins_are_answered_once_across_a_hop(make_crew: MakeCrew) -> None:
    page = "https://page.example"
    workers = (await make_crew(1, 1, allowed_origins=[page])).workers
    await opened(workers[0])
    async with workers[0].client.post("/api/voice/session", headers={"Origin": page}) as reply:
        assert reply.status == 200
        assert reply.headers.getall("Access-Control-Allow-Origin") == [page]
        assert reply.headers.getall("Vary") == ["Origin"]
        assert len(reply.headers.getall("Date")) == len(reply.headers.getall("Server")) == 1


@pytest.mark.parametrize(
    "forged",
    [
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "evil.example", "Origin": "http://evil.example"},
        {"Forwarded": "proto=https"},
    ],
)
async def test_a_caller_by_tcp_forges_nothing(make_crew: MakeCrew, forged: dict[str, str]) -> None:
    workers = (await make_crew(2, 2)).workers
    await opened(workers[0])
    for worker in (workers[0], workers[0]):  # passed on, and kept
        async with worker.client.post("/api/voice/session", headers=forged) as reply:
            if "Origin" in forged:
                assert await error_of(reply) == (403, "origin_not_allowed")
            else:
                assert "Secure" not in reply.headers["Set-Cookie"]


async def test_one_hop_and_no_more(make_crew: MakeCrew) -> None:
    """What comes by the socket is never passed on again, whatever it names."""
    workers = (await make_crew(1, 1)).workers
    call = await opened(workers[1])
    sock = socket_of(workers[0])
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(sock)) as by_socket,
        by_socket.get(
            f"http://localhost/api/voice/session/{call['session_id']}", headers=bearer(call)
        ) as reply,
    ):
        assert await error_of(reply) == (404, "unknown_session")


KEYS = [f"caller{number}=key-of-caller-number-{number:02}" for number in range(8)]


async def test_rates_are_counted_once_whoever_is_asked(make_crew: MakeCrew) -> None:
    made = await make_crew(50, 50, 50, api_keys=",".join(KEYS), rate_per_key="3/minute")
    for key in KEYS:  # each is counted by one of the three
        statuses = []
        for number in range(5):
            worker = made.workers[number % 3]
            headers = {"X-API-Key": key.partition("=")[2]}
            async with worker.client.post("/api/voice/session", headers=headers) as reply:
                statuses.append(reply.status)
                if reply.status == 429:
                    assert 1 <= int(reply.headers["Retry-After"]) <= 60
        assert statuses == [200, 200, 200, 429, 429], key


async def test_while_the_one_who_counts_is_away_each_counts_alone(make_crew: MakeCrew) -> None:
    made = await make_crew(50, 50, api_keys=",".join(KEYS), rate_per_key="2/minute")
    await made.workers[1].die()
    for key in KEYS:
        statuses = []
        for _ in range(3):
            headers = {"X-API-Key": key.partition("=")[2]}
            async with made.workers[0].client.post("/api/voice/session", headers=headers) as reply:
                statuses.append(reply.status)
        assert statuses == [200, 200, 429], key


# -- for all of them -------------------------------------------------------------------


async def test_ready_as_long_as_one_takes_calls(make_crew: MakeCrew) -> None:
    workers = (await make_crew(1, 2)).workers
    await opened(workers[1])
    workers[0].ready.wait_for("engines", "the engines are loading")
    for worker in workers:
        worker.member.tell()
        async with worker.client.get("/readyz") as reply:
            body = await reply.json()
            assert reply.status == 200
        assert body["workers"] == [
            {
                "worker": 0, "state": "loading", "overload": "normal",
                "calls": {"active": 0, "limit": 1},
            },
            {
                "worker": 1, "state": "ready", "overload": "normal",
                "calls": {"active": 1, "limit": 2},
            },
        ]  # fmt: skip
        assert body["calls"] == {"active": 1, "limit": 2}
    await opened(workers[0])
    async with workers[0].client.get("/readyz") as reply:
        assert reply.status == 503
        message = (await reply.json())["error"]["message"]
    assert message == "the engines are loading; all 2 places are taken; worker 0 is loading"


async def test_draining_and_too_busy_workers_are_told_apart(make_crew: MakeCrew) -> None:
    workers = (await make_crew(1, 1)).workers
    workers[0].manager.draining = True
    workers[1].manager.overload_level = OverloadLevel.REFUSING
    for worker in workers:
        worker.member.tell()
    for worker, code in zip(workers, ("draining", "not_ready"), strict=True):
        async with worker.client.get("/readyz") as reply:
            error = (await reply.json())["error"]
        assert error["code"] == code
        assert error["message"] == "worker 0 is draining; worker 1 is too busy for more calls"


async def test_they_take_turns_in_calling_themselves(make_crew: MakeCrew) -> None:
    made = await make_crew(1, 1, 1, deep_check_s=60)
    for period in range(3):
        for worker in made.workers:
            async with worker.client.get("/readyz?deep=1") as reply:
                body = await reply.json()
                assert reply.status == 200, body
            assert "age_s" in body["deep"]
        assert len(made.deep_checks) == period + 1, "one for all, whoever was asked"
        made.pass_time(60)
    assert sorted(made.deep_checks) == [0, 1, 2]


async def test_who_has_no_room_does_not_call_himself(make_crew: MakeCrew) -> None:
    made = await make_crew(1, 1, 1, deep_check_s=60)
    whose_calls = {whose(await opened(made.workers[0])) for _ in range(2)}
    (free,) = {0, 1, 2} - whose_calls
    for _ in range(3):
        for worker in made.workers:
            async with worker.client.get("/readyz?deep=1") as reply:
                assert reply.status == 200
        made.pass_time(60)
    assert set(made.deep_checks) == {free}


async def test_metrics_of_all_from_any(make_crew: MakeCrew) -> None:
    workers = (await make_crew(5, 5, 5)).workers
    for number, worker in enumerate(workers):
        for _ in range(number + 1):
            worker.metrics.call_opened("server_offers")

    async def scraped(worker: Worker) -> Counter[tuple[str, str]]:
        async with worker.client.get("/metrics") as reply:
            text = await reply.text()
            assert reply.status == 200
        values: Counter[tuple[str, str]] = Counter()
        for family in text_string_to_metric_families(text):
            for name, labels, value, *_ in family.samples:
                values[name, labels.get("worker", "")] += value  # type: ignore[assignment]
        return values

    for worker in workers:
        values = await scraped(worker)
        assert values["voicecore_calls_opened_total", ""] == 6
        assert [values["voicecore_calls_active", str(n)] for n in range(3)] == [1, 2, 3]
        assert values["voicecore_workers_silent", ""] == 0
    await workers[2].die()
    values = await scraped(workers[0])
    assert values["voicecore_calls_opened_total", ""] == 6, "a counter never falls"
    assert values["voicecore_workers_silent", ""] == 1
    assert ("voicecore_calls_active", "2") not in values


async def test_administration_of_all_from_any(make_crew: MakeCrew) -> None:
    workers = (await make_crew(2, 2)).workers
    calls = [await opened(workers[0]) for _ in range(3)]
    named = [str(call["session_id"]) for call in calls]
    for worker in workers:
        listed = await worker.member.sessions_of_all()
        assert {str(call["session_id"]) for call in listed} == set(named)
    for session_id in named:
        await workers[0].member.hang_up(session_id)
        with pytest.raises(PeerError) as failure:
            await workers[0].member.hang_up(session_id)
        assert failure.value.status == 404
    assert await workers[1].member.sessions_of_all() == []
    await workers[1].die()
    assert await workers[0].member.sessions_of_all() == []
    with pytest.raises(PeerError):
        await workers[0].member.hang_up("_-1-12")


async def test_whose_supervisor_is_dead_tells_no_stranger_of_a_drain(
    make_crew: MakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    (worker,) = (await make_crew(1)).workers
    told: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", lambda pid, _: told.append(pid))
        await worker.member.drain_all()
        assert told == [os.getppid()]
        patched.setattr(os, "getppid", lambda: 1)
        await worker.member.drain_all()
    assert len(told) == 1, "he drains, having been told when it died"


async def test_what_another_worker_fails_to_do_is_not_told_as_done(
    make_crew: MakeCrew, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(session_id: str) -> None:
        raise RuntimeError(session_id)

    asked, other = (await make_crew(1, 1)).workers
    monkeypatch.setattr(other.manager, "hang_up", fail)
    for session_id in ("_-1-12", "_-1-12?x", "_-1-../metrics"):
        with pytest.raises(CapacityError) as failure:
            await asked.member.hang_up(session_id)
        assert failure.value.code == "worker_silent"


async def test_the_inner_routes_are_not_served_to_the_world(make_crew: MakeCrew) -> None:
    (worker,) = (await make_crew(1)).workers
    async with worker.client.get("/sessions") as reply:
        assert reply.status == 404


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_worker_is_known_by_its_socket_on_either_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    known = web.Application()

    async def tell(request: web.Request) -> web.Response:
        return web.Response(text=str(from_worker(request)))

    async def ask(connector: aiohttp.BaseConnector, url: str) -> str:
        async with aiohttp.ClientSession(connector=connector) as client, client.get(url) as reply:
            return await reply.text()

    async def main() -> tuple[str, str]:
        runner = web.AppRunner(known)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
            with tempfile.TemporaryDirectory(prefix="crew-") as folder:
                await web.UnixSite(runner, f"{folder}/0.sock").start()
                by_socket = await ask(aiohttp.UnixConnector(f"{folder}/0.sock"), "http://worker/")
                return by_socket, await ask(aiohttp.TCPConnector(), url)
        finally:
            await runner.cleanup()

    known.router.add_get("/", tell)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main()) == ("True", "False")
