"""Twenty calls at once on one core, hearing and speaking: is any packet late or missing?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import aiohttp

from call.subjects import PLAIN_AIORTC, VOICECORE, Subject
from caller.light import Arrival, LightCaller, loud_packets
from caller.server import running
from caller.speech import Utterance, encode, recordings, silence_payload
from cores import SERVER_CORE
from report import Bar, Report, load, quick
from stalls import Stalls, watched

CALLS = 20
LATE_MS = 60.0
_EACH_S = 6.0
"""A caller speaks so often …"""
_ANSWER_S = 2.4
"""… and is answered for so long: the agent talks 40% of the time."""
_LEAST_UNDISTURBED = 0.25
"""Of all packets; a few between stalls say nothing about the rest."""
_AFTERMATH_NS = 500_000_000
"""What a stall delayed is still being worked off for so long."""


@dataclass(frozen=True)
class Crowd:
    """What twenty calls to one server gave."""

    cpu_ms_per_call_second: float
    lateness_ms: list[float]
    """Of the packets that met no stall of the machine."""
    packets: int
    missing: int
    answered: int
    talking: float
    """Share of the packets above −50 dBFS."""
    stalled_s: float

    @property
    def late(self) -> int:
        """Packets later than may be."""
        return sum(value > LATE_MS for value in self.lateness_ms)

    @property
    def judged(self) -> bool:
        """Whether enough packets met no stall."""
        return len(self.lateness_ms) >= self.packets * _LEAST_UNDISTURBED


async def measure(report: Report) -> None:
    """Add the bars, and what the calls cost here and by hand."""
    ours = await _crowd(report, VOICECORE, 10 if quick() else 40)
    if not quick():
        theirs = await _crowd(report, PLAIN_AIORTC, 20)
        ratio = theirs.cpu_ms_per_call_second / ours.cpu_ms_per_call_second
        report.rows.append({"name": "crowd, CPU of plain aiortc to ours", "ratio": round(ratio, 2)})
        print(f"CPU per call-second: {ratio:.1f} times less than plain aiortc")
    figure = ours.late + ours.missing if ours.judged else None
    report.bars += [
        Bar("20 calls on a core: packets late by > 60 ms or missing", figure, "", "<=", 0),
        Bar("20 calls on a core: calls answered", ours.answered, "", ">=", CALLS),
    ]


async def _crowd(report: Report, subject: Subject, seconds: float) -> Crowd:
    with watched() as stalls:
        callers, cost, began_ns, ended_ns = await _talk(subject, seconds)
    arrivals = [_during(c.arrivals, began_ns, ended_ns) for c in callers]
    loud = [loud_packets(c.arrivals) for c in callers]
    packets = sum(len(each) for each in arrivals)
    speaking = sum(len(_during(each, began_ns, ended_ns)) for each in loud)
    crowd = Crowd(
        cpu_ms_per_call_second=cost,
        lateness_ms=[late for each in arrivals for late in _lateness_ms(each, stalls)],
        packets=packets,
        missing=sum(_missing(each) for each in arrivals),
        answered=sum(bool(each) for each in loud),
        talking=speaking / packets if packets else 0.0,
        stalled_s=stalls.total_s,
    )
    _note(report, subject, crowd)
    return crowd


def _note(report: Report, subject: Subject, crowd: Crowd) -> None:
    late_ms_max = max(crowd.lateness_ms, default=0.0)
    print(
        f"{CALLS} calls to {subject.name}: {crowd.cpu_ms_per_call_second:.1f} ms of CPU per"
        f" call-second, talking {crowd.talking:.0%}, latest packet {late_ms_max:.0f} ms,"
        f" {crowd.late} of {len(crowd.lateness_ms)} late, {crowd.missing} missing,"
        f" {crowd.answered} answered, the machine stood still for {crowd.stalled_s:.1f} s; {load()}"
    )
    report.rows.append(
        {
            "name": f"crowd, {subject.name}",
            "calls": CALLS,
            "cpu_ms_per_call_second": round(crowd.cpu_ms_per_call_second, 2),
            "talking_share": round(crowd.talking, 3),
            "packets": crowd.packets,
            "packets_judged": len(crowd.lateness_ms),
            "late": crowd.late,
            "late_ms_max": round(late_ms_max, 1),
            "missing": crowd.missing,
            "answered": crowd.answered,
            "machine_stalled_s": round(crowd.stalled_s, 2),
        }
    )


async def _talk(subject: Subject, seconds: float) -> tuple[list[LightCaller], float, int, int]:
    """Let all speak in turn; the callers, the cost in ms per call-second, begin and end."""
    said: list[Utterance] = [encode(name, pcm) for name, pcm in recordings(4)]
    silence = silence_payload()
    flags = subject.answering(_ANSWER_S)
    async with (
        running(*flags, module=subject.module, core=SERVER_CORE) as server,
        aiohttp.ClientSession() as http,
    ):
        callers = [LightCaller(server.url, silence, http) for _ in range(CALLS)]
        for caller in callers:
            await caller.call()
        await asyncio.sleep(1)
        began, cpu_s = time.monotonic(), server.usage().cpu_s
        began_ns = time.monotonic_ns()
        i = 0
        while time.monotonic() - began < seconds:
            for caller in callers:
                caller.say(said[i % len(said)])
                i += 1
                await asyncio.sleep(_EACH_S / CALLS)
        ended_ns = time.monotonic_ns()
        elapsed_s = time.monotonic() - began
        cost = (server.usage().cpu_s - cpu_s) * 1000 / (elapsed_s * CALLS)
        for caller in callers:
            await caller.hang_up()
    return callers, cost, began_ns, ended_ns


def _during(arrivals: list[Arrival], began_ns: int, ended_ns: int) -> list[Arrival]:
    return [a for a in arrivals if began_ns <= a.at_ns < ended_ns]


def _lateness_ms(arrivals: list[Arrival], stalls: Stalls) -> list[float]:
    """Each packet against the steady 20 ms clock that the median packet defines.

    Packets around a stall of the machine are left out; the row says how long it was.
    """
    offsets = [a.at_ns / 1e6 - a.timestamp / 48 for a in arrivals]
    base = sorted(offsets)[len(offsets) // 2] if offsets else 0.0
    return [
        offset - base
        for offset, a in zip(offsets, arrivals, strict=True)
        if not stalls.touch(a.at_ns - _AFTERMATH_NS, a.at_ns)
    ]


def _missing(arrivals: list[Arrival]) -> int:
    if not arrivals:
        return 0
    expected = (arrivals[-1].sequence - arrivals[0].sequence & 0xFFFF) + 1
    return expected - len(arrivals)
