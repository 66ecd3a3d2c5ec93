"""Media threads that stood still: what they count, and what they send then."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from loopback import LOOPBACK
from native.plane_kit import DEADLINE_S, OPUS, PROFILE, is_rtp
from native.test_inbound import opus_payloads
from voicecore._native import rtp
from voicecore._native.srtp import SrtpContext

pytestmark = pytest.mark.realtime

QUIET_S = 0.25
FRAME_TICKS = 960
FRAME_S = 0.02


class Stalled:
    """A process that sends us audio, and that we stop."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        self.socket.settimeout(DEADLINE_S)
        host, port = self.socket.getsockname()
        program = Path(__file__).parent / "plane_stalled.py"
        self.process = subprocess.Popen(
            [sys.executable, str(program), host, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self._in: IO[str] = self.process.stdin  # type: ignore[assignment]
        self._out: IO[str] = self.process.stdout  # type: ignore[assignment]
        self.address = tuple(json.loads(self._out.readline()))
        self._receiving = SrtpContext(PROFILE, bytes(30), sending=False)
        self._sending = SrtpContext(PROFILE, bytes(30), sending=True)

    def counters(self) -> dict[str, Any]:
        self._in.write("\n")
        self._in.flush()
        found: dict[str, Any] = json.loads(self._out.readline())
        return found

    def next_rtp(self) -> Any:
        """The next packet's header; the process's greeting and reports are passed over."""
        while True:
            data = self.socket.recv(4096)
            if is_rtp(data):
                return rtp.parse(self._receiving.rtp(data))

    def until_quiet(self) -> list[Any]:
        """Headers of what comes until nothing comes."""
        found = []
        self.socket.settimeout(QUIET_S)
        try:
            while True:
                found.append(self.next_rtp())
        except TimeoutError:
            return found
        finally:
            self.socket.settimeout(DEADLINE_S)

    def send_rtp(self, number: int) -> None:
        packet = rtp.header(OPUS, number, number * FRAME_TICKS, 7) + opus_payloads(1)[0]
        self.socket.sendto(self._sending.rtp(packet), self.address)

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self._in.close()
        self.process.wait(DEADLINE_S)
        self._out.close()
        self.socket.close()


@pytest.fixture
def stalled() -> Iterator[Stalled]:
    made = Stalled()
    yield made
    made.close()


def test_after_a_stall_the_voice_goes_on_and_the_packets_waited(stalled: Stalled) -> None:
    heard = [stalled.next_rtp() for _ in range(5)]
    before = stalled.counters()
    stalled.process.send_signal(signal.SIGSTOP)
    last = [*heard, *stalled.until_quiet()][-1]
    for number in range(10):
        stalled.send_rtp(number)
    assert not stalled.until_quiet()
    began_s = time.monotonic()
    stalled.process.send_signal(signal.SIGCONT)
    after = [stalled.next_rtp() for _ in range(10)]
    took_s = time.monotonic() - began_s
    counters = stalled.counters()

    headers = [last, *after]
    numbers = [(h.sequence - last.sequence) % 65_536 for h in headers]
    assert numbers == list(range(11)), "nothing is missing"
    steps = [
        (b.timestamp - a.timestamp) % 2**32 // FRAME_TICKS
        for a, b in zip(headers, after, strict=False)
    ]
    left_out = sum(steps) - len(steps)
    # Twice quiet; the first time may have begun a frame before the last packet was read.
    assert left_out >= (2 * QUIET_S - 0.1) / FRAME_S
    assert took_s > 5 * FRAME_S, "and not all at once"
    skipped = counters["tx_skipped"] - before["tx_skipped"]
    assert skipped == left_out
    late = sum(counters["tx_late_ms"][40:]) - sum(before["tx_late_ms"][40:])
    assert late >= skipped - 2, "each counts as late"
    assert counters["tx_late_max_ms"] >= left_out * FRAME_S * 1000
    # Every sample once: what was left out was time, not voice.
    sent, played = (counters[name] - before[name] for name in ("sent", "position"))
    assert abs(sent * 480 - played) <= 480, "one may have been under way"

    assert sum(counters["rx_late_ms"]) - sum(before["rx_late_ms"]) == 10
    assert counters["rx_late_ms"][-1] - before["rx_late_ms"][-1] == 10
    assert counters["rx_late_max_ms"] > QUIET_S * 900
