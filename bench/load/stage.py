"""A server, the client's thread and calls between them: what every part of the bench sets up."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from call.subjects import VOICECORE, Subject
from caller.server import Server, running
from cores import SERVER_CORE
from load.caller import Caller, Calls, Origin, origin
from load.native import Client
from load.progress import tell
from load.voices import speech
from report import quick
from stalls import Stalls, watched

SET_UP_HZ = 20.0
"""Calls begun in a second."""
_AT_ONCE = 12
EXTRA_FLAGS = tuple(shlex.split(os.environ.get("SERVER_FLAGS", "")))
"""For voicecore alone, after ours (``SERVER_FLAGS="--overload auto"``)."""


@dataclass
class Stage:
    """What a part works with."""

    server: Server
    calls: Calls
    http: aiohttp.ClientSession
    stalls: Stalls
    failed: int = 0
    """Calls that could not be set up."""
    errors: dict[str, int] = field(default_factory=dict)

    def caller(self, made: Origin, seconds: float) -> Caller:
        """A caller who has not called yet."""
        return Caller(self.calls, self.http, self.server.url, made, seconds)

    async def dial(self, callers: list[Caller], *, per_s: float = SET_UP_HZ) -> list[Caller]:
        """Let all call at a bounded rate; those whose call stands."""
        gate = asyncio.Semaphore(_AT_ONCE)
        done = 0

        async def one(caller: Caller) -> Caller | None:
            nonlocal done
            async with gate:
                try:
                    await caller.call()
                except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                    self.note_failure(error)
                    await caller.hang_up()
                    return None
            done += 1
            tell(f"{done} of {len(callers)} calls stand")
            return caller

        tasks = []
        for caller in callers:
            tasks.append(asyncio.create_task(one(caller)))
            await asyncio.sleep(1 / per_s)
        return [caller for caller in await asyncio.gather(*tasks) if caller is not None]

    def note_failure(self, error: Exception) -> None:
        """Count a call that did not come about."""
        self.failed += 1
        name = getattr(error, "status", None) or type(error).__name__
        self.errors[str(name)] = self.errors.get(str(name), 0) + 1

    async def hang_up(self, callers: list[Caller]) -> None:
        """End calls, some at a time."""
        for i in range(0, len(callers), _AT_ONCE):
            tell(f"hanging up, {len(callers) - i} left")
            await asyncio.gather(*(caller.hang_up() for caller in callers[i : i + _AT_ONCE]))

    async def warm_up(self, rng: random.Random) -> None:
        """What is loaded and cached with the first calls belongs to none."""
        for _ in range(1 if quick() else 3):
            caller = self.caller(origin(rng), 5)
            await caller.call()
            await asyncio.sleep(0.3)
            await caller.hang_up()
        await asyncio.sleep(1.0)


@asynccontextmanager
async def stage(
    calls: int, answer_s: float, subject: Subject = VOICECORE, *flags: str
) -> AsyncIterator[Stage]:
    """A server of ``subject`` that answers for ``answer_s``, and a client for ``calls``."""
    flags = (*subject.answering(answer_s), *flags)
    if subject is VOICECORE:
        # What is measured is what the media costs, not whom a busy machine refuses.
        flags = (*flags, "--overload", "off", "--max-calls", str(calls + 50), *EXTRA_FLAGS)
    client = Client(speech(), max_calls=calls + 50)
    gc.freeze()
    try:
        with watched() as stalls:
            async with (
                running(*flags, module=subject.module, core=SERVER_CORE) as server,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            ):
                yield Stage(server, Calls(client), http, stalls)
    finally:
        client.close()


def _core_busy_s(core: int) -> float:
    """Seconds in which a core was not idle so far, whoever used it (stolen ones too)."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            idle = int(ticks[3]) + int(ticks[4])
            return (sum(map(int, ticks[:8])) - idle) / os.sysconf("SC_CLK_TCK")
    return 0.0


@dataclass
class Meter:
    """CPU of server and client from its making to :meth:`read`."""

    server: Server
    client: Client
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self.began_s = self.clock()
        self._server_s = self.server.usage().cpu_s
        self._busy_s = _core_busy_s(SERVER_CORE)
        self._thread_s = self.client.cpu_s()
        self._own_s = own_cpu_s()

    def others_share(self) -> float:
        """How much of the server's core others took since: what is measured then is theirs too."""
        elapsed_s, server_s, _, _ = self.read()
        busy_s = _core_busy_s(SERVER_CORE) - self._busy_s
        return max(busy_s - server_s, 0.0) / elapsed_s

    def read(self) -> tuple[float, float, float, float]:
        """Seconds: elapsed; CPU of the server, of the client's thread, of the whole client."""
        return (
            self.clock() - self.began_s,
            self.server.usage().cpu_s - self._server_s,
            self.client.cpu_s() - self._thread_s,
            own_cpu_s() - self._own_s,
        )


def own_cpu_s() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
