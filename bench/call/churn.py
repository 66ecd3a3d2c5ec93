"""Fifty calls opened and closed in turn: does anything stay behind?"""

from __future__ import annotations

import asyncio
import re

import aiohttp

from call.subjects import STUBS
from caller.light import LightCaller
from caller.server import Server, running
from caller.speech import silence_payload
from report import Bar, Report, quick

_WARM_UP = 10


async def measure(report: Report) -> None:
    """Add the bars."""
    calls = 10 if quick() else 50
    silence = silence_payload()
    async with running(*STUBS) as server, aiohttp.ClientSession() as http:
        # What is loaded and cached with the first calls is no leak.
        for _ in range(_WARM_UP):
            await _one(server, silence, http)
        before, tasks_before = await _rest(server, http)
        for _ in range(calls):
            await _one(server, silence, http)
        after, tasks_after = await _rest(server, http)
    grown_mb = (after.resident_bytes - before.resident_bytes) / 2**20
    print(
        f"{calls} calls in turn: threads {before.threads} -> {after.threads}, descriptors"
        f" {before.descriptors} -> {after.descriptors}, tasks {tasks_before} -> {tasks_after},"
        f" memory {grown_mb:+.2f} MB"
    )
    report.rows.append({"name": "churn", "calls": calls, "memory_mb": round(grown_mb, 2)})
    left = [
        ("threads", after.threads - before.threads),
        ("descriptors", after.descriptors - before.descriptors),
        ("tasks", tasks_after - tasks_before),
    ]
    report.bars += [Bar(f"50 calls in turn: {what} left", n, "", "<=", 0) for what, n in left]
    report.bars.append(Bar("50 calls in turn: memory growth", grown_mb, "MB", "<=", 5))


async def _one(server: Server, silence: bytes, http: aiohttp.ClientSession) -> None:
    caller = LightCaller(server.url, silence, http)
    await caller.call()
    await asyncio.sleep(0.3)
    await caller.hang_up()


async def _rest(server: Server, http: aiohttp.ClientSession):  # type: ignore[no-untyped-def]
    """Usage when nothing goes on any more, and the event loop's tasks."""
    await asyncio.sleep(2.0)
    async with http.get(f"{server.url}/metrics") as reply:
        text = await reply.text()
    found = re.search(r"^voicecore_event_loop_tasks (\S+)", text, re.MULTILINE)
    return server.usage(), int(float(found.group(1))) if found else -1
