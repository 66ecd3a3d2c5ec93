"""A burst of requests for a session at three instances that share a limit: who gets in.

All come at once, through HAProxy, over connections of their own. As many as there are
places must be let in, no more and no fewer, and each of the others told when to come back.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from ops.cluster import Cluster, cluster, missing
from report import Bar, Report, quick

LIMIT, REQUESTS = 50, 200
_FLAGS = (
    "--cluster-max-calls", str(LIMIT), "--max-calls", str(LIMIT), "--lease-s", "3",
    "--answer-timeout-s", "120",
)  # fmt: skip


@dataclass(frozen=True)
class Round:
    """What became of the requests of one burst."""

    admitted: int
    refused: int
    unruly: int
    """Neither a session nor a 503 that says when to come back."""
    by_instance: dict[str, int]
    seconds: float


async def measure(report: Report) -> None:
    """Several bursts, each on an empty cluster."""
    if reason := missing():
        print(f"  not measured: {reason}")
        report.bars += _bars(None)
        return
    with tempfile.TemporaryDirectory(prefix="voicecore-burst-") as folder:
        async with (
            cluster(Path(folder), *_FLAGS) as site,
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            ) as http,
        ):
            rounds = [await _round(http, site) for _ in range(2 if quick() else 10)]
    for one in rounds:
        print(
            f"  {REQUESTS} requests in {one.seconds * 1000:.0f} ms: {one.admitted} admitted"
            f" {one.by_instance}, {one.refused} told to come back, {one.unruly} otherwise"
        )
        report.rows.append({"part": "burst", **vars(one)})
    report.bars += _bars(rounds)


def _bars(rounds: list[Round] | None) -> list[Bar]:
    off = unruly = None
    if rounds:
        off = max(abs(one.admitted - LIMIT) for one in rounds)
        unruly = max(one.unruly for one in rounds)
    name = f"burst of {REQUESTS} at a limit of {LIMIT}"
    return [
        Bar(f"{name}: admitted beside it", off, "", "<=", 0),
        Bar(f"{name}: refused without Retry-After", unruly, "", "<=", 0),
    ]


async def _round(http: aiohttp.ClientSession, site: Cluster) -> Round:
    opened: list[tuple[str, str]] = []
    refused = unruly = 0

    async def one() -> None:
        nonlocal refused, unruly
        async with http.post(f"{site.url}/api/voice/session") as reply:
            told = await reply.json()
            if reply.status == 200:
                opened.append((told["session_id"], told["token"]))
            elif reply.status == 503 and int(reply.headers.get("Retry-After", 0)) > 0:
                refused += 1
            else:
                unruly += 1

    began_s = time.monotonic()
    await asyncio.gather(*(one() for _ in range(REQUESTS)))
    seconds = time.monotonic() - began_s
    await asyncio.gather(*(_hang_up(http, site, *session) for session in opened))
    owners = Counter(session.split("-")[0] for session, _ in opened)
    return Round(len(opened), refused, unruly, dict(sorted(owners.items())), seconds)


async def _hang_up(http: aiohttp.ClientSession, site: Cluster, session: str, token: str) -> None:
    url = f"{site.url}/api/voice/session/{session}"
    async with http.delete(url, headers={"Authorization": f"Bearer {token}"}) as reply:
        assert reply.status == 204, await reply.text()
