"""Calls through a real TURN server (coturn): the caller's side relayed, and ours; what is told
of servers that give no relay."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aioice import stun, turn
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from caller.server import Server, free_port
from e2e.aiortc_caller import AiortcCaller
from e2e.console_fake_server import FakeServer
from e2e.coturn import PATIENCE_S, SECRET, Turn, coturn, dead_server
from e2e.spoken import counter
from e2e.test_console_page import CHROMIUM, Console, console, fake
from e2e.test_talk import ask
from transport.kit import loud, media_hub, over, tone, until
from transport.peer_kit import Notes, peer
from transport.restarting import Mover
from transport.test_dropin import Tone, hear, negotiate
from voicecore.aiortc import native_audio
from voicecore.service.app import build_app
from voicecore.service.calls import build_manager
from voicecore.service.config import Settings
from voicecore.service.engine_factory import build_engines
from voicecore.service.ice import turn_credentials
from voicecore.service.metrics import Metrics
from voicecore.service.readiness import Readiness
from voicecore.transport.media_path import RELAYED
from voicecore.transport.native_plane import NativePlane
from voicecore.transport.peer_config import PeerConfig
from voicecore.transport.server_notes import ServerFault

__all__ = ["console", "fake"]  # fixtures

ICE_RESULTS = "voicecore_ice_results_total"
NO_RELAY = "voicecore_ice_no_relay_total"
TURN_UP = "voicecore_turn_up"
GIVEN = "ALLOCATE processed, success"
TAKEN_BACK = "REFRESH processed, success"

OFFER_S = 0.5
"""Dead servers may cost a call no more."""

BUSY_S = 0.4
"""What a machine with other things to do may take for an offer besides."""


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Turn]:
    with coturn(tmp_path_factory.mktemp("coturn")) as made:
        yield made


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server], turn_server: Turn) -> Iterator[Server]:
    """Its first TURN server is dead, and so is the only one for STUN."""
    with dead_server() as dead:
        urls = [f"turn:{turn_server.host}:{dead}", *map(turn_server.url, ("udp", "tcp", "tls"))]
        yield serve(
            *("--stt-workers", "1", "--greeting", ""),
            *("--turn-urls", ",".join(urls), "--turn-secret", SECRET),
            *("--turn-ca", str(turn_server.ca), "--ice-transport-policy", "relay"),
            *("--ice-servers", f"stun:{turn_server.host}:{dead}"),
        )


def relayed_only(server: RTCIceServer) -> RTCConfiguration:
    return RTCConfiguration(
        iceServers=[server],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
        bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
    )


@asynccontextmanager
async def opened(http: aiohttp.ClientSession, server: Server) -> AsyncIterator[dict[str, object]]:
    """What the service tells a caller."""
    base = f"{server.url}/api/voice/session"
    async with http.post(base) as reply:
        body = await reply.json()
        assert reply.status == 200, body
    yield body
    auth = {"Authorization": f"Bearer {body['token']}"}
    async with http.delete(f"{base}/{body['session_id']}", headers=auth):
        pass


async def turn_states(http: Any, base: str = "") -> Any:
    """What ``/readyz`` says of the TURN servers."""
    async with http.get(f"{base}/readyz") as reply:
        assert reply.status == 200, await reply.text()
        return (await reply.json())["turn"]


def held() -> int:
    """Descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


# -- callers that are relayed ------------------------------------------------------------


@pytest.mark.parametrize("way", ["udp", "tcp"])
async def test_a_relayed_caller_is_understood_and_hears_the_agent(
    http: aiohttp.ClientSession, server: Server, turn_server: Turn, way: str
) -> None:
    labels = {"result": "connected", "local": "host", "remote": "relay"}
    before = await counter(http, server.url, ICE_RESULTS, **labels)
    async with opened(http, server) as told:
        assert told["ice_transport_policy"] == "relay"
        _, entry = told["ice_servers"]  # type: ignore[misc]
        assert entry["urls"][1:] == [turn_server.url(each) for each in ("udp", "tcp", "tls")]
        ice = RTCIceServer(turn_server.url(way), entry["username"], entry["credential"])
        caller = AiortcCaller(http, server.url, ice=relayed_only(ice))
        try:
            await caller.call()
            await caller.event("hello")
            assert await ask(caller)
        finally:
            await caller.hang_up()
    # One relay, not two: from it the caller reaches our own address.
    assert await counter(http, server.url, ICE_RESULTS, **labels) == before + 1


async def test_dead_servers_delay_no_call_beyond_half_a_second(
    http: aiohttp.ClientSession, server: Server, turn_server: Turn
) -> None:
    took_s = []
    for _ in range(4):
        began_s = time.monotonic()
        async with opened(http, server) as told:
            took_s.append(time.monotonic() - began_s)
            assert "typ relay" not in str(told["offer"]), "callers come to us from theirs"
    assert max(took_s) <= OFFER_S + BUSY_S, took_s
    assert min(took_s) <= OFFER_S, took_s
    assert await counter(http, server.url, NO_RELAY) == 0


async def test_it_is_told_which_of_the_servers_work(
    http: aiohttp.ClientSession, server: Server
) -> None:
    dead = {"position": 1, "transport": "udp", "state": "down", "reason": "it doesn't answer"}
    alive = [
        {"position": position, "transport": way, "state": "up"}
        for position, way in ((2, "udp"), (3, "tcp"), (4, "tls"))
    ]
    async with asyncio.timeout(PATIENCE_S):
        while await turn_states(http, server.url) != [dead, *alive]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for position, way, up in ((1, "udp", 0), (2, "udp", 1), (3, "tcp", 1), (4, "tls", 1)):
        labels = {"position": str(position), "transport": way}
        assert await counter(http, server.url, TURN_UP, **labels) == up


# -- our own side ----------------------------------------------------------------------


async def heard_both_ways(here: NativePlane, there: NativePlane) -> None:
    for mouth, ear in ((here, there), (there, here)):
        since = ear.ring.position
        mouth.play(tone(0.3), mouth.generation)
        await until(lambda ear=ear, since=since: loud(ear, since))  # type: ignore[misc]


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
async def test_our_side_relayed_alone(turn_server: Turn, way: str) -> None:
    ours = turn_server.server(way)
    entry = RTCIceServer(turn_server.url(way), ours.username, ours.password)
    hubs = [media_hub(turn_server.host) for _ in range(2)]
    near, far = Notes(), Notes()
    try:
        async with (
            peer(
                hub=hubs[0], ice_servers=(entry,), relay_only=True, relay_required=True,
                turn_ca=str(turn_server.ca),
            ) as (one, near),
            peer(hub=hubs[1]) as (two, far),
        ):  # fmt: skip
            offer = await one.offer()
            candidates = {line for line in offer.splitlines() if line.startswith("a=candidate")}
            (candidate,) = candidates
            assert "typ relay raddr 0.0.0.0 rport 9" in candidate
            answer = await two.accept(offer)
            await one.answer(answer)
            await until(lambda: near.link and far.link)
            assert near.link is not None
            assert far.link is not None
            pair = near.link.path.pair
            assert pair is not None
            assert (pair.port, pair.local_type) == (RELAYED, "relay")
            with over(near.link, hubs[0]) as here, over(far.link, hubs[1]) as there:
                await heard_both_ways(here, there)
                taken_back = turn_server.logged(TAKEN_BACK)
                mover = Mover(two, answer)
                again = PeerConfig(
                    hubs[0], ice_servers=(entry,), relay_only=True, relay_required=True,
                    turn_ca=str(turn_server.ca),
                )  # fmt: skip
                restarted = await one.restart(await mover.offer(), again)
                relays = set(re.findall(r"^a=candidate:.*$", restarted, re.MULTILINE))
                assert len(relays) == 1
                assert relays.isdisjoint(candidates), "a relay of its own"
                await mover.answered(restarted)
                await mover.moved()
                await until(lambda: turn_server.logged(TAKEN_BACK) > taken_back)
                await heard_both_ways(here, there)
                await mover.close()
    finally:
        for hub in hubs:
            hub.close()


@pytest.mark.parametrize("way", ["udp", "tcp"])
async def test_a_program_of_others_relayed(turn_server: Turn, way: str) -> None:
    user, password = turn_credentials(SECRET, "program", int(time.time()) + 60)
    entry = RTCIceServer(turn_server.url(way), user, password)
    program = RTCPeerConnection(relayed_only(entry))
    native_audio(program)
    caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    at_caller, at_program = [], []
    caller.on("track", at_caller.append)
    program.on("track", at_program.append)
    caller.addTrack(Tone(400.0))
    program.addTrack(Tone(600.0))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await negotiate(caller, program)
            types = [line for line in program.localDescription.sdp.splitlines() if "typ" in line]
            assert types
            assert all("typ relay" in line for line in types)
            await hear(at_program[0], 400.0)
            await hear(at_caller[0], 600.0)
    finally:
        await program.close()
        await caller.close()


# -- relays that aren't given --------------------------------------------------------------


@asynccontextmanager
async def service(tmp_path: Path, **settings: Any) -> AsyncIterator[TestClient[Any, Any]]:
    """The HTTP side over real calls, in this process: what it says is looked at, not heard."""
    chosen = {"stt": "stub", "llm": "stub", "tts": "stub", "vad": "energy"}
    made, metrics = Settings(**(chosen | settings)), Metrics()
    engines = build_engines(made)
    await engines.start(lambda _: None)
    manager = build_manager(made, engines, metrics)
    try:
        await manager.start()
        ready = Readiness()
        ready.watch_turn(manager.turn, required=made.ice_transport_policy != "all")
        metrics.watch_turn(manager.turn)
        app = build_app(made, manager, metrics, ready, tmp_path)
        async with TestClient(TestServer(app)) as client:
            yield client
    finally:
        await manager.close()
        await engines.close()


def wrong_secret(turn_server: Turn) -> dict[str, Any]:
    return {"turn_urls": [turn_server.url("udp")], "turn_secret": "another"}


def expired_user(turn_server: Turn) -> dict[str, Any]:
    user, password = turn_credentials(SECRET, "someone", int(time.time()) - 60)
    entry = {"urls": [turn_server.url("tcp")], "username": user, "credential": password}
    return {"ice_servers": [entry]}


def unknown_authority(turn_server: Turn) -> dict[str, Any]:
    return {"turn_urls": [turn_server.url("tls")], "turn_secret": SECRET}


def another_name(turn_server: Turn) -> dict[str, Any]:
    # The address as one number: resolvers take it, and no certificate has it.
    number = str(int(ipaddress.IPv4Address(turn_server.host)))
    url = turn_server.url("tls").replace(turn_server.host, number)
    return {"turn_urls": [url], "turn_secret": SECRET, "turn_ca": turn_server.ca}


def nobody_there(turn_server: Turn) -> dict[str, Any]:
    url = f"turn:{turn_server.host}:{free_port()}?transport=tcp"
    return {"turn_urls": [url], "turn_secret": SECRET}


Trouble = Callable[[Turn], dict[str, Any]]


@pytest.mark.parametrize(
    ("trouble", "reason", "logged"),
    [
        (wrong_secret, "refused", "refuses our user name and password (error 401); turn_secret"),
        (expired_user, "expired", "our user name there has expired (error 401)"),
        (unknown_authority, "certificate", "its certificate is not trusted (unable to get local"),
        (another_name, "certificate", "its certificate is not trusted (Hostname mismatch"),
        (nobody_there, "unreachable", "it can't be reached (Connect call failed"),
    ],
)
async def test_a_call_that_could_only_fail_is_refused_in_words(
    turn_server: Turn,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    trouble: Trouble,
    reason: str,
    logged: str,
) -> None:
    settings = trouble(turn_server) | {"ice_transport_policy": "relay"}
    async with service(tmp_path, **settings) as client:
        for _ in range(2):
            async with client.post("/api/voice/session") as reply:
                error = (await reply.json())["error"]
                assert (reply.status, error["code"]) == (503, f"turn_{reason}")
                assert int(reply.headers["Retry-After"]) > 0
                assert "none gives a relay now: " in error["message"]
        async with client.get("/metrics") as reply:
            shown = await reply.text()
            assert f'{NO_RELAY}{{reason="{reason}"}} 2.0' in shown
            assert re.search(rf'^{TURN_UP}{{position="1",transport="\w+"}} 0\.0$', shown, re.M)
        async with client.get("/readyz") as reply:
            assert reply.status == 503
            why = (await reply.json())["error"]["message"]
            assert why.endswith(f"none gives a relay: {ServerFault(reason).words}")
    (told,) = [text for text in caplog.messages if text.startswith("turn")]
    assert logged in told
    for secret in (SECRET, "another", "server-", "someone"):
        assert secret not in caplog.text


async def test_with_other_ways_left_a_call_goes_on_without(
    turn_server: Turn, tmp_path: Path
) -> None:
    async with service(tmp_path, **wrong_secret(turn_server)) as client:
        async with asyncio.timeout(PATIENCE_S):
            while (await turn_states(client))[0]["state"] == "unknown":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (known,) = await turn_states(client)
        assert known["reason"] == ServerFault.REFUSED.words
        async with client.post("/api/voice/session") as reply:
            offer = str((await reply.json())["offer"])
        assert "typ host" in offer
        assert "typ relay" not in offer
        async with client.get("/metrics") as reply:
            assert f'{NO_RELAY}{{reason="refused"}} 1.0' in await reply.text()


@pytest.mark.parametrize("policy", ["all", "relay"])
async def test_calls_that_need_no_relay_of_ours_leave_the_server_alone(
    tmp_path: Path, policy: str
) -> None:
    with coturn(tmp_path) as alone:
        urls = [alone.url(way) for way in ("udp", "tcp", "tls")]
        settings = {"turn_urls": urls, "turn_secret": SECRET, "turn_ca": alone.ca}
        async with service(tmp_path, ice_transport_policy=policy, **settings) as client:
            # One relay by each URL, to see that it gives them; each is given back.
            await until(lambda: alone.logged(TAKEN_BACK) == 3)
            descriptors = set()
            for _ in range(20):
                async with client.post("/api/voice/session") as reply:
                    assert reply.status == 200, await reply.text()
                    assert " typ relay" not in (await reply.json())["offer"]["sdp"]
                descriptors.add(held())
            assert len(descriptors) == 1
            assert [each["state"] for each in await turn_states(client)] == ["up"] * 3
        assert alone.logged(GIVEN) == 3


async def test_by_policy_our_own_addresses_stay_unknown(turn_server: Turn, tmp_path: Path) -> None:
    urls = [turn_server.url(way) for way in ("udp", "tcp", "tls")]
    policy = {"ice_transport_policy": "relay_both", "turn_urls": urls, "turn_secret": SECRET}
    async with (
        service(tmp_path, **policy) as client,
        client.post("/api/voice/session") as reply,
    ):
        opened = await reply.json()
    assert opened["ice_transport_policy"] == "relay"
    sdp = opened["offer"]["sdp"]
    assert set(re.findall(r" typ (\w+) raddr (\S+) rport (\d+)", sdp)) == {
        ("relay", "0.0.0.0", "9")
    }
    assert " typ host" not in sdp


# -- the console -----------------------------------------------------------------------------


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium here")
async def test_the_page_says_why_a_relay_did_not_help(
    turn_server: Turn, fake: FakeServer, console: Console
) -> None:
    user, password = turn_credentials("another", "session", int(time.time()) + 60)
    entry = {"urls": [turn_server.url("udp")], "username": user, "credential": password}
    fake.ice = {"ice_servers": [entry], "ice_transport_policy": "relay"}
    await console.open("?autocall=1")
    told = await console.notice("relay_failed")
    assert "Calls go through a TURN relay here, but it refused this call’s password" in told


# -- the configuration that we ship ------------------------------------------------------


class _Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)


@pytest.mark.parametrize(
    ("host", "open_to"),
    [
        ("203.0.113.9", True),  # as public as a test may send to: RFC 5737
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
    ],
)
async def test_a_relay_is_no_door_into_the_network_behind_it(
    turn_server: Turn, host: str, open_to: bool
) -> None:
    ours = turn_server.server("udp")
    bound = turn_server.logged("CHANNEL_BIND processed, success")
    relay, ear = await turn.create_turn_endpoint(
        _Ear, (ours.host, ours.port), ours.username, ours.password
    )
    try:
        relay.sendto(b"hello", (host, 9))
        await until(
            lambda: ear.errors or turn_server.logged("CHANNEL_BIND processed, success") > bound
        )
    finally:
        relay.close()
        await asyncio.sleep(0)
    if open_to:
        assert ear.errors == []
    else:
        (error,) = ear.errors
        assert isinstance(error, stun.TransactionFailed)
        assert error.response.error_code == 403
