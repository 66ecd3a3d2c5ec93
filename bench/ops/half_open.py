"""Sessions that are opened and never connect: an offer without an answer, an offer of a
caller whom nobody can reach.

A thousand of each flow are opened one after the other, by one client. What they cost is the
growth of the server's resident memory behind the first twenty, and its descriptors; then their
time-out is waited for, and a second thousand must find the room of the first. So with TURN
servers, too: one that is dead, and a real coturn where it is installed, which counts the
relays that were taken.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection

from caller.server import Server, running
from e2e.coturn import SECRET, Turn, coturn, dead_server, local_host
from report import Bar, Report, quick

_GOAL_MB = 100.0
_WARM = 20
_STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub")
_NOWHERE = "192.0.2.1"
"""TEST-NET-1 (RFC 5737): nobody is there."""


@dataclass(frozen=True)
class Cost:
    """Of the sessions of one round."""

    megabytes: float
    descriptors: int
    left: int
    """Of the sessions, when their time was up."""
    cpu_ms: float
    """To open one."""


async def measure(report: Report) -> None:
    """Both flows, and one with TURN servers; each twice."""
    count = 200 if quick() else 1000
    for flow in ("server offers", "client offers"):
        _tell(report, flow, count, await _measure(flow, count))
    with _turn_servers() as (urls, relay):
        flow = "TURN configured"
        turn = ("--turn-urls", ",".join(urls), "--turn-secret", SECRET)
        _tell(report, flow, count, await _measure(flow, count, *turn))
        if relay is not None:
            _tell_relays(report, relay, 2 * count)


async def _measure(flow: str, count: int, *flags: str) -> list[Cost]:
    places = ("--max-calls", str(3 * count), "--answer-timeout-s", str(_timeout_s()))
    async with (
        running(*_STUBS, "--overload", "off", *places, *flags) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        open_one = await _opener(http, server, flow)
        for _ in range(_WARM):
            await open_one()
        return [await _round(http, server, open_one, count) for _ in range(2)]


@contextmanager
def _turn_servers() -> Iterator[tuple[list[str], Turn | None]]:
    """URLs of a server that keeps silent and, if it is installed, of a coturn: by UDP and TCP."""
    with ExitStack() as stack:
        relay = None
        if shutil.which("turnserver"):
            folder = stack.enter_context(TemporaryDirectory())
            relay = stack.enter_context(coturn(Path(folder)))
        else:
            print("  no coturn here (apt-get install coturn): with a dead TURN server alone")
        dead = stack.enter_context(dead_server())
        host = local_host()
        more = [] if relay is None else [relay.url(way) for way in ("udp", "tcp")]
        yield [f"turn:{host}:{dead}", *more], relay


def _timeout_s() -> float:
    """Longer than it takes to open them all."""
    return 4.0 if quick() else 15.0


async def _opener(
    http: aiohttp.ClientSession, server: Server, flow: str
) -> Callable[[], Awaitable[None]]:
    offer = await _unreachable_offer() if flow == "client offers" else ""
    number = 0

    async def open_one() -> None:
        nonlocal number
        number += 1
        path, body = "session", None
        if offer:
            path = "offer"
            body = {"type": "offer", "sdp": offer.replace("ufrag:abcd", f"ufrag:u{number:06d}")}
        async with http.post(f"{server.url}/api/voice/{path}", json=body) as reply:
            assert reply.status == 200, await reply.text()
            await reply.read()

    return open_one


async def _unreachable_offer() -> str:
    """An offer of stock aiortc's, whose one candidate leads nowhere."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("audio")
    connection.createDataChannel("voicecore")
    await connection.setLocalDescription(await connection.createOffer())
    sdp = str(connection.localDescription.sdp)
    await connection.close()
    sdp = re.sub(r"a=candidate:.*\r\n", "", sdp)
    sdp = re.sub(r"a=ice-ufrag:.*\r\n", "a=ice-ufrag:abcd\r\n", sdp)
    nowhere = f"a=candidate:1 1 udp 2130706431 {_NOWHERE} 50000 typ host\r\n"
    return sdp.replace("a=end-of-candidates\r\n", f"{nowhere}a=end-of-candidates\r\n")


async def _round(
    http: aiohttp.ClientSession,
    server: Server,
    open_one: Callable[[], Awaitable[None]],
    count: int,
) -> Cost:
    before = server.usage()
    for _ in range(count):
        await open_one()
    after = server.usage()
    left = await _left(http, server, time.monotonic() + 2 * _timeout_s())
    return Cost(
        megabytes=(after.resident_bytes - before.resident_bytes) / 1e6,
        descriptors=after.descriptors - before.descriptors,
        left=left,
        cpu_ms=1000 * (after.cpu_s - before.cpu_s) / count,
    )


async def _left(http: aiohttp.ClientSession, server: Server, deadline_s: float) -> int:
    """The server's sessions, none or those that are still there at the deadline."""
    while True:
        async with http.get(f"{server.url}/readyz") as reply:
            left = int((await reply.json())["calls"]["active"])
        if not left or time.monotonic() > deadline_s:
            return left
        await asyncio.sleep(0.25)


def _tell_relays(report: Report, relay: Turn, sessions: int) -> None:
    """All that were taken are the service's own looks, whose number time decides."""
    taken = relay.logged("ALLOCATE processed, success")
    print(f"  TURN configured: {taken} relays taken while {sessions} sessions were opened")
    report.bars.append(Bar("half-open, TURN configured: relays taken", taken, "", "<=", 25))


def _tell(report: Report, flow: str, count: int, rounds: list[Cost]) -> None:
    for number, cost in enumerate(rounds, 1):
        print(
            f"  {flow}, round {number}: {count} sessions {cost.megabytes:.1f} MB,"
            f" {cost.descriptors} descriptors, {cost.cpu_ms:.2f} ms CPU each,"
            f" {cost.left} left after {_timeout_s():.0f} s"
        )
        report.rows.append({"part": "half-open", "flow": flow, "round": number, **vars(cost)})
    first, second = rounds
    whole = 1000 / count
    report.bars += [
        Bar(f"half-open, {flow}: 1,000 sessions", first.megabytes * whole, "MB", "<=", _GOAL_MB),
        Bar(f"half-open, {flow}: the next 1,000", second.megabytes * whole, "MB", "<=", 20),
        Bar(
            f"half-open, {flow}: descriptors of all",
            max(cost.descriptors for cost in rounds), "", "<=", 5,
        ),
        Bar(f"half-open, {flow}: left", sum(cost.left for cost in rounds), "", "<=", 0),
    ]  # fmt: skip
