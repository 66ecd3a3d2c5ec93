"""``python -m voicecore.service probe`` against services well and broken; ``/readyz?deep=1``."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from caller.server import Server
from e2e.coturn import SECRET, coturn
from e2e.patience import until
from e2e.spoken import counter
from voicecore.service.ice import turn_credentials
from voicecore.service.probe.report import STAGES

STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub")


@pytest.fixture(scope="module")
def stubs(serve: Callable[..., Server]) -> Server:
    return serve(*STUBS)


@pytest.fixture(scope="module")
def embedded(serve: Callable[..., Server]) -> Server:
    """The embedded engines, and a greeting that is no answer."""
    return serve("--stt-workers", "1", "--greeting", "Good day.")


@pytest.fixture(scope="module")
def broken(serve: Callable[..., Server]) -> Server:
    """Its recogniser fails at every turn; it knows one key."""
    flags = ("--stt", "e2e_broken:BrokenStt", "--llm", "stub", "--tts", "stub")
    return serve(*flags, "--api-keys", "ops=the-key-of-these-tests")


async def probe(url: str, *flags: str, **variables: str) -> tuple[int, dict[str, Any]]:
    """Exit status and report of a probe in a process of its own."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voicecore.service", "probe", url, *flags,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, **variables},
    )  # fmt: skip
    out, _ = await child.communicate()
    assert child.returncode is not None
    return child.returncode, json.loads(out)


def check_figures(told: dict[str, Any]) -> None:
    """Of a call that was answered."""
    assert (told["ok"], told["failed_stage"], told["reason"]) == (True, None, None)
    assert sorted(told["stages_ms"], key=STAGES.index) == list(STAGES)
    assert told["stages_ms"]["speech"] >= 1500
    assert told["total_ms"] >= sum(told["stages_ms"].values()) - 1
    assert 0 < told["first_audio_in_ms"] < told["total_ms"]
    # The agent can't answer before the turn is over, nor be heard before it has sent.
    server = told["server_ms"]
    assert 0 < server["endpoint_ms"] <= server["packet_ms"] <= told["answer_ms"] + 60
    assert told["answer_ms"] <= told["stages_ms"]["answer"]
    assert -50 < told["answer_dbfs"] < 0
    assert told["pair"].keys() == {"local", "remote"}
    packets = told["packets"]
    # 20 ms each, both ways, and the phrase alone lasts 1.6 s.
    assert packets["sent"] > 80
    assert packets["received"] > 60
    assert packets["lost"] <= packets["received"] / 10


async def test_embedded_engines_are_found_to_answer(
    http: aiohttp.ClientSession, embedded: Server
) -> None:
    status, told = await probe(embedded.url, "--timeout", "60")
    assert status == 0, told
    check_figures(told)
    # "Good day." was waited for, and not taken for the answer.
    assert told["stages_ms"]["greeting"] > 300

    async def gone() -> bool:
        return await counter(http, embedded.url, "voicecore_calls_active") == 0

    await until(gone, "the probe's call is over")


async def test_by_an_offer_of_ours_through_turn_alone(
    stubs: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with coturn(tmp_path_factory.mktemp("coturn")) as turn:
        user, password = turn_credentials(SECRET, "probe", int(time.time()) + 600)
        flags = ("--client-offers", "--relay-only", "--turn-url", turn.url("udp"))
        flags = (*flags, "--turn-username", user, "--timeout", "60")
        status, told = await probe(stubs.url, *flags, VOICECORE_PROBE_TURN_CREDENTIAL=password)
        assert (status, told["flow"]) == (0, "client_offers"), told
        check_figures(told)
        assert told["pair"]["local"] == "relay"
        status, told = await probe(stubs.url, *flags, VOICECORE_PROBE_TURN_CREDENTIAL="wrong")
    assert (status, told["failed_stage"]) == (1, "gathering")
    assert "credentials" in told["reason"]


async def test_a_broken_recogniser_is_named(broken: Server) -> None:
    status, told = await probe(broken.url, VOICECORE_PROBE_KEY="the-key-of-these-tests")
    assert (status, told["failed_stage"]) == (1, "stt"), told
    assert "broken_on_purpose" in told["reason"]
    assert told["session_id"]


async def test_a_service_that_says_nothing_costs_no_more_than_allowed() -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(silent) as url:
        status, told = await probe(url, "--timeout", "3")
    assert (status, told["failed_stage"]) == (1, "http")
    assert "no reply (given up after 3 s)" in told["reason"]
    assert told["total_ms"] < 3000 + 1000


async def test_a_port_that_is_blocked_is_a_failure_of_ice(
    http: aiohttp.ClientSession, stubs: Server
) -> None:
    """Signaling goes through, and every candidate leads to the discard port."""

    async def firewall(request: web.Request) -> web.Response:
        body = blocked(await request.text())
        headers = {k: v for k, v in request.headers.items() if k in ("Authorization",)}
        headers["Content-Type"] = "application/json"
        async with http.request(
            request.method, f"{stubs.url}{request.path}", data=body, headers=headers
        ) as reply:
            return web.Response(
                status=reply.status,
                text=blocked(await reply.text()),
                content_type="application/json",
            )

    async with serving(firewall) as url:
        status, told = await probe(url, "--timeout", "3")
    assert (status, told["failed_stage"]) == (1, "ice"), told
    assert ":9" in told["reason"]
    assert "UDP port" in told["reason"]


def blocked(text: str) -> str:
    return re.sub(r"(a=candidate:\S+ \d+ \S+ \d+ \S+) \d+ ", r"\1 9 ", text)


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()


async def test_deep_readiness_of_a_healthy_service(
    http: aiohttp.ClientSession, stubs: Server
) -> None:
    name = "voicecore_calls_opened_total"
    before = await counter(http, stubs.url, name, flow="server_offers")

    async def ask() -> tuple[int, Any]:
        async with http.get(f"{stubs.url}/readyz?deep=1") as reply:
            return reply.status, await reply.json()

    answers = await asyncio.gather(*(ask() for _ in range(5)))
    answers.append(await ask())
    for status, body in answers:
        assert status == 200, body
        assert body["deep"]["answer_ms"] > 0
    # None at all if this is a second try within the period.
    assert await counter(http, stubs.url, name, flow="server_offers") <= before + 1
    assert await counter(http, stubs.url, "voicecore_deep_checks_total", result="ok") == 1


async def test_deep_readiness_of_a_broken_one_that_asks_for_a_key(
    http: aiohttp.ClientSession, broken: Server
) -> None:
    async with http.get(f"{broken.url}/readyz?deep=1") as reply:
        body = await reply.json()
        assert reply.status == 503, body
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
    assert body["error"]["code"] == "deep_check_failed"
    assert "at stt: broken_on_purpose" in body["error"]["message"]
