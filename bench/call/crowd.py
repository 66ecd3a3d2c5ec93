"""Twenty calls at once on one core, hearing and speaking: is any packet late or missing?"""

from __future__ import annotations

import asyncio
import time

import aiohttp

from caller.light import Arrival, LightCaller, loud_packets
from caller.server import running
from caller.speech import Utterance, encode, recordings, silence_payload
from cores import SERVER_CORE
from report import Bar, Report, load, quick
from stalls import Stalls, watched

CALLS = 20
LATE_MS = 60.0
_LEAST_UNDISTURBED = 0.25
_AFTERMATH_NS = 300_000_000
"""What a stall delayed is still being worked off for so long."""
_STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub", "--stub-tts-seconds", "3")


async def measure(report: Report) -> None:
    """Add the bar and what the calls cost."""
    seconds = 10 if quick() else 40
    said = [encode(name, pcm) for name, pcm in recordings(4)]
    silence = silence_payload()
    with watched() as stalls:
        callers, cost, began_ns, ended_ns = await _talk(said, silence, seconds)
    lateness = [
        late for c in callers for late in _lateness_ms(c.arrivals, began_ns, ended_ns, stalls)
    ]
    missing = sum(_missing(c.arrivals, began_ns, ended_ns) for c in callers)
    talking = sum(bool(loud_packets(c.arrivals)) for c in callers)
    late = sum(value > LATE_MS for value in lateness)
    print(
        f"{CALLS} calls: {cost:.1f} ms of CPU per call-second, latest packet"
        f" {max(lateness, default=0):.0f} ms, {late} of {len(lateness)} late, {missing} missing,"
        f" {talking} answered, the machine stood still for {stalls.total_s:.1f} s; {load()}"
    )
    report.rows.append(
        {
            "name": "crowd",
            "calls": CALLS,
            "cpu_ms_per_call_second": round(cost, 2),
            "packets": len(lateness),
            "late_ms_max": round(max(lateness, default=0), 1),
            "machine_stalled_s": round(stalls.total_s, 2),
        }
    )
    packets = sum(len(_during(c.arrivals, began_ns, ended_ns)) for c in callers)
    # A few packets between stalls say nothing about the rest.
    judged = len(lateness) >= packets * _LEAST_UNDISTURBED
    figure = late + missing if judged else None
    report.bars += [
        Bar("20 calls on a core: packets late by > 60 ms or missing", figure, "", "<=", 0),
        Bar("20 calls on a core: calls answered", talking, "", ">=", CALLS),
    ]


async def _talk(
    said: list[Utterance], silence: bytes, seconds: float
) -> tuple[list[LightCaller], float, int, int]:
    """Let all speak in turn; the callers, the cost in ms per call-second, begin and end."""
    async with running(*_STUBS, core=SERVER_CORE) as server, aiohttp.ClientSession() as http:
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
                await asyncio.sleep(6.0 / CALLS)
        ended_ns = time.monotonic_ns()
        elapsed_s = time.monotonic() - began
        cost = (server.usage().cpu_s - cpu_s) * 1000 / (elapsed_s * CALLS)
        for caller in callers:
            await caller.hang_up()
    return callers, cost, began_ns, ended_ns


def _during(arrivals: list[Arrival], began_ns: int, ended_ns: int) -> list[Arrival]:
    return [a for a in arrivals if began_ns <= a.at_ns < ended_ns]


def _lateness_ms(
    arrivals: list[Arrival], began_ns: int, ended_ns: int, stalls: Stalls
) -> list[float]:
    """Each packet against the steady 20 ms clock that the median packet defines.

    Packets around a stall of the machine are left out; the row says how long it was.
    """
    chosen = _during(arrivals, began_ns, ended_ns)
    offsets = [a.at_ns / 1e6 - a.timestamp / 48 for a in chosen]
    base = sorted(offsets)[len(offsets) // 2]
    return [
        offset - base
        for offset, a in zip(offsets, chosen, strict=True)
        if not stalls.touch(a.at_ns - _AFTERMATH_NS, a.at_ns)
    ]


def _missing(arrivals: list[Arrival], began_ns: int, ended_ns: int) -> int:
    chosen = _during(arrivals, began_ns, ended_ns)
    expected = (chosen[-1].sequence - chosen[0].sequence & 0xFFFF) + 1
    return expected - len(chosen)
