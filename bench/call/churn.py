"""Fifty calls opened and closed in turn: does anything stay behind?"""

from __future__ import annotations

import asyncio
import random
import re

from call.subjects import ADMITTING
from caller.server import Usage
from load.caller import origin
from load.stage import Stage, stage
from report import Bar, Report, quick

_WARM_UP = 10
_SEED = 3


async def measure(report: Report) -> None:
    """Add the bars."""
    calls = 10 if quick() else 50
    rng = random.Random(_SEED)
    async with stage(1, 1.0, ADMITTING) as on:
        # What is loaded and cached with the first calls is no leak.
        for _ in range(_WARM_UP):
            await _one(on, rng)
        before, tasks_before = await _rest(on)
        for _ in range(calls):
            await _one(on, rng)
        after, tasks_after = await _rest(on)
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


async def _one(on: Stage, rng: random.Random) -> None:
    caller = on.caller(origin(rng), 5)
    await caller.call()
    await asyncio.sleep(0.3)
    await caller.hang_up()


async def _rest(on: Stage) -> tuple[Usage, int]:
    """Usage when nothing goes on any more, and the event loop's tasks."""
    await asyncio.sleep(2.0)
    async with on.http.get(f"{on.server.url}/metrics") as reply:
        text = await reply.text()
    found = re.search(r"^voicecore_event_loop_tasks (\S+)", text, re.MULTILINE)
    return on.server.usage(), int(float(found.group(1))) if found else -1
