"""A flood of garbage at a port on which calls run: it costs little, and no call its audio."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from native.plane_kit import Call, End, tone, wait_for

CALLS = 20
RATE = 50_000  # datagrams a second
SECONDS = 2.0
MOST_US_EACH = 8.0  # 1.2 on a machine of our own
FLOODER = """
import os, socket, sys, time
host, port = sys.argv[1], int(sys.argv[2])
rate, seconds = int(sys.argv[3]), float(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, port))
noise = os.urandom(199)
kinds = [b"\\x80" + noise, b"\\x16" + noise, b"\\x50" + noise,
         bytes.fromhex("000100002112a442") + noise[:12]]
began, sent = time.monotonic(), 0
while (passed := time.monotonic() - began) < seconds:
    while sent < passed * rate:
        s.send(kinds[sent % 4])
        sent += 1
    time.sleep(0.0005)
print(sent)
"""


def receiving_threads() -> dict[str, float]:
    """CPU seconds so far of each receiving thread of this process."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("media-rx"):
            found[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return found


@pytest.mark.slow
def test_a_flood_costs_no_call_its_audio() -> None:
    others = receiving_threads()
    b = End()
    mine = next(iter(receiving_threads().keys() - others.keys()))
    a = End()
    calls = [Call(a, b) for _ in range(CALLS)]
    for call in calls:
        call.at_a.outbound.write(tone(300, 2 * SECONDS + 2), 0)
    wait_for(lambda: calls[-1].at_b.inbound.ring.position > 8000, a, b)
    positions = [call.at_b.inbound.ring.position for call in calls]
    counters, cpu_s = b.threads.counters(), receiving_threads()[mine]
    to = [str(part) for part in calls[0].address_b[:2]]
    command = [sys.executable, "-c", FLOODER, *to, str(RATE), str(SECONDS)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    sent = int(done.stdout)

    late_ms: list[float] = []

    def dropped() -> int:
        now = b.threads.counters()
        late_ms.append(now["rx_late_max_ms"])
        kinds = ("unknown_address", "unknown_name", "malformed", "kernel_drops")
        return sum(now[name] - counters[name] for name in kinds)

    # The last of them may still wait in the socket's buffer.
    wait_for(lambda: dropped() >= sent, a, b)
    dropped_all = dropped()
    after, cpu_s = b.threads.counters(), receiving_threads()[mine] - cpu_s
    each_us = cpu_s / sent * 1e6
    print(
        f"{sent} datagrams, {each_us:.2f} us of the receiving thread each (with the calls), "
        f"read at most {max(late_ms):.1f} ms after they came"
    )
    assert dropped_all == pytest.approx(sent, rel=0.001), "others may send there too"
    assert after["kernel_drops"] == 0
    assert after["throttled"] == after["datagrams_lost"] == 0
    assert each_us < MOST_US_EACH
    for call, position in zip(calls, positions, strict=True):
        stats = call.at_b.stats()
        assert call.at_b.inbound.ring.position - position > 0.9 * SECONDS * 16_000
        assert stats["lost"] == stats["rejected"] == 0
    a.threads.close()
    b.threads.close()
