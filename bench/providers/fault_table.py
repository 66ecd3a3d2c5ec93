"""Ten ways in which a provider fails, in each adapter: what does the caller hear, and when?

Each cell is a whole call, from the caller's speech to the samples that are played, in
real time. The stage in question is one adapter alone, without a fallback, behind a front
that fails; the other stages are engines that always work. A cell is good if the caller is
answered whole, or hears the apology, within the stage's deadline after the end of his
speech (where the answer had begun: after its last sound), and nothing of it is left: no
connection, and at the end of all no task, file descriptor or process.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

import uvloop

from engines.worker_kit import children, open_fds
from fakes.engine_call import SILENCE_MS, EngineCall
from fakes.faulty_front import Fault, FaultyFront
from fakes.scripted_engines import SampleStt, ScriptedLlm, speech
from providers.subjects import GOOD, OLD, SUBJECTS, WRONG, Subject, word_a_third
from report import Bar, Report, quick
from voicecore.engines.resilience.llm import ResilientLlm
from voicecore.engines.resilience.policy import AnswerPolicy, HearingPolicy
from voicecore.engines.resilience.stt import ResilientStt
from voicecore.engines.resilience.tts import ResilientTts
from voicecore.engines.tts.stub import TtsStub

FAULTS = tuple(fault for fault in Fault if fault is not Fault.NONE)
SPEECH_MS = 1500
_AT_ONCE = 30
_HEARING = HearingPolicy()
_MODEL = AnswerPolicy()
_VOICE = AnswerPolicy(first_item_s=3.0, next_item_s=3.0)
_SPEECH_S = 5.0
"""To connect, and to the first sound (`engines/s2s/`)."""
_SLACK_S = 0.5
"""For the pause that ends a turn, rounding to packets, and a machine of two cores."""


def deadline_s(subject: Subject) -> float:
    """By when the caller hears something, by the settings' defaults."""
    if subject.stage == "llm":
        return max(_MODEL.first_item_s, _MODEL.next_item_s)
    if subject.stage == "tts":
        return max(_VOICE.first_item_s, _VOICE.next_item_s)
    if subject.stage == "s2s":
        return _SPEECH_S
    # A recogniser that hears live is asked for the end once more on another connection.
    return 2 * _HEARING.final_s if subject.live else _HEARING.batch_final_s


@dataclass(frozen=True)
class Cell:
    """What came of one fault in one adapter. ``seconds``: to the apology or the answer."""

    stage: str
    adapter: str
    fault: str
    outcome: str
    seconds: float
    left: int
    deadline_s: float

    @property
    def good(self) -> bool:
        """See the module."""
        in_time = self.seconds <= self.deadline_s + SILENCE_MS / 1000 + _SLACK_S
        return self.outcome in ("answered", "apology") and in_time and not self.left


async def table(subjects: Iterable[Subject]) -> tuple[list[Cell], dict[str, int]]:
    """All cells, side by side; and what is left of tasks, descriptors and processes."""
    async with FaultyFront("http://127.0.0.1:9/", Fault.WRONG_KEY) as front:
        # libuv opens /dev/null with the first connection it accepts, and keeps it.
        _, writer = await asyncio.open_connection(*urlsplit(front.url).netloc.split(":"))
        writer.close()
    before = _resources()
    room = asyncio.Semaphore(_AT_ONCE)

    async def in_turn(subject: Subject, fault: Fault) -> Cell:
        async with room:
            return await _cell(subject, fault)

    cells = await asyncio.gather(*(in_turn(s, fault) for s in subjects for fault in FAULTS))
    for _ in range(20):
        gc.collect()
        left = {name: now - before[name] for name, now in _resources().items()}
        if not any(count > 0 for count in left.values()):
            break
        await asyncio.sleep(0.1)
    return list(cells), left


def _resources() -> dict[str, int]:
    return {
        "tasks": len(asyncio.all_tasks()),
        "descriptors": open_fds(),
        "processes": len(children()),
    }


async def _cell(subject: Subject, fault: Fault) -> Cell:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(subject.serve(word_a_third))
        key_fault = subject.own_keys and fault in (Fault.WRONG_KEY, Fault.EXPIRED)
        front = FaultyFront(server.url, Fault.NONE if key_fault else fault, passes=subject.passes)
        await stack.enter_async_context(front)
        if fault is Fault.REFUSES:
            await front.refuse()
        key = {Fault.WRONG_KEY: WRONG, Fault.EXPIRED: OLD}.get(fault, GOOD)
        engines = _engines(subject, subject.make(front.url, key))
        for engine in engines:
            await engine.start()
        try:
            async with EngineCall(*engines) as call:
                outcome, seconds = await _turn(call, deadline_s(subject) + 3.0)
        finally:
            for engine in engines:
                await engine.close()
        left = await _left(front)
    return Cell(
        subject.stage, subject.name, fault.value, outcome, seconds, left, deadline_s(subject)
    )


def _engines(subject: Subject, engine: Any) -> tuple[Any, ...]:
    random = Random(6)
    stage = subject.stage
    stt = engine if stage == "stt" else SampleStt()
    llm = engine if stage == "llm" else ScriptedLlm(["Here is the answer. "])
    tts = engine if stage == "tts" else TtsStub(1.0)
    if stage == "s2s":
        return (stt, llm, tts, engine)
    return (
        ResilientStt([stt], policy=_HEARING, random=random),
        ResilientLlm([llm], policy=_MODEL, random=random),
        ResilientTts([tts], policy=_VOICE, random=random),
    )


async def _turn(call: EngineCall, patience_s: float) -> tuple[str, float]:
    """Say something; ``answered`` (to the end), ``apology``, ``cut off`` or ``silence``."""
    last_s = await call.say(speech(*range(SPEECH_MS // 100)))
    outcome, played = "silence", 0
    while time.monotonic() - last_s < patience_s:
        heard = call.heard
        if heard == "apology":
            return "apology", time.monotonic() - last_s
        if heard and outcome == "silence":
            outcome = "cut off"
            first_s = time.monotonic() - last_s
        if call.plane.played > played:
            played, last_s = call.plane.played, time.monotonic()
        if outcome == "cut off" and call.call.state == "listening":
            return "answered", first_s
        await call.plane.run(20)
    return outcome, patience_s


async def _left(front: FaultyFront) -> int:
    """Connections that the adapter left open."""
    for _ in range(100):
        if not front.open:
            break
        await asyncio.sleep(0.02)
    return front.open


def measure(report: Report) -> None:
    """Print the table; a bar for the cells, one for what is left."""
    # The end-to-end tests hold all of them to it; a smoke run tries one a stage.
    subjects = list({s.stage: s for s in SUBJECTS}.values()) if quick() else SUBJECTS
    cells, left = uvloop.run(table(subjects))
    width = max(len(fault.value) for fault in FAULTS)
    adapters = list(dict.fromkeys(cell.adapter for cell in cells))
    print("faults: what the caller hears (a: answer, s: 'sorry'), after seconds; ! not in time")
    for fault in FAULTS:
        row = {cell.adapter: cell for cell in cells if cell.fault == fault.value}
        shown = "  ".join(f"{_short(row[name]):>7}" for name in adapters)
        print(f"  {fault.value:{width}}  {shown}")
    print(f"  {'':{width}}  " + "  ".join(f"{name[:7]:>7}" for name in adapters))
    report.rows += [{"part": "faults", **asdict(cell), "ok": cell.good} for cell in cells]
    print(f"  left: {left}")
    good = sum(cell.good for cell in cells)
    report.bars += [
        Bar(f"faults: cells of {len(cells)} answered or apologised for in time", good, "",
            ">=", len(cells)),
        Bar("faults: tasks, descriptors, processes left", max(sum(left.values()), 0), "", "<=", 0),
    ]  # fmt: skip


def _short(cell: Cell) -> str:
    letter = {"answered": "a", "apology": "s"}.get(cell.outcome, "?")
    return f"{letter} {cell.seconds:.1f}{'' if cell.good else '!'}"
