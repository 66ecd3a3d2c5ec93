"""Fifty thousand packets of garbage a second at the server's media ports, while calls go on."""

from __future__ import annotations

import random
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from call.subjects import VOICECORE
from load import figures, garbage
from load.caller import Caller, origin
from load.crowd import ANSWER_S, ANSWER_WITHIN_NS, EVERY_S
from load.figures import Timed, percentiles
from load.judged import chosen
from load.native import library, pointer
from load.progress import done, tell, wait
from load.stage import Meter, Stage, stage
from load.voices import voices
from report import Bar, Report, load, quick

_RATE_HZ = 50_000
_SEED = 13
_POINTS = (50, 99, 99.9, 100)


@dataclass
class Span:
    """A stretch of the run, with or without the flood."""

    name: str
    begin_ns: int
    end_ns: int
    cpu_share: float
    """Of one core."""
    others_share: float
    """Of that core, taken by whatever else runs on the machine."""
    lost: int
    """Packets of the callers, by the server's receiver reports."""
    sent_hz: float = 0.0


async def measure(report: Report, calls: int, seconds: float) -> None:
    """Add the bars."""
    rng = random.Random(_SEED)
    tell("flood: starting the server")
    async with stage(calls, ANSWER_S, VOICECORE) as on:
        await on.warm_up(rng)
        stood = await on.dial([on.caller(origin(rng), 2 * seconds + 40) for _ in range(calls)])
        _schedule(stood, 2 * seconds + 12, rng)
        await wait(3.0, "flood: calls begin to speak")
        quiet = await _span(on, stood, "without", seconds)
        async with _flooding(stood) as sent:
            flooded = await _span(on, stood, "with", seconds)
        flooded.sent_hz = sent[0] / seconds
        await on.hang_up(stood)
    _judge(report, on, stood, (quiet, flooded))


def _schedule(stood: list[Caller], seconds: float, rng: random.Random) -> None:
    start_ns = time.monotonic_ns()
    for i, caller in enumerate(stood):
        for turn in range(int(seconds / EVERY_S)):
            at_s = EVERY_S * (i / len(stood) + turn)
            caller.say(start_ns + int(at_s * 1e9), rng.randrange(len(voices())))


async def _span(on: Stage, stood: list[Caller], name: str, seconds: float) -> Span:
    begin_ns = time.monotonic_ns()
    lost = sum(caller.counts.remote_lost for caller in stood)
    meter = Meter(on.server, on.calls.client, time.monotonic)
    await wait(seconds, f"flood: {name}")
    elapsed_s, cpu_s, _, _ = meter.read()
    return Span(
        name,
        begin_ns,
        time.monotonic_ns(),
        cpu_share=cpu_s / elapsed_s,
        others_share=meter.others_share(),
        lost=sum(caller.counts.remote_lost for caller in stood) - lost,
    )


@asynccontextmanager
async def _flooding(stood: list[Caller]) -> AsyncIterator[list[int]]:
    """Flood the media ports of ``stood``; the number sent stands in the list afterwards."""
    made = garbage.packets(_SEED)
    data = np.frombuffer(b"".join(made), np.uint8)
    ends = np.cumsum([len(packet) for packet in made]).astype(np.uint32)
    addresses = sorted({caller.address for caller in stood})
    targets = np.frombuffer(b"".join(_sockaddr(*each) for each in addresses), np.uint8)
    sent = [0]
    running = library().flood_start(
        pointer(data), pointer(ends), len(made), pointer(targets), len(addresses), _RATE_HZ
    )
    if not running:
        raise RuntimeError("the flood can't start")
    try:
        yield sent
    finally:
        sent[0] = int(library().flood_stop(running))


def _sockaddr(host: str, port: int) -> bytes:
    """``struct sockaddr_in6``; an IPv4 address is mapped."""
    mapped = host if ":" in host else f"::ffff:{host}"
    head = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0)
    return head + socket.inet_pton(socket.AF_INET6, mapped) + bytes(4)


def _row(on: Stage, stood: list[Caller], span: Span) -> dict[str, Any]:
    late: list[Timed] = []
    missing = silent = asked = answered = 0
    for caller in stood:
        within = figures.during(caller.arrivals, span.begin_ns, span.end_ns)
        level = caller.levels(within)
        late.append(figures.lateness(within))
        missing += figures.missing(within)
        silent += not bool((level > figures.LOUD).any())
        said = caller.said[caller.said["first_ns"] >= span.begin_ns]
        said = said[said["last_ns"] + ANSWER_WITHIN_NS < span.end_ns]
        turns, replies = figures.answered(said, within, level)
        asked, answered = asked + turns, answered + replies
    every, good = chosen(late, on.stalls)
    row = {
        "name": f"flood, {len(stood)} calls, {span.name}",
        "cpu_share_of_a_core": round(span.cpu_share, 3),
        "others_share": round(span.others_share, 3),
        "garbage_hz": round(span.sent_hz),
        "late_ms_p50_p99_p999_max": percentiles(good, *_POINTS),
        "late_ms_with_stalls": percentiles(every, *_POINTS),
        "missing": missing,
        "lost_towards_the_server": span.lost,
        "calls_without_audio": silent,
        "utterances": asked,
        "unanswered": asked - answered,
        "load": load(),
    }
    done(
        f"{row['name']}: CPU {span.cpu_share:.1%} of a core, {span.sent_hz:.0f} garbage"
        f" packets/s, late {row['late_ms_p50_p99_p999_max']} ms, missing {missing}, lost towards"
        f" the server {span.lost} by its reports, calls without audio {silent}, unanswered"
        f" {asked - answered} of {asked}; others took {span.others_share:.0%} of the server's"
        f" core; {load()}"
    )
    return row


def _judge(report: Report, on: Stage, stood: list[Caller], spans: tuple[Span, Span]) -> None:
    rows = [_row(on, stood, span) for span in spans]
    report.rows += rows
    quiet, flooded = spans
    headroom = 1.0 - quiet.cpu_share
    cost = 100 * (flooded.cpu_share - quiet.cpu_share) / headroom if headroom > 0 else None
    enough = flooded.sent_hz >= 0.9 * _RATE_HZ or quick()
    after = rows[1] if enough else {}
    # In less than two rounds not everyone is answered, flood or not.
    heard = after if quiet.end_ns - quiet.begin_ns >= 2 * EVERY_S * 1e9 else {}
    unserved = heard.get("calls_without_audio", 0) + heard.get("unanswered", 0)
    if not enough or unserved:
        cost = None  # calls that are not served cost nothing
    name = "flood of 50,000/s"
    report.bars += [
        Bar(f"{name}: share of the headroom", cost, "%", "<=", 10),
        Bar(f"{name}: calls without audio", heard.get("calls_without_audio"), "", "<=", 0),
        Bar(f"{name}: callers not answered", heard.get("unanswered"), "", "<=", 0),
        Bar(f"{name}: packets missing", after.get("missing"), "", "<=", 0),
    ]
