"""Callers that are not ours among ours: stock aiortc and Chromium, answered in a crowd?"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
import traceback
from pathlib import Path

from call.subjects import VOICECORE
from caller.chromium import PROGRAM
from caller.speech import recordings
from load import chromium
from load.caller import origin
from load.crowd import ANSWER_S, EVERY_S, SILENCE_MS, median
from load.progress import done, tell, wait
from load.stage import Stage, stage
from load.stock import StockCaller
from load.voices import voices
from report import Bar, Report, load

_STOCK = 3
_SEED = 23


async def measure(report: Report, calls: int, seconds: float) -> None:
    """Add the bars."""
    rng = random.Random(_SEED)
    tell("mixed callers: starting the server")
    async with stage(calls + _STOCK + 1, ANSWER_S, VOICECORE) as on:
        await on.warm_up(rng)
        ours = await on.dial([on.caller(origin(rng), seconds * 2 + 60) for _ in range(calls)])
        start_ns = time.monotonic_ns()
        for i, caller in enumerate(ours):
            for turn in range(int(seconds * 2 / EVERY_S)):
                at_s = EVERY_S * (i / len(ours) + turn)
                caller.say(start_ns + int(at_s * 1e9), rng.randrange(len(voices())))
        latencies = await _stock(on, seconds)
        browser = await _chromium(on, seconds)
        await on.hang_up(ours)
    answered = sum(bool(each) for each in latencies)
    every = [ms - SILENCE_MS for each in latencies for ms in each]
    report.rows.append(
        {
            "name": f"stock aiortc and Chromium among {calls} calls",
            "stock_aiortc_calls": _STOCK,
            "stock_aiortc_answered": answered,
            "stock_aiortc_latency_ms_with_its_jitter_buffer": [round(ms, 1) for ms in every],
            "chromium_answers": browser,
            "load": load(),
        }
    )
    middle = median(every)
    done(
        f"among {calls} calls: stock aiortc {answered} of {_STOCK} answered, latency"
        f" {'-' if middle is None else round(middle)} ms with its own jitter buffer; Chromium"
        f" {'not measured' if browser is None else f'heard {browser} answers'}; {load()}"
    )
    report.bars += [
        Bar("stock aiortc callers answered", answered, "", ">=", _STOCK),
        Bar("answers heard by Chromium", browser, "", ">=", 1),
    ]


async def _stock(on: Stage, seconds: float) -> list[list[float]]:
    voices_pcm = [pcm for _, pcm in recordings(_STOCK)]
    callers = [
        StockCaller(on.http, on.server.url, voices_pcm[i % len(voices_pcm)], EVERY_S)
        for i in range(_STOCK)
    ]
    try:
        for caller in callers:
            await caller.call()
        await wait(seconds, "stock aiortc speaks")
        return [caller.answers_ms() for caller in callers]
    finally:
        await asyncio.gather(*(caller.hang_up() for caller in callers))


async def _chromium(on: Stage, seconds: float) -> int | None:
    if PROGRAM is None:
        return None
    tell("Chromium calls")
    with tempfile.TemporaryDirectory() as folder:
        try:
            pcm = recordings(1)[0][1]
            return await chromium.answers(on.server.url, pcm, EVERY_S, seconds, Path(folder))
        except Exception:  # whatever the browser has: the other figures are there
            traceback.print_exc()
            return None
