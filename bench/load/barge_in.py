"""Calls whose callers speak into long answers: how soon is the agent silent?"""

from __future__ import annotations

import random
import time

from call.subjects import VOICECORE
from load import figures
from load.caller import Caller, origin
from load.crowd import SILENCE_MS
from load.figures import percentiles
from load.judged import chosen
from load.progress import done, tell, wait
from load.stage import Meter, stage
from load.voices import voices
from report import Bar, Report, load

_ANSWER_S = 8.0
_INTO_S = 1.2
"""So long after the answer's beginning the caller speaks again."""
_SEED = 9


async def measure(report: Report, calls: int, seconds: float) -> None:
    """Add the bar."""
    rng = random.Random(_SEED)
    tell("barge-in: starting the server")
    async with stage(calls, _ANSWER_S, VOICECORE) as on:
        await on.warm_up(rng)
        stood = await on.dial([on.caller(origin(rng), seconds + 20) for _ in range(calls)])
        schedule(stood, seconds, rng)
        meter = Meter(on.server, on.calls.client, time.monotonic)
        await wait(seconds, f"{len(stood)} calls interrupt the agent")
        others = meter.others_share()
        await on.hang_up(stood)
    samples, asked = [], 0
    for caller in stood:
        level = caller.levels()
        samples.append(figures.barge_ins(caller.said, caller.arrivals, level))
        asked += max(int((caller.said["last_ns"] > 0).sum()) - 1, 0)
    every, good = chosen(samples, on.stalls)
    points = percentiles(good, 50, 95, 99, 100)
    report.rows.append(
        {
            "name": f"barge-in, {calls} calls",
            "interruptions": asked,
            "measured": len(every),
            "judged": len(good),
            "barge_in_ms_p50_p95_p99_max": points,
            "with_stalls": percentiles(every, 50, 95, 99, 100),
            "others_share": round(others, 3),
            "load": load(),
        }
    )
    report.bars.append(Bar(f"barge-in at {calls} calls, median", points[0], "ms", "<=", 150))
    done(
        f"barge-in, {calls} calls: p50/95/99/max {points} ms, {len(every)} of {asked}"
        f" interruptions; others took {others:.0%} of the server's core; {load()}"
    )


def schedule(stood: list[Caller], seconds: float, rng: random.Random) -> None:
    """Speak, wait for the answer and for ``_INTO_S`` of it, speak into it, and so on."""
    start_ns = time.monotonic_ns()
    for caller in stood:
        at_s = 0.2 + rng.random()
        while at_s < seconds - 4:
            voice = rng.randrange(len(voices()))
            caller.say(start_ns + int(at_s * 1e9), voice)
            pause_s = SILENCE_MS / 1000 + _INTO_S + rng.random() * 0.1
            at_s += voices()[voice].duration_s + pause_s
