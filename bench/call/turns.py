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

from call.subjects import PLAIN_AIORTC, VOICECORE, Subject
from caller.light import LightCaller, Spoken, loud_packets
from caller.server import running
from caller.speech import FRAME_SAMPLES, Utterance, encode, recordings, silence_payload
from cores import SERVER_CORE
from report import Bar, Report, quick
from stalls import Stalls, watched

SILENCE_MS = 480
SEED = 7
_ANSWER_S = 6.0
_MARGIN_NS = 100_000_000
_REPLY_S = 1.2
"""Agent's tone before the caller speaks again."""


_LEAST_UNDISTURBED = 8
"""With fewer samples than this free of the machine's stalls, all of them count."""

Sample = tuple[float, bool]
"""Milliseconds, and whether the machine stood still meanwhile."""


@dataclass(frozen=True)
class Figures:
    """A sample for each utterance."""

    latency: list[Sample]
    barge_in: list[Sample]


async def measure(report: Report) -> None:
    """Add the two bars."""
    latency_ms, barge_in_ms = await _turns(report, VOICECORE, 12 if quick() else 48)
    if not quick():
        await _turns(report, PLAIN_AIORTC, 16)
    report.bars += [
        Bar("framework latency, median", latency_ms, "ms", "<=", 40),
        Bar("barge-in, median", barge_in_ms, "ms", "<=", 160),
    ]


async def _turns(
    report: Report, subject: Subject, utterances: int
) -> tuple[float | None, float | None]:
    """Medians in ms of latency and barge-in."""
    figures = await _call(subject, utterances)
    latency_ms, barge_in_ms = _chosen(figures.latency), _chosen(figures.barge_in)
    print(f"{subject.name}: latency  {_spread(latency_ms)}, of {len(figures.latency)}")
    print(f"{subject.name}: barge-in {_spread(barge_in_ms)}, of {len(figures.barge_in)}")
    report.rows.append(
        {
            "name": f"turns, {subject.name}",
            "seed": SEED,
            "latency_ms_and_disturbed": figures.latency,
            "barge_in_ms_and_disturbed": figures.barge_in,
        }
    )
    return _median(latency_ms), _median(barge_in_ms)


async def _call(subject: Subject, utterances: int) -> Figures:
    rng = random.Random(SEED)
    voices = recordings()
    said = []
    for i in range(utterances):
        name, pcm = voices[i % len(voices)]
        said.append(encode(name, pcm, shift=rng.randrange(FRAME_SAMPLES)))
    with watched() as stalls:
        caller = await _talk(subject, said, rng)
    return _figures(caller.spoken, caller, stalls)


async def _talk(subject: Subject, said: list[Utterance], rng: random.Random) -> LightCaller:
    flags = subject.answering(_ANSWER_S)
    async with (
        running(*flags, module=subject.module, core=SERVER_CORE) as server,
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
    return caller


def _figures(spoken: list[Spoken], caller: LightCaller, stalls: Stalls) -> Figures:
    loud = loud_packets(caller.arrivals)
    latency: list[Sample] = []
    barge_in: list[Sample] = []
    for i, note in enumerate(spoken):
        until = spoken[i + 1].first_ns if i + 1 < len(spoken) else note.last_ns + 10**10
        during = [a.at_ns for a in loud if note.first_ns <= a.at_ns < note.last_ns]
        after = [a.at_ns for a in loud if note.last_ns <= a.at_ns < until]
        if i and during:
            disturbed = stalls.touch(note.first_ns - _MARGIN_NS, during[-1])
            barge_in.append(((during[-1] - note.first_ns) / 1e6, disturbed))
        if after:
            disturbed = stalls.touch(note.last_ns - _MARGIN_NS, after[0])
            latency.append(((after[0] - note.last_ns) / 1e6 - SILENCE_MS, disturbed))
    return Figures(latency, barge_in)


def _chosen(samples: list[Sample]) -> list[float]:
    undisturbed = [ms for ms, disturbed in samples if not disturbed]
    enough = len(undisturbed) >= _LEAST_UNDISTURBED
    return undisturbed if enough else [ms for ms, _ in samples]


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
