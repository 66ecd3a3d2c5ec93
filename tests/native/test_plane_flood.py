"""A flood of garbage at a port on which calls run costs no call its audio.

What it costs in time is a figure of ``make bench-load``.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from native.plane_kit import Call, End, tone, try_until_undisturbed, wait_for

CALLS = 20
RATE = 50_000  # datagrams a second
SECONDS = 2.0
STALL_MS = 100.0  # the socket's buffer holds some 130 ms of the flood
FLOODER = """
import os, socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
rate, seconds = int(sys.argv[3]), float(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, port))
noise = os.urandom(199)
kinds = [b"\\x80" + noise, b"\\x16" + noise, b"\\x50" + noise,
         bytes.fromhex("000100002112a442") + noise[:12]]
began, sent, due = time.monotonic(), 0, 0.0
while (passed := time.monotonic() - began) < seconds:
    # What a machine that stood still left out is not made up for: that would be another rate.
    due = max(due, (passed - 0.005) * rate)
    while due < passed * rate:
        s.send(kinds[sent % 4])
        sent, due = sent + 1, due + 1
    time.sleep(0.0005)
print(sent)
"""


@dataclass(frozen=True)
class Flood:
    """What a flood did to the end that took it."""

    sent: int
    late_ms: float
    counters: dict[str, Any]
    """How far each counter rose."""

    @property
    def dropped(self) -> int:
        kinds = ("unknown_address", "unknown_name", "malformed", "kernel_drops")
        return sum(int(self.counters[name]) for name in kinds)


def flood(call: Call) -> Flood:
    """Flood the call's second end, and wait until it took all."""
    victim = call.b
    before = victim.threads.counters()
    to = [str(part) for part in call.address_b]
    command = [sys.executable, "-c", FLOODER, *to, str(RATE), str(SECONDS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    sent = int(done.stdout)
    late_ms = 0.0

    def so_far() -> Flood:
        nonlocal late_ms
        now = victim.threads.counters()
        late_ms = max(late_ms, now["rx_late_max_ms"])
        rose = {name: now[name] - before[name] for name in now if isinstance(now[name], int)}
        return Flood(sent, late_ms, rose)

    # The last of them may still wait in the socket's buffer.
    wait_for(lambda: so_far().dropped >= sent, call.a, call.b)
    return so_far()


@pytest.mark.slow
def test_a_flood_costs_no_call_its_audio() -> None:
    try_until_undisturbed(check_flood)


def check_flood() -> bool:
    """Flood twenty calls; whether packets were read in time, without which it was no test."""
    b, a = End(), End()
    calls = [Call(a, b) for _ in range(CALLS)]
    for call in calls:
        call.at_a.outbound.write(tone(300, 2 * SECONDS + 2), 0)
    wait_for(lambda: calls[-1].at_b.inbound.ring.position > 8000, a, b)
    done = flood(calls[0])
    print(f"{done.sent} datagrams, read at most {done.late_ms:.1f} ms after they came")
    undisturbed = done.late_ms < STALL_MS
    assert done.dropped == done.sent
    assert done.counters["throttled"] == done.counters["datagrams_lost"] == 0
    if undisturbed:
        assert done.counters["kernel_drops"] == 0
    for call in calls:
        stats = call.at_a.stats()
        sent = stats["sent"] - stats["unsent"]  # before it had a way
        assert sent > 0
        if undisturbed:
            # All of it, however many the machine let the far end send.
            wait_for(lambda c=call, n=sent: c.at_b.stats()["received"] >= n, a, b)
            assert call.at_b.stats()["lost"] == 0
        assert call.at_b.stats()["rejected"] == 0
    a.threads.close()
    b.threads.close()
    return undisturbed
