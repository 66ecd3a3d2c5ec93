"""One caller, stub engines: framework latency and barge-in.

The caller speaks, the agent answers with six seconds of tone, the caller
speaks into it, and so on: every utterance gives one latency and, but for the
first, one barge-in.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from dataclasses import dataclass

import aiohttp

from caller.light import LightCaller, Spoken, loud_packets
from caller.server import running
from caller.speech import FRAME_SAMPLES, encode, recordings, silence_payload
from cores import SERVER_CORE
from report import Bar, Report, quick

SILENCE_MS = 480
SEED = 7
_STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub", "--stub-tts-seconds", "6")
_REPLY_S = 1.2
"""Agent's tone before the caller speaks again."""


@dataclass(frozen=True)
class Figures:
    """Milliseconds of each utterance."""

    latency_ms: list[float]
    barge_in_ms: list[float]


async def measure(report: Report) -> None:
    """Add the two bars."""
    figures = await _call(12 if quick() else 48)
    print(f"latency  {_spread(figures.latency_ms)}")
    print(f"barge-in {_spread(figures.barge_in_ms)}")
    report.rows.append({"name": "turns", "latency_ms": figures.latency_ms,
                        "barge_in_ms": figures.barge_in_ms, "seed": SEED})  # fmt: skip
    report.bars += [
        Bar("framework latency, median", _median(figures.latency_ms), "ms", "<=", 40),
        Bar("barge-in, median", _median(figures.barge_in_ms), "ms", "<=", 160),
    ]


async def _call(utterances: int) -> Figures:
    rng = random.Random(SEED)
    voices = recordings()
    said = []
    for i in range(utterances):
        name, pcm = voices[i % len(voices)]
        said.append(encode(name, pcm, shift=rng.randrange(FRAME_SAMPLES)))
    async with (
        running(*_STUBS, core=SERVER_CORE) as server,
        aiohttp.ClientSession() as http,
    ):
        caller = LightCaller(server.url, silence_payload(), http)
        await caller.call()
        await asyncio.sleep(1.0)
        for utterance in said:
            caller.say(utterance)
            pause_s = SILENCE_MS / 1000 + _REPLY_S + rng.random() * 0.1
            await asyncio.sleep(utterance.duration_s + pause_s)
        await caller.hang_up()
    return _figures(caller.spoken, caller)


def _figures(spoken: list[Spoken], caller: LightCaller) -> Figures:
    loud = loud_packets(caller.arrivals)
    latency, barge_in = [], []
    for i, note in enumerate(spoken):
        until = spoken[i + 1].first_ns if i + 1 < len(spoken) else note.last_ns + 10**10
        during = [a.at_ns for a in loud if note.first_ns <= a.at_ns < note.last_ns]
        after = [a.at_ns for a in loud if note.last_ns <= a.at_ns < until]
        if i and during:
            barge_in.append((during[-1] - note.first_ns) / 1e6)
        if after:
            latency.append((after[0] - note.last_ns) / 1e6 - SILENCE_MS)
    return Figures(latency, barge_in)


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 2) if values else None


def _spread(values: list[float]) -> str:
    if not values:
        return "nothing measured"
    ranked = sorted(values)
    return (
        f"n {len(ranked)}  min {ranked[0]:.0f}  median {statistics.median(ranked):.0f}"
        f"  p95 {ranked[int(len(ranked) * 0.95)]:.0f}  max {ranked[-1]:.0f} ms"
    )
