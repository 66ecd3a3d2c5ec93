"""A rolling restart of three instances under calls: does anybody lose his?

Through HAProxy a number of real calls is kept up: each lasts for some seconds, hangs up by
itself, and another takes its place. Meanwhile one instance after the other gets SIGTERM, ends
when its calls have, and is started again. A call is dropped if it ends in any other way than
by its own hanging up, if no audio came in its last second, or if its signaling doesn't reach
its instance any more.
"""

from __future__ import annotations

import asyncio
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

from load.caller import Caller, Calls, origin
from load.native import Client
from load.voices import speech
from ops.cluster import Cluster, Instance, cluster, missing
from report import Bar, Report, quick

CALLS = 9 if quick() else 30
_LASTS_S = (2.0, 4.0) if quick() else (5.0, 10.0)
_RESTARTS = 1 if quick() else 3
_DRAIN_S = 60.0
_SEED = 21
_FLAGS = (
    "--cluster-max-calls", str(2 * CALLS), "--max-calls", str(CALLS), "--lease-s", "3",
    "--drain-timeout-s", str(_DRAIN_S),
)  # fmt: skip


@dataclass
class Fates:
    """Of all calls of the run."""

    begun: int = 0
    whole: int = 0
    lost: int = 0
    """The far end, or the network between, ended it."""
    mute: int = 0
    """No audio in its last second."""
    unreachable: int = 0
    """Its signaling didn't find its instance."""
    not_begun: int = 0
    """It was not let in, or did not connect."""
    restarts: int = 0
    unclean: int = 0
    """Instances whose exit code was not 0."""
    longest_drain_s: float = 0.0

    @property
    def dropped(self) -> int:
        return self.lost + self.mute + self.unreachable


async def measure(report: Report) -> None:
    """One restart of each; in a smoke run of one."""
    if reason := missing():
        print(f"  not measured: {reason}")
        report.bars += _bars(None)
        return
    fates = Fates()
    with tempfile.TemporaryDirectory(prefix="voicecore-rolling-") as folder:
        async with cluster(Path(folder), *_FLAGS) as site, _callers() as (calls, http):
            crowd = Crowd(site, calls, http, fates)
            await crowd.gather()
            for one in list(site.instances.values())[:_RESTARTS]:
                await _restart(one, http, fates)
            await crowd.disperse()
    print(
        f"  {fates.begun} calls, {CALLS} at a time, over {fates.restarts} restarts:"
        f" {fates.whole} ended as they wanted, {fates.lost} were lost, {fates.mute} fell mute,"
        f" {fates.unreachable} could not be reached, {fates.not_begun} did not begin;"
        f" the longest drain {fates.longest_drain_s:.1f} s"
    )
    report.rows.append({"part": "rolling", **asdict(fates)})
    report.bars += _bars(fates)


def _bars(fates: Fates | None) -> list[Bar]:
    name = f"rolling restart of {_RESTARTS} of 3 instances under {CALLS} calls"
    return [
        Bar(f"{name}: dropped", fates and fates.dropped, "", "<=", 0),
        Bar(f"{name}: not let in", fates and fates.not_begun, "", "<=", 0),
        Bar(f"{name}: restarts", fates and fates.restarts - fates.unclean, "", ">=", _RESTARTS),
    ]


@asynccontextmanager
async def _callers() -> AsyncIterator[tuple[Calls, aiohttp.ClientSession]]:
    client = Client(speech(), max_calls=4 * CALLS)
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        ) as http:
            yield Calls(client), http
    finally:
        client.close()


async def _restart(one: Instance, http: aiohttp.ClientSession, fates: Fates) -> None:
    began_s = time.monotonic()
    one.signal(signal.SIGTERM)
    fates.unclean += await one.ended() != 0
    fates.longest_drain_s = max(fates.longest_drain_s, time.monotonic() - began_s)
    one.start()
    await one.ready(http)
    # HAProxy looks every second; the next one mustn't go before this one is back.
    await asyncio.sleep(3)
    fates.restarts += 1
    print(f"  {one.name} is back after {time.monotonic() - began_s:.1f} s", flush=True)


class Crowd:
    """Callers, each of whom calls again as soon as he has hung up."""

    def __init__(
        self, site: Cluster, calls: Calls, http: aiohttp.ClientSession, fates: Fates
    ) -> None:
        self._site, self._calls, self._http, self._fates = site, calls, http, fates
        self._rng = random.Random(_SEED)
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def gather(self) -> None:
        """Let them all call, one after the other."""
        for _ in range(CALLS):
            self._tasks.append(asyncio.create_task(self._caller()))
            await asyncio.sleep(0.1)

    async def disperse(self) -> None:
        """No more calls; those that there are end as they want to."""
        self._over.set()
        await asyncio.gather(*self._tasks)

    async def _caller(self) -> None:
        while not self._over.is_set():
            await self._call(self._rng.uniform(*_LASTS_S))

    async def _call(self, lasts_s: float) -> None:
        fates = self._fates
        caller = Caller(self._calls, self._http, self._site.url, origin(self._rng), lasts_s + 60)
        fates.begun += 1
        try:
            await caller.call()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            print(f"  a call did not begin: {error!r}")
            fates.not_begun += 1
            await caller.hang_up()
            await asyncio.sleep(0.5)
            return
        await asyncio.sleep(lasts_s - 1)
        before = caller.counts.received
        await asyncio.sleep(1)
        if caller.lost:
            fates.lost += 1
        elif caller.counts.received == before:
            fates.mute += 1
        elif not await self._is_reached(caller):
            fates.unreachable += 1
        else:
            fates.whole += 1
        await caller.hang_up()

    async def _is_reached(self, caller: Caller) -> bool:
        url = f"{self._site.url}/api/voice/session/{caller.session_id}"
        async with self._http.get(url, headers=caller.auth) as reply:
            return reply.status == 200
