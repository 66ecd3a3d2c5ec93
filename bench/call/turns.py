"""One caller, stub engines: framework latency and barge-in.

The caller speaks, the agent answers with six seconds of tone, the caller
speaks into it, and so on: every utterance gives one latency and, but for the
first, one barge-in. By the load tool's client, so that the figures of one call
and of many are measured alike.
"""

from __future__ import annotations

import random

from call.subjects import ADMITTING, PLAIN_AIORTC, Subject
from load import figures
from load.barge_in import schedule
from load.caller import origin
from load.crowd import SILENCE_MS
from load.figures import Timed, percentiles
from load.judged import chosen
from load.progress import done, tell, wait
from load.stage import stage
from report import Bar, Report, load, quick
from stalls import Stalls

_SEED = 7
_ANSWER_S = 6.0
_POINTS = (50, 95, 100)


async def measure(report: Report) -> None:
    """Add the two bars."""
    latency_ms, barge_in_ms = await _turns(report, ADMITTING, 40 if quick() else 160)
    if not quick():
        await _turns(report, PLAIN_AIORTC, 55)
    report.bars += [
        Bar("framework latency, median", latency_ms, "ms", "<=", 40),
        Bar("barge-in, median", barge_in_ms, "ms", "<=", 160),
    ]


async def _turns(
    report: Report, subject: Subject, seconds: float
) -> tuple[float | None, float | None]:
    """Medians in ms of latency and barge-in."""
    latency, barge_in, stalls = await _call(subject, seconds)
    row: dict[str, object] = {"name": f"turns, {subject.name}", "seed": _SEED, "load": load()}
    medians = []
    for name, timed in (("latency", latency), ("barge_in", barge_in)):
        every, good = chosen([timed], stalls)
        points = percentiles(good, *_POINTS)
        row[f"{name}_ms_p50_p95_max"] = points
        row[f"{name}_measured"], row[f"{name}_judged"] = len(every), len(good)
        done(f"{subject.name}: {name} p50/95/max {points} ms, {len(good)} of {len(every)}")
        medians.append(points[0])
    report.rows.append(row)
    return medians[0], medians[1]


async def _call(subject: Subject, seconds: float) -> tuple[Timed, Timed, Stalls]:
    rng = random.Random(_SEED)
    tell(f"turns: starting {subject.name}")
    async with stage(1, _ANSWER_S, subject) as on:
        await on.warm_up(rng)
        caller = on.caller(origin(rng), seconds + 20)
        await caller.call()
        schedule([caller], seconds, rng)
        await wait(seconds, f"one caller and {subject.name} interrupt each other")
        await caller.hang_up()
    level = caller.levels()
    latency = figures.latencies(caller.said, caller.arrivals, level, silence_ms=SILENCE_MS)
    return latency, figures.barge_ins(caller.said, caller.arrivals, level), on.stalls
