"""An hour of calls coming and going, in three minutes: does anything grow, does anything stay?

Fifty calls at any time, each of ten to twenty seconds. Of three callers one
hangs up, one hangs up or, as often, vanishes without a word or is cut off in
the middle of the set-up: a third of all is not ended properly.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from call.subjects import VOICECORE
from caller.server import Usage
from load import figures
from load.caller import origin
from load.crowd import ANSWER_S, EVERY_S
from load.figures import Timed, percentiles
from load.judged import chosen
from load.progress import done, tell, wait
from load.stage import Stage, stage
from load.voices import voices
from report import Bar, Report, load, quick
from stalls import Stalls

_SEED = 17
_SHORTEST_S, _LONGEST_S = 10.0, 20.0
_LOST_AFTER_S = 45.0
"""A caller that vanished is given up by then (ICE consent: six checks of five seconds)."""
_POINTS = (50, 99, 99.9, 100)


@dataclass
class Log:
    """What was seen while the calls came and went."""

    usage: list[tuple[float, Usage]] = field(default_factory=list)
    late: list[Timed] = field(default_factory=list)
    calls: int = 0
    vanished: int = 0
    aborted: int = 0
    missing: int = 0


async def measure(report: Report, calls: int, seconds: float) -> None:
    """Add the bars."""
    rng = random.Random(_SEED)
    log = Log()
    tell("soak: starting the server")
    async with stage(2 * calls, ANSWER_S, VOICECORE, "--answer-timeout-s", "10") as on:
        await on.warm_up(rng)
        before = on.server.usage()
        began_s = time.monotonic()
        watching = asyncio.create_task(_watch(on, log, began_s, seconds))
        places = (_place(on, log, random.Random(rng.random()), i, calls, began_s + seconds)
                  for i in range(calls))  # fmt: skip
        await asyncio.gather(*places)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await _rest(on, before)
        after = on.server.usage()
    _judge(report, on, log, before, after, seconds)


async def _place(
    on: Stage, log: Log, rng: random.Random, index: int, calls: int, until_s: float
) -> None:
    """One of the places at the table: a call after the other."""
    await asyncio.sleep(_SHORTEST_S * index / calls)
    while until_s - time.monotonic() > 4:
        seconds = min(rng.uniform(_SHORTEST_S, _LONGEST_S), until_s - time.monotonic())
        try:
            await _one(on, log, rng, seconds)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            on.note_failure(error)
            await asyncio.sleep(1)


async def _one(on: Stage, log: Log, rng: random.Random, seconds: float) -> None:
    end = rng.choice(("hang up", "hang up", "hang up", "hang up", "vanish", "abort"))
    caller = on.caller(origin(rng), seconds + 5)
    log.calls += 1
    if end == "abort":
        log.aborted += 1
        offer = await caller.open()
        if rng.random() < 0.5:
            await caller.accept(offer)
        await caller.vanish()
        return
    try:
        await caller.call()
    except BaseException:
        await caller.hang_up()
        raise
    start_ns = time.monotonic_ns()
    for turn in range(int(seconds / EVERY_S) + 1):
        at_s = 0.3 + turn * EVERY_S
        caller.say(start_ns + int(at_s * 1e9), rng.randrange(len(voices())))
    await asyncio.sleep(seconds)
    if end == "vanish":
        log.vanished += 1
        await caller.vanish()
    else:
        await caller.hang_up()
    arrivals = caller.arrivals
    log.late.append(figures.lateness(arrivals))
    log.missing += figures.missing(arrivals)


async def _watch(on: Stage, log: Log, began_s: float, seconds: float) -> None:
    while True:
        at_s = time.monotonic() - began_s
        log.usage.append((at_s, on.server.usage()))
        tell(f"soak: {log.calls} calls so far, {max(seconds - at_s, 0):.0f} s more")
        await asyncio.sleep(0.5)


async def _rest(on: Stage, before: Usage) -> None:
    """Wait until what the vanished ones left is given up."""
    until_s = time.monotonic() + (3 if quick() else _LOST_AFTER_S)
    while time.monotonic() < until_s:
        now = on.server.usage()
        if now.threads <= before.threads and now.descriptors <= before.descriptors:
            return
        await wait(1.0, "soak: until the vanished calls are given up")


def _judge(
    report: Report, on: Stage, log: Log, before: Usage, after: Usage, seconds: float
) -> None:
    growth, trend = _growth(log, seconds), _late_trend(log, on.stalls)
    every, good = chosen(log.late, on.stalls)
    left = (after.threads - before.threads, after.descriptors - before.descriptors)
    row = {
        "name": f"soak, {seconds:.0f} s",
        "calls": log.calls,
        "vanished": log.vanished,
        "aborted": log.aborted,
        "failed": on.errors,
        "memory_growth_percent": growth,
        "late_p99_trend_ms": trend,
        "late_ms_p50_p99_p999_max": percentiles(good, *_POINTS),
        "late_ms_with_stalls": percentiles(every, *_POINTS),
        "machine_stalled_s": round(on.stalls.total_s, 2),
        "missing": log.missing,
        "threads_left": left[0],
        "descriptors_left": left[1],
        "memory_mb": [[round(t, 1), round(u.resident_bytes / 2**20, 2)] for t, u in log.usage],
        "load": load(),
    }
    report.rows.append(row)
    done(
        f"soak: {log.calls} calls in {seconds:.0f} s ({log.vanished} vanished, {log.aborted}"
        f" aborted, failed {on.errors or 0}), memory {growth} %, late"
        f" {row['late_ms_p50_p99_p999_max']} ms, its p99 {trend} ms from the middle third to the"
        f" last, missing {log.missing}, left: {left[0]} threads, {left[1]} descriptors;"
        f" machine stood still {on.stalls.total_s:.1f} s; {load()}"
    )
    long_enough = seconds >= 120
    waited = not quick()  # until the vanished ones are given up
    report.bars += [
        Bar("soak: memory of the last two thirds flat within", growth, "%", "<=", 2),
        Bar("soak: threads left", left[0] if waited else None, "", "<=", 0),
        Bar("soak: descriptors left", left[1] if waited else None, "", "<=", 0),
        Bar("soak: late p99 grows by", trend if long_enough else None, "ms", "<=", 5),
    ]


def _growth(log: Log, seconds: float) -> float | None:
    """Of memory, from the middle third to the last (%)."""
    memory = np.array([(t, u.resident_bytes) for t, u in log.usage])
    if len(memory) < 6:
        return None
    middle = memory[(memory[:, 0] >= seconds / 3) & (memory[:, 0] < seconds * 2 / 3), 1]
    last = memory[(memory[:, 0] >= seconds * 2 / 3) & (memory[:, 0] < seconds), 1]
    if not len(middle) or not len(last):
        return None
    return round(100 * abs(float(last.mean() / middle.mean()) - 1), 2)


def _late_trend(log: Log, stalls: Stalls) -> float | None:
    """Of the late p99, from the middle third to the last (ms), judged where the machine ran."""
    # Calls end in the order of time: by thirds of their number.
    third = len(log.late) // 3
    parts = log.late[third : 2 * third], log.late[2 * third :]
    p99 = [percentiles(chosen(part, stalls)[1], 99)[0] for part in parts]
    before, after = p99
    return None if before is None or after is None else round(after - before, 2)
