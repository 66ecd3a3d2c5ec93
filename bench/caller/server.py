"""A voicecore server, or a peer of it, in a process of its own: pinned, watched from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

_START_TIMEOUT_S = 150.0


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Usage:
    """What a process holds: CPU seconds, threads, descriptors, resident bytes."""

    cpu_s: float
    threads: int
    descriptors: int
    resident_bytes: int


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]

    def usage(self) -> Usage:
        """What it uses now (Linux /proc), its workers included (``--workers``)."""
        used = [_usage_of(pid) for pid in (self.process.pid, *self.workers().values())]
        return Usage(
            cpu_s=sum(one.cpu_s for one in used),
            threads=sum(one.threads for one in used),
            descriptors=sum(one.descriptors for one in used),
            resident_bytes=sum(one.resident_bytes for one in used),
        )

    def workers(self) -> dict[int, int]:
        """The process id of each worker by its index; none where the service is one process."""
        found = {}
        for task in (Path("/proc") / str(self.process.pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                index = _worker_index(int(child))
                if index is not None:
                    found[index] = int(child)
        return found


def _usage_of(pid: int) -> Usage:
    root = Path("/proc") / str(pid)
    fields = (root / "stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    pages = int((root / "statm").read_text().split()[1])
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / ticks,
        threads=len(list((root / "task").iterdir())),
        descriptors=len(list((root / "fd").iterdir())),
        resident_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
    )


def _worker_index(pid: int) -> int | None:
    try:
        variables = (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None  # it has ended meanwhile
    for variable in variables:
        if variable.startswith(b"VOICECORE_WORKER="):
            return int(variable.partition(b"=")[2])
    return None


@asynccontextmanager
async def running(
    *flags: str,
    core: int | None = None,
    log: Path | None = None,
    module: str = "voicecore.service",
    port: int = 0,
) -> AsyncIterator[Server]:
    """``python -m module`` with ``flags``, ready (all its workers), on ``core``; then stopped."""
    port = port or free_port()
    command = [sys.executable, "-m", module, "--port", str(port), *flags]
    output = log.open("wb") if log else subprocess.DEVNULL
    process = subprocess.Popen(  # noqa: ASYNC220 -- starting takes a millisecond
        command, stdout=output, stderr=subprocess.STDOUT
    )
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    url = f"http://127.0.0.1:{port}"
    try:
        await _ready(url, process)
        yield Server(url, process)
    finally:
        await stop(process)
        if log:
            output.close()  # type: ignore[union-attr]


async def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, and see to it."""
    # SIGTERM would let calls go on for a while.
    process.send_signal(signal.SIGINT)
    try:
        await asyncio.to_thread(process.wait, 10)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)


async def _all_ready(reply: aiohttp.ClientResponse) -> bool:
    """Whether no worker is missing, where there are workers; a peer says nothing of that."""
    told = await reply.json() if reply.content_type == "application/json" else {}
    return all(worker["state"] == "ready" for worker in told.get("workers", []))


async def _ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with status {process.returncode}")
            try:
                async with http.get(f"{url}/readyz") as reply:
                    if reply.status == 200 and await _all_ready(reply):
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)
    raise TimeoutError("the server was not ready in time")
