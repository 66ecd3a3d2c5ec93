"""N calls at once, each speaking every six seconds and answered for 2.4: cost, delay, lateness.

Timeline of a run::

    warm-up │ set up, 20 a second │ silent for 2 s │ all speak │ window         │ hang up
            memory before                idle cost      3 s      CPU, packets    memory after
"""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from call.subjects import VOICECORE, Subject
from load import figures
from load.caller import Caller, Origin, origin
from load.figures import Timed, percentiles
from load.impairment import Impairment, fates
from load.judged import chosen
from load.progress import done, tell, wait
from load.stage import SET_UP_HZ, Meter, Stage, stage
from load.voices import voices
from pace import USUAL_US, encode_us
from report import Report, load

SILENCE_MS = 480.0
EVERY_S = 6.0
ANSWER_S = 2.4
"""Of every six seconds: the agent talks 40% of the time."""
_IDLE_S = 2.0
_SETTLE_S = 3.0
ANSWER_WITHIN_NS = 2_000_000_000
_SEED = 5


@dataclass
class Crowd:
    """What a run gave. Times in ms; a list of percentiles holds p50, p95, p99, p99.9 and max."""

    name: str
    subject: str
    calls: int
    stood: int
    seconds: float
    failed: dict[str, int] = field(default_factory=dict)
    cpu_ms_per_call_second: float = 0.0
    idle_cpu_ms_per_call_second: float = 0.0
    set_up_cpu_ms: float = 0.0
    client_cpu_ms_per_call_second: float = 0.0
    client_thread_cpu_ms_per_call_second: float = 0.0
    talking_share: float = 0.0
    utterances: int = 0
    answered: int = 0
    answered_calls: int = 0
    latency_ms: list[float | None] = field(default_factory=list)
    latency_ms_with_stalls: list[float | None] = field(default_factory=list)
    barge_in_ms: list[float | None] = field(default_factory=list)
    late_ms: list[float | None] = field(default_factory=list)
    late_ms_with_stalls: list[float | None] = field(default_factory=list)
    packets: int = 0
    packets_judged: int = 0
    missing: int = 0
    rejected: int = 0
    client_drops: dict[str, int] = field(default_factory=dict)
    """What the client itself lost: full socket, full log, full bridge to aiortc."""
    client_late_ms_max: float = 0.0
    memory_kb_per_call: float = 0.0
    memory_kb_left_per_call: float = 0.0
    threads: tuple[int, int, int] = (0, 0, 0)
    descriptors: tuple[int, int, int] = (0, 0, 0)
    machine_stalled_s: float = 0.0
    pace_us: float = 0.0
    """Of one Opus encode (``pace.py``), mean of before and after the window."""
    others_share: float = 0.0
    """Of the server's core, taken by whatever else runs on the machine."""
    load: str = ""


_POINTS = (50, 95, 99, 99.9, 100)


async def measure(
    report: Report,
    calls: int,
    seconds: float,
    *,
    subject: Subject = VOICECORE,
    wrap: bool = False,
    up: Impairment | None = None,
    down: Impairment | None = None,
) -> Crowd:
    """One run, added to the report and printed. ``up`` and ``down``: the callers' network."""
    rng = random.Random(_SEED)
    name = f"{calls} calls to {subject.name}" + (", sequence and timestamp wrap" if wrap else "")
    name += f", up {up}" * bool(up) + f", down {down}" * bool(down)
    tell(f"{name}: starting the server")
    crowd = Crowd(name, subject.name, calls, 0, seconds)
    async with stage(calls, ANSWER_S, subject) as on:
        await on.warm_up(rng)
        rests = [on.server.usage()]
        # Room for a set-up four times as long as it should be.
        whole_s = calls / SET_UP_HZ * 4 + _IDLE_S + _SETTLE_S + seconds + 30
        begins = [_impaired(origin(rng, wrap=wrap), up, down, whole_s) for _ in range(calls)]
        callers = [on.caller(begin, whole_s) for begin in begins]
        stood = await _set_up(on, callers, crowd)
        if stood:
            begin_ns, end_ns = await _talk(on, stood, crowd, rng)
        rests.append(on.server.usage())
        await on.hang_up(stood)
        await wait(2.0, f"{name}: at rest")
        rests.append(on.server.usage())
    crowd.failed = on.errors
    crowd.machine_stalled_s = round(on.stalls.total_s, 2)
    crowd.load = load()
    _note_rests(crowd, rests)
    if stood:
        _judge(crowd, on, stood, begin_ns, end_ns)
    report.rows.append(asdict(crowd))
    done(line(crowd))
    return crowd


def _impaired(
    begin: Origin, up: Impairment | None, down: Impairment | None, seconds: float
) -> Origin:
    """Each call has its own luck; its SSRC is the seed."""
    packets = int(seconds * 50)
    return replace(
        begin,
        up=None if up is None else fates(up, packets, begin.ssrc),
        down=None if down is None else fates(down, packets, begin.ssrc + 1),
    )


async def _set_up(on: Stage, callers: list[Caller], crowd: Crowd) -> list[Caller]:
    """Let all call; notes what setting up one costs, its media taken off."""
    meter = Meter(on.server, on.calls.client, time.monotonic)
    stood = await on.dial(callers)
    elapsed_s, cpu_s, _, _ = meter.read()
    crowd.stood = len(stood)
    idle = Meter(on.server, on.calls.client, time.monotonic)
    await wait(_IDLE_S, f"{len(stood)} calls stand, silent")
    idle_s, idle_cpu_s, _, _ = idle.read()
    if stood:
        per_call_second = idle_cpu_s / (idle_s * len(stood))
        # Evenly set up, half of the calls stand on the average.
        media_s = per_call_second * len(stood) * elapsed_s / 2
        crowd.idle_cpu_ms_per_call_second = round(1000 * per_call_second, 3)
        crowd.set_up_cpu_ms = round(1000 * (cpu_s - media_s) / len(stood), 2)
    return stood


async def _talk(
    on: Stage, stood: list[Caller], crowd: Crowd, rng: random.Random
) -> tuple[int, int]:
    """Let all speak in turn; begin and end of the measured window."""
    start_ns = time.monotonic_ns() + 200_000_000
    rounds = int((_SETTLE_S + crowd.seconds) / EVERY_S) + 1
    for i, caller in enumerate(stood):
        at_ns = start_ns + int(EVERY_S * 1e9 * i / len(stood))
        for turn in range(rounds):
            voice = rng.randrange(len(voices()))
            caller.say(at_ns + int(turn * EVERY_S * 1e9), voice)
    await wait(_SETTLE_S, f"{len(stood)} calls begin to speak")
    before_us = encode_us()
    begin_ns = time.monotonic_ns()
    meter = Meter(on.server, on.calls.client, time.monotonic)
    await wait(crowd.seconds, f"{len(stood)} calls speak and are answered")
    elapsed_s, cpu_s, thread_s, own_s = meter.read()
    crowd.others_share = round(meter.others_share(), 3)
    end_ns = time.monotonic_ns()
    crowd.pace_us = round((before_us + encode_us()) / 2, 1)
    call_seconds = elapsed_s * len(stood)
    crowd.cpu_ms_per_call_second = round(1000 * cpu_s / call_seconds, 3)
    crowd.client_cpu_ms_per_call_second = round(1000 * own_s / call_seconds, 3)
    crowd.client_thread_cpu_ms_per_call_second = round(1000 * thread_s / call_seconds, 3)
    return begin_ns, end_ns


def _note_rests(crowd: Crowd, rests: list) -> None:  # type: ignore[type-arg]
    before, at, after = rests
    kilobytes = (at.resident_bytes - before.resident_bytes) / 1024
    left = (after.resident_bytes - before.resident_bytes) / 1024
    crowd.memory_kb_per_call = round(kilobytes / max(crowd.stood, 1), 1)
    crowd.memory_kb_left_per_call = round(left / max(crowd.stood, 1), 1)
    crowd.threads = (before.threads, at.threads, after.threads)
    crowd.descriptors = (before.descriptors, at.descriptors, after.descriptors)


def _judge(crowd: Crowd, on: Stage, stood: list[Caller], begin_ns: int, end_ns: int) -> None:
    late: list[Timed] = []
    latency: list[Timed] = []
    loud = 0
    for i, caller in enumerate(stood):
        tell(f"decoding call {i + 1} of {len(stood)}")
        arrivals = caller.arrivals
        level = caller.levels()
        within = figures.during(arrivals, begin_ns, end_ns)
        late.append(figures.lateness(within))
        crowd.missing += figures.missing(within)
        crowd.packets += len(within)
        inside = (arrivals["at_ns"] >= begin_ns) & (arrivals["at_ns"] < end_ns)
        loud += int((level[inside] > figures.LOUD).sum())
        said = caller.said
        last_ns = said["last_ns"]
        # An answer that the window's end cut off was not refused.
        asked = said[(said["first_ns"] >= begin_ns) & (last_ns + ANSWER_WITHIN_NS < end_ns)]
        asked = asked[asked["last_ns"] > 0]
        latency.append(figures.latencies(asked, arrivals, level, silence_ms=SILENCE_MS))
        crowd.utterances += len(asked)
        crowd.answered += len(latency[-1].ms)
        crowd.answered_calls += bool((level > figures.LOUD).any())
        _add_counts(crowd, caller)
    crowd.talking_share = round(loud / max(crowd.packets, 1), 3)
    every, good = chosen(late, on.stalls)
    crowd.packets_judged = len(good)
    crowd.late_ms, crowd.late_ms_with_stalls = (
        percentiles(good, *_POINTS),
        percentiles(every, *_POINTS),
    )
    every, good = chosen(latency, on.stalls)
    crowd.latency_ms = percentiles(good, *_POINTS)
    crowd.latency_ms_with_stalls = percentiles(every, *_POINTS)


def _add_counts(crowd: Crowd, caller: Caller) -> None:
    counts = caller.counts
    crowd.rejected += counts.rejected
    for name in ("kernel_drops", "unlogged", "other_lost"):
        if getattr(counts, name):
            crowd.client_drops[name] = crowd.client_drops.get(name, 0) + getattr(counts, name)
    late_ms = counts.late_ns_max / 1e6
    crowd.client_late_ms_max = round(max(crowd.client_late_ms_max, late_ms), 1)


def clean(crowd: Crowd, reference: Crowd | None) -> bool:
    """MEASURE's clean calls: ``reference`` is the run of ten calls."""
    if crowd.stood < crowd.calls or crowd.missing or crowd.answered_calls < crowd.calls:
        return False
    late_ms, latency_ms = crowd.late_ms[3], crowd.latency_ms[1]
    usual_ms = reference.latency_ms[1] if reference else None
    if late_ms is None or latency_ms is None or usual_ms is None:
        return False
    return late_ms <= 20 and latency_ms <= 1.2 * usual_ms


def line(crowd: Crowd) -> str:
    """One line for people."""

    def show(values: list[float | None]) -> str:
        return "/".join("-" if v is None else f"{v:.0f}" for v in values)

    return (
        f"{crowd.name}: CPU {crowd.cpu_ms_per_call_second:.2f} ms a call-second"
        f" (silent {crowd.idle_cpu_ms_per_call_second:.2f}, set-up {crowd.set_up_cpu_ms:.1f} ms"
        f" a call, client {crowd.client_cpu_ms_per_call_second:.2f}), talking"
        f" {crowd.talking_share:.0%}\n    latency p50/95/99/99.9/max {show(crowd.latency_ms)} ms,"
        f" packets late {show(crowd.late_ms)} ms, missing {crowd.missing} of {crowd.packets},"
        f" answered {crowd.answered} of {crowd.utterances}; {crowd.memory_kb_per_call:.0f} KB a"
        f" call, threads {'/'.join(map(str, crowd.threads))}\n    stood {crowd.stood} of"
        f" {crowd.calls} {crowd.failed or ''}; client late by at most"
        f" {crowd.client_late_ms_max:.0f} ms, dropped {crowd.client_drops or 0}; machine stood"
        f" still {crowd.machine_stalled_s:.1f} s, others took {crowd.others_share:.0%} of the"
        f" server's core; {crowd.load}; an Opus encode took {crowd.pace_us:.0f} us"
        f" ({USUAL_US:.0f} where the goals were set)"
    )


def median(values: list[float]) -> float | None:
    """``None`` of nothing."""
    return float(np.median(values)) if values else None
