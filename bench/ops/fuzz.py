"""100,000 damaged offers, answers, candidates and bodies, while somebody is on the phone.

They come over a few connections that are kept, from a process of its own, to a real
service. Beside them one call of stock aiortc's goes on: it speaks, is answered, speaks
again. What must not be: an answer of 500, a traceback in the log, memory that grows, a
word of that call lost. ``VOICECORE_SEED`` repeats a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from caller.server import Server, running
from e2e.aiortc_caller import AiortcCaller
from e2e.spoken import counter, media, remark
from report import Bar, Report, load, quick

INPUTS, QUICK_INPUTS = 100_000, 2000
FLAGS = (
    "--stt", "stub", "--llm", "stub", "--tts", "stub", "--stub-tts-seconds", "1",
    "--overload", "off", "--max-calls", "60", "--answer-timeout-s", "20",
    "--idle-prompt-s", "0", "--idle-goodbye-s", "0",
)  # fmt: skip
_WARM_SHARE = 0.3
_GROWTH_MB = 8.0
"""Of what is measured; the allocator's own steps are of some megabytes."""


@dataclass
class Talk:
    """The parallel call."""

    turns: int = 0
    failed: str = ""
    missing: int = 0
    """Packets of the agent's that never came."""
    longest_gap_ms: float = 0.0
    """Between two packets of the agent's voice, at the caller."""
    lost_there: float = 0.0
    """Packets of the caller's that the server missed."""
    late_share: float = 0.0
    """Of the server's 20 ms slots of sending: begun over 20 ms late."""
    quiet_late_share: float = 0.0
    """The same before the first input: what the machine is like."""


@dataclass
class Run:
    """One run over one service."""

    result: dict[str, Any] = field(default_factory=dict)
    resident_mb: list[tuple[int, float]] = field(default_factory=list)
    """Inputs sent, and the server's resident memory then."""
    descriptors: tuple[int, int] = (0, 0)
    talk: Talk = field(default_factory=Talk)
    tracebacks: int = 0
    log_lines: int = 0
    alive: bool = True

    @property
    def growth_mb(self) -> float:
        """Of a line through the memory behind the warm-up, from its beginning to its end."""
        last = self.resident_mb[-1][0]
        behind = [one for one in self.resident_mb if one[0] >= _WARM_SHARE * last]
        if len(behind) < 3:
            return 0.0
        sent, resident = np.array(behind, dtype=np.float64).T
        slope = np.polyfit(sent, resident, 1)[0]
        return float(slope * (sent[-1] - sent[0]))


async def measure(report: Report) -> None:
    """The part of ``make bench-ops``."""
    chosen = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    wanted = int(os.environ.get("FUZZ_INPUTS") or (QUICK_INPUTS if quick() else INPUTS))
    print(f"  VOICECORE_SEED={chosen}")
    with tempfile.TemporaryDirectory() as folder:
        run = await examine(wanted, chosen, Path(folder) / "service.log")
    _tell(report, run, wanted, chosen)


async def examine(wanted: int, chosen: int, log: Path) -> Run:
    """Send ``wanted`` inputs to a service of its own."""
    run = Run()
    async with (
        running(*FLAGS, log=log) as server,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        async with _talking(http, server, run.talk), AsyncExitStack() as stack:
            target = await stack.enter_async_context(_target(http, server, log.with_name("target")))
            before = server.usage().descriptors
            async for result in _sending(server, chosen, wanted, target):
                run.result = result
                usage = server.usage()
                run.resident_mb.append((result["sent"], usage.resident_bytes / 1e6))
            run.descriptors = (before, server.usage().descriptors)
        run.alive = server.process.poll() is None
    written = await asyncio.to_thread(log.read_text)
    run.tracebacks, run.log_lines = written.count("Traceback"), written.count("\n")
    return run


@asynccontextmanager
async def _target(http: aiohttp.ClientSession, server: Server, file: Path) -> AsyncIterator[Path]:
    """Another call, whose ICE the sender shall ask to restart; ``file`` tells him of it."""
    caller = AiortcCaller(http, server.url)
    try:
        await caller.call()
        described = caller._pc.localDescription.sdp
        told = {
            "session_id": caller.session_id,
            "token": caller.auth["Authorization"].removeprefix("Bearer "),
            "offer": re.sub(r"a=setup:\w+", "a=setup:actpass", described),
        }
        await asyncio.to_thread(file.write_text, json.dumps(told))
        yield file
    finally:
        await caller.hang_up()


async def _sending(
    server: Server, chosen: int, wanted: int, target: Path
) -> AsyncIterator[dict[str, Any]]:
    """The sender's reports, one a second."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.fuzz_sender", server.url, str(chosen), str(wanted), str(target),
        stdout=asyncio.subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            yield json.loads(line)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def _talking(http: aiohttp.ClientSession, server: Server, talk: Talk) -> AsyncIterator[None]:
    """A call that goes on as long as the context."""
    caller = AiortcCaller(http, server.url)
    await caller.call()
    began = await _slots(http, server)
    for _ in range(1 if quick() else 4):
        await _turn(caller)
    before = await _slots(http, server)
    talk.quiet_late_share = _late_share(began, before)
    talking = asyncio.create_task(_turns(caller, talk))
    try:
        yield
    finally:
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        if talking.done() and not talking.cancelled() and (error := talking.exception()):
            talk.failed = repr(error)
        with contextlib.suppress(aiohttp.ClientError, AssertionError):
            stats = await media(http, server.url, caller)
            talk.lost_there = stats["lost"]
        talk.late_share = _late_share(before, await _slots(http, server))
        _judge(caller, talk)
        await caller.hang_up()


async def _slots(http: aiohttp.ClientSession, server: Server) -> tuple[float, float]:
    """Sending slots that began over 20 ms late, and all of them."""
    name = "voicecore_tx_late_seconds_bucket"
    within = await counter(http, server.url, name, le="0.02")
    slots = await counter(http, server.url, name, le="+Inf")
    return slots - within, slots


def _late_share(then: tuple[float, float], now: tuple[float, float]) -> float:
    return (now[0] - then[0]) / max(now[1] - then[1], 1)


async def _turns(caller: AiortcCaller, talk: Talk) -> None:
    while True:
        await _turn(caller)
        talk.turns += 1


async def _turn(caller: AiortcCaller) -> None:
    mark = len(caller.events)
    caller.say(remark())
    await caller.state("speaking", after=mark)
    await caller.event("agent_done", after=mark)


def _judge(caller: AiortcCaller, talk: Talk) -> None:
    """Gaps are looked for where the numbering goes on: a pause is none."""
    arrivals = caller.arrivals
    numbers = sorted({one.sequence for one in arrivals})
    wrapped = bool(numbers) and numbers[-1] - numbers[0] > 60_000
    for one, next_one in itertools.pairwise(arrivals):
        step = (next_one.sequence - one.sequence) & 0xFFFF
        if 1 < step < 0x8000:
            talk.missing += step - 1
        # 20 ms of voice behind 20 ms of voice; DTX and pauses have longer steps.
        if step == 1 and next_one.timestamp - one.timestamp == 960:
            gap_ms = (next_one.at_ns - one.at_ns) / 1e6
            talk.longest_gap_ms = max(talk.longest_gap_ms, gap_ms)
    if not wrapped and numbers:
        talk.missing = min(talk.missing, numbers[-1] - numbers[0] + 1 - len(numbers))


def _tell(report: Report, run: Run, wanted: int, chosen: int) -> None:
    result, talk = run.result, run.talk
    for bad in result["bad"]:
        print(f"  {bad}")
    answers = ", ".join(
        f"{status}: {count}" for status, count in sorted(result["statuses"].items())
    )
    rate = result["sent"] / result["seconds"]
    print(
        f"  {result['sent']} inputs, {rate:.0f} a second; {answers};"
        f" {result['restarts']} restarts taken"
    )
    print(
        f"  memory {run.resident_mb[0][1]:.0f} -> {run.resident_mb[-1][1]:.0f} MB,"
        f" {run.growth_mb:+.1f} behind the warm-up; descriptors {run.descriptors};"
        f" {run.log_lines} lines of log"
    )
    print(
        f"  beside it {talk.turns} turns; slots over 20 ms late {talk.late_share:.2%},"
        f" before {talk.quiet_late_share:.2%}; longest gap in the agent's voice"
        f" {talk.longest_gap_ms:.0f} ms at a caller who shares the machine; {load()} {talk.failed}"
    )
    report.rows.append({"part": "fuzz", "seed": chosen, "inputs": result["sent"],
                        "inputs_per_s": rate, "statuses": result["statuses"],
                        "resident_mb": run.resident_mb[-1][1], "turns": talk.turns,
                        "longest_gap_ms": talk.longest_gap_ms,
                        "late_share": talk.late_share,
                        "lost_of_the_callers": talk.lost_there})  # fmt: skip
    report.bars += [
        Bar("fuzz: inputs", result["sent"], "", ">=", wanted),
        Bar("fuzz: answers of 500, broken, 503 without a time", result["bad_count"], "", "<=", 0),
        Bar("fuzz: tracebacks in the log", run.tracebacks, "", "<=", 0),
        Bar("fuzz: process alive", float(run.alive), "", ">=", 1),
        Bar("fuzz: growth of memory behind the warm-up", run.growth_mb, "MB", "<=", _GROWTH_MB),
        Bar("fuzz: descriptors left over", run.descriptors[1] - run.descriptors[0], "", "<=", 8),
        Bar("fuzz: turns of the call beside it", talk.turns, "", ">=", result["seconds"] / 15),
        Bar("fuzz: packets of its agent that are missing", talk.missing, "", "<=", 0),
        Bar(
            "fuzz: sending slots over 20 ms late, beyond those before",
            100 * max(0.0, talk.late_share - talk.quiet_late_share), "%", "<=", 0.1,
        ),
    ]  # fmt: skip
