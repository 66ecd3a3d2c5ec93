"""What it costs that a request comes to another's worker: ``PYTHONPATH=bench python -m workers``.

A service of two workers with stub engines. One connection, so all requests come to one of
them: half are about a call of its own, half about one of its neighbour's. Time is that of
the answer at the client, and CPU of both workers together.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

import aiohttp

from caller.server import Server, running
from report import Report, load

STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub", "--vad", "energy")
ROUNDS, REQUESTS = 9, 200


def cpu_ms(pids: list[int]) -> float:
    """What they have used so far, to the nanosecond (Linux schedstat of each thread)."""
    total_ns = 0
    for pid in pids:
        for task in (Path("/proc") / str(pid) / "task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e6


async def calls(http: aiohttp.ClientSession, server: Server) -> list[dict[str, str]]:
    """One at each worker."""
    opened = []
    for _ in range(2):
        async with http.post(f"{server.url}/api/voice/session") as reply:
            opened.append(await reply.json())
    assert len({call["session_id"].split("-")[1] for call in opened}) == 2
    return opened


async def measure(
    http: aiohttp.ClientSession, server: Server, pids: list[int], call: dict[str, str]
) -> tuple[float, float]:
    """Milliseconds of an answer (median) and of CPU, for each request."""
    url = f"{server.url}/api/voice/session/{call['session_id']}"
    headers = {"Authorization": f"Bearer {call['token']}"}
    took, before_ms = [], cpu_ms(pids)
    for _ in range(REQUESTS):
        began = time.perf_counter()
        async with http.get(url, headers=headers) as reply:
            await reply.read()
            assert reply.status == 200
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took), (cpu_ms(pids) - before_ms) / REQUESTS


async def main() -> None:
    """Measure, print, write ``build/bench/workers.json``."""
    report = Report("workers")
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        running(*STUBS, "--workers", "2", "--overload", "off") as server,
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        pids = list(server.workers().values())
        opened = await calls(http, server)
        rounds = [
            [await measure(http, server, pids, call) for call in opened] for _ in range(ROUNDS)
        ]
        for call in opened:
            url = f"{server.url}/api/voice/session/{call['session_id']}"
            await http.delete(url, headers={"Authorization": f"Bearer {call['token']}"})
    # Whose connection it is can't be seen; the dearer of the two is the neighbour's.
    best = sorted(
        (min(turn[which][1] for turn in rounds), min(turn[which][0] for turn in rounds))
        for which in (0, 1)
    )
    for what, (cpu, answer) in zip(("its own call", "a neighbour's call"), best, strict=True):
        report.rows.append({"about": what, "answer_ms": answer, "cpu_ms": cpu})
        print(f"{what:20} answered in {answer:5.2f} ms, {cpu:5.2f} ms of CPU  ({load()})")
    report.write()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
