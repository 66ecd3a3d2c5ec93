"""Real calls on this machine: voice to voice with the embedded engines, and what a flush leaves.

The server runs in a process of its own, the caller is the load bench's native client with
recorded speech. When the server decided is read off its own recording of the call; both
processes read the same monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from pathlib import Path

import aiohttp
import numpy as np

from call.subjects import ADMITTING
from caller.server import running
from load import figures
from load.barge_in import schedule
from load.caller import Caller, Calls, origin
from load.figures import LOUD, Timed
from load.judged import chosen
from load.native import Client
from load.progress import done, wait
from load.stage import stage
from load.voices import speech, voices
from report import Bar, Report, load
from stalls import Stalls, watched
from turns.corpus import Corpus
from voicecore.core import actions as act
from voicecore.replay.__main__ import main as replay
from voicecore.replay.recording_file import read_recording

_SEED = 23
_TURNS = 16
_ANSWER_S = 6.0
_INTERRUPT_S = 90.0
_CONSENT = "a bench's own voices"
_STAGED = ("--endpoint", "adaptive", "--bargein-policy", "staged")
_NEXT_ANSWER_NS = 100_000_000
"""A pause so long parts the answer that was cut from the next one."""


def measure(report: Report, corpus: Corpus) -> None:
    """Bars of real calls."""
    asyncio.run(_voice_to_voice(report, 2 if corpus.quick else _TURNS))
    seconds = 12.0 if corpus.quick else _INTERRUPT_S
    for policy in ("immediate", "staged"):
        asyncio.run(_flushes(report, policy, seconds))


# -- voice to voice ------------------------------------------------------------------------


async def _voice_to_voice(report: Report, turns: int) -> None:
    """The embedded engines: end of speech to the first packet of the answer, endpoint included."""
    rng = random.Random(_SEED)
    client = Client(speech(), max_calls=1)
    try:
        with watched() as stalls:
            async with running("--greeting", "Hello.") as server, aiohttp.ClientSession() as http:
                caller = Caller(Calls(client), http, server.url, origin(rng), turns * 16 + 30)
                await caller.call()
                latency = await _talk(caller, turns, rng)
                await caller.hang_up()
    finally:
        client.close()
    every, good = chosen([latency], stalls)
    points = figures.percentiles(good, 50, 90)
    done(f"voice to voice, embedded engines: p50/p90 {points} ms, {len(every)} of {turns} answered")
    report.rows.append(
        {
            "part": "real call, embedded engines",
            "turns": turns,
            "answered": len(every),
            "judged": len(good),
            "voice_to_voice_ms_p50_p90": points,
            "load": load(),
        }
    )
    report.bars.append(
        Bar("voice to voice, embedded engines, real call: median", points[0], "ms", "<=", 700)
    )


async def _talk(caller: Caller, turns: int, rng: random.Random) -> Timed:
    await _answer(caller, 0)
    for _ in range(turns):
        heard = len(_answers(caller))
        caller.say(0, rng.randrange(len(voices())))
        await _answer(caller, heard)
        await asyncio.sleep(rng.uniform(0.4, 1.0))
    return figures.latencies(caller.said, caller.arrivals, caller.levels(), silence_ms=0.0)


def _answers(caller: Caller) -> list[dict[str, object]]:
    events = [json.loads(text) for text in caller.texts]
    return [event for event in events if event["type"] == "agent_done"]


async def _answer(caller: Caller, before: int) -> None:
    """Until one more answer was heard; a voice that was not understood has none."""
    for _ in range(120):
        if len(_answers(caller)) > before:
            return
        await asyncio.sleep(0.1)


# -- flushes ---------------------------------------------------------------------------------


async def _flushes(report: Report, policy: str, seconds: float) -> None:
    """Interruptions: from the server's decision to the last packet with the agent's voice."""
    rng = random.Random(_SEED)
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--record-dir", folder, "--record-consent", _CONSENT)
        if policy == "staged":
            flags += _STAGED
        async with stage(1, _ANSWER_S, ADMITTING, *flags) as on:
            caller = on.caller(origin(rng), seconds + 20)
            await caller.call()
            schedule([caller], seconds, rng)
            await wait(seconds, f"one caller interrupts, {policy}")
            await caller.hang_up()
            await asyncio.sleep(1.0)
            decided_ns = _decisions(Path(folder))
            _judge(report, policy, decided_ns, caller, on.stalls)
            _replay(report, policy, Path(folder))


def _decisions(folder: Path) -> list[int]:
    """When the session of the only call recorded there cut an answer that was being heard."""
    with max(folder.glob("*.vcrec")).open("rb") as file:
        steps = read_recording(file).steps
    return [
        step.now_ns
        for step in steps
        if any(isinstance(action, act.RecordBargeIn) for action in step.actions or ())
    ]


def _replay(report: Report, policy: str, folder: Path) -> None:
    """The call's recording through the same core, twice."""
    done(f"{policy}: replaying the call")
    same = replay([str(max(folder.glob("*.vcrec"))), "--twice"]) == 0
    name = f"recorded call replays to the identical decisions, twice, {policy}"
    report.bars.append(Bar(name, float(same), "", ">=", 1))


def _judge(
    report: Report, policy: str, decided_ns: list[int], caller: Caller, stalls: Stalls
) -> None:
    loud_ns = np.sort(caller.arrivals["at_ns"][caller.levels() > LOUD])
    spans = []
    for at_ns in decided_ns:
        after = loud_ns[loud_ns >= at_ns]
        steps = np.diff(after, prepend=at_ns) < _NEXT_ANSWER_NS
        stale = after[: int(np.argmin(steps)) if not steps.all() else len(after)]
        spans.append((at_ns, int(stale[-1]) if len(stale) else at_ns))
    found = np.array(spans, np.int64).reshape(-1, 2)
    timed = Timed((found[:, 1] - found[:, 0]) / 1e6, found[:, 0], found[:, 1])
    every, good = chosen([timed], stalls)
    barge = figures.barge_ins(caller.said, caller.arrivals, caller.levels())
    _, barge_good = chosen([barge], stalls)
    p99 = figures.percentiles(good, 99)[0]
    stop = figures.percentiles(barge_good, 50, 95)
    done(
        f"{policy}: {len(every)} interruptions, decision to last stale packet p99 {p99} ms;"
        f" first sample to last packet p50/p95 {stop} ms"
    )
    report.rows.append(
        {
            "part": "real call, interruptions",
            "policy": policy,
            "interruptions": len(every),
            "judged": len(good),
            "stale_ms_p50_p99": figures.percentiles(good, 50, 99),
            "stop_ms_p50_p95": stop,
            "load": load(),
        }
    )
    name = f"decision to last stale packet, real call, {policy}: p99"
    report.bars.append(Bar(name, p99, "ms", "<=", 25))
