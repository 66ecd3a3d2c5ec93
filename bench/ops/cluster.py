"""Three instances of the service that share a Redis, behind HAProxy: all real, on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from caller.server import free_port, stop
from ops import haproxy_process, redis_process
from ops.haproxy_process import HAProxyProcess
from ops.redis_process import RedisProcess

NAMES = ("a", "b", "c")
_STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub", "--vad", "energy")
_PATIENCE_S = 120.0


def missing() -> str:
    """What has to be installed first; empty if nothing."""
    for part in (redis_process, haproxy_process):
        if not part.available():
            return part.MISSING
    return ""


class Instance:
    """One service process."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.port = name, free_port()
        self.flags: tuple[str, ...] = ()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.stays = False
        """It runs, and nobody has told it to end."""
        self._log = folder / f"{name}.log"

    def start(self) -> None:
        """Begin; :meth:`ready` waits."""
        command = [sys.executable, "-m", "voicecore.service", "--port", str(self.port)]
        self.stays = True
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *_STUBS, "--overload", "off", "--instance", self.name, *self.flags],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def ready(self, http: aiohttp.ClientSession) -> None:
        """Until it takes calls, and the directory gives it places."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline_s:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {self.log()[-2000:]}")
            try:
                if (await self.readiness(http)).get("directory", {}).get("state") == "up":
                    return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{self.name} was not ready in time: {self.log()[-2000:]}")

    async def readiness(self, http: aiohttp.ClientSession) -> dict[str, Any]:
        """What ``/readyz`` says."""
        async with http.get(f"{self.url}/readyz") as reply:
            told: dict[str, Any] = json.loads(await reply.read())
            return told

    def signal(self, number: signal.Signals) -> None:
        """To its process, which ends of it."""
        assert self.process is not None
        self.stays = False
        os.kill(self.process.pid, number)

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait, _PATIENCE_S)

    @property
    def lives(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    async def end(self) -> None:
        """Now; twice is fine."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            await stop(self.process)
            self.process = None

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Cluster:
    """The parts, to be killed and started again."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.redis = RedisProcess(folder)
        self.instances = {name: Instance(name, folder) for name in NAMES}
        addresses = {name: f"127.0.0.1:{one.port}" for name, one in self.instances.items()}
        self.haproxy = HAProxyProcess(folder, addresses)
        self.url = self.haproxy.url
        for name in NAMES:
            self.instances[name].flags = (
                "--redis-url", self.redis.url,
                "--advertise-url", f"{self.url}/at/{name}",
                "--trusted-proxies", "127.0.0.1/32",
                *flags,
            )  # fmt: skip

    async def start(self, http: aiohttp.ClientSession) -> None:
        """All of it; returns when each instance takes calls and HAProxy knows it."""
        self.redis.start()
        for one in self.instances.values():
            one.start()
        await asyncio.gather(*(one.ready(http) for one in self.instances.values()))
        # Not before: it would have to find out that they are there.
        self.haproxy.start()

    async def mend(self, http: aiohttp.ClientSession, count: int = len(NAMES)) -> None:
        """Where fewer than ``count`` instances stay, all are there again."""
        away = [one for one in self.instances.values() if not one.stays]
        if len(NAMES) - len(away) >= count:
            return
        for one in away:
            await one.end()
            one.start()
        await asyncio.gather(*(one.ready(http) for one in away))

    async def end(self) -> None:
        """Whatever still runs."""
        self.haproxy.end()
        await asyncio.gather(*(one.end() for one in self.instances.values()))
        self.redis.kill()


@asynccontextmanager
async def cluster(folder: Path, *flags: str) -> AsyncIterator[Cluster]:
    """A running one; ended in any case. ``flags`` go to each instance."""
    one = Cluster(folder, *flags)
    try:
        async with aiohttp.ClientSession() as http:
            await one.start(http)
        yield one
    finally:
        await one.end()
