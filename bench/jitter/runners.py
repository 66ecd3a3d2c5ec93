"""Three jitter buffers over one arrival list: ours, aiortc's, and one of a fixed 60 ms.

Added delay is the time from a packet's arrival to its coming out; a packet is late when it
arrived and never came out (copies of one that did don't count); concealed is all that the
listener was owed and no packet gave.
"""

from __future__ import annotations

import ctypes
import functools
import time
from dataclasses import dataclass

import numpy as np
from aiortc.jitterbuffer import JitterBuffer as AiortcJitterBuffer
from aiortc.rtp import RtpPacket
from numpy.typing import NDArray

from jitter.arrivals import Arrivals
from kernels.compiled import compiled

FIXED_NS = 60_000_000
FIXED_REANCHOR = 10
"""Late packets in a row after which the fixed buffer sets its clock anew."""

_OUTCOME = (
    "frames", "received", "expected", "lost", "late", "duplicate", "reordered", "concealed",
    "skipped", "noise", "stalls", "resets", "media", "out_of_order",
)  # fmt: skip


@dataclass
class Result:
    """How one buffer did. ``delays_ms`` of what came out; ``arrived`` counts no copies."""

    delays_ms: NDArray[np.float64]
    arrived: int
    late: int
    expected: int
    concealed_frames: float
    cpu_ns: float | None = None
    wait_ms: NDArray[np.float64] | None = None
    counts: dict[str, int] | None = None

    @property
    def late_percent(self) -> float:
        return 100 * self.late / max(1, self.arrived)

    @property
    def concealed_percent(self) -> float:
        return 100 * self.concealed_frames / max(1, self.expected)


def delay_figures(delays_ms: NDArray[np.float64]) -> dict[str, float | None]:
    """Mean, p95 and p99, None where nothing came out."""
    if len(delays_ms) == 0:
        return {"mean_ms": None, "p95_ms": None, "p99_ms": None}
    p95, p99 = np.percentile(delays_ms, [95, 99], method="higher")
    return {"mean_ms": float(delays_ms.mean()), "p95_ms": float(p95), "p99_ms": float(p99)}


@functools.cache
def _library() -> ctypes.CDLL:
    library = compiled("jitter_trace", "jitter.c")
    library.trace_run.argtypes = [
        ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_int32, ctypes.c_int64,
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    return library


def ours(arrivals: Arrivals, *, rtt_ms: float = -1, waits: bool = False) -> Result:
    """Our buffer, in C, popped at every deadline."""
    packets = np.ascontiguousarray(arrivals.packets)
    delays = np.empty(len(packets), np.int64)
    wait = np.empty(len(packets), np.int64) if waits else None
    out = np.zeros(len(_OUTCOME), np.int64)
    rtt_ns = -1 if rtt_ms < 0 else int(rtt_ms * 1e6)
    start_ns = time.thread_time_ns()
    status = _library().trace_run(
        packets.ctypes.data, len(packets), arrivals.clock_hz, arrivals.frame, rtt_ns,
        delays.ctypes.data, wait.ctypes.data if wait is not None else None, out.ctypes.data,
    )  # fmt: skip
    spent_ns = time.thread_time_ns() - start_ns
    if status != 0:
        raise MemoryError("no memory for a jitter buffer")
    counts = dict(zip(_OUTCOME, out.tolist(), strict=True))
    delays_ms = delays[: counts["frames"]] / 1e6
    return Result(
        delays_ms,
        arrived=arrivals.unique,
        late=arrivals.unique - len(delays_ms),
        expected=arrivals.sent or counts["expected"],
        concealed_frames=(counts["concealed"] + counts["skipped"]) / arrivals.frame,
        cpu_ns=spent_ns / max(1, len(packets)),
        wait_ms=wait / 1e6 if wait is not None else None,
        counts=counts,
    )


def aiortc(arrivals: Arrivals) -> Result:
    """aiortc's buffer as its receiver makes it; a frame comes out when another packet is added."""
    buffer = AiortcJitterBuffer(capacity=16, prefetch=4)
    arrived_ns: dict[int, int] = {}
    delays_ms: list[float] = []
    rows = zip(*(arrivals.packets[n].tolist() for n in ("arrival_ns", "seq", "ts")), strict=True)
    packets = [(at_ns, seq, ts, RtpPacket(payload_type=111)) for at_ns, seq, ts in rows]
    for _, seq, ts, packet in packets:
        packet.sequence_number, packet.timestamp, packet._data = seq, ts, b""
    for at_ns, _, ts, packet in packets:
        arrived_ns.setdefault(ts, at_ns)
        _, frame = buffer.add(packet)
        if frame is not None and frame.timestamp in arrived_ns:
            delays_ms.append((at_ns - arrived_ns.pop(frame.timestamp)) / 1e6)
    held = sum(packet is not None for packet in buffer._packets)
    return _peer(
        arrivals, np.array(delays_ms), held, _aiortc_cost([packet for *_, packet in packets])
    )


def fixed(arrivals: Arrivals) -> Result:
    """A playout clock 60 ms behind the first packet; it starts anew where that no longer fits."""
    packets = arrivals.packets
    delays_ms: list[float] = []
    origin_ns: int | None = None
    late_in_a_row = 0
    played: set[int] = set()
    media, last_ts, source = 0, int(packets["ts"][0]), int(packets["ssrc"][0])
    rows = zip(*(packets[n].tolist() for n in ("arrival_ns", "ts", "ssrc")), strict=True)
    for at_ns, ts, ssrc in rows:
        if ssrc != source:
            source, origin_ns = ssrc, None
        if ts in played:
            continue
        media += (ts - last_ts + 2**31) % 2**32 - 2**31
        last_ts = ts
        media_ns = media * 1_000_000_000 // arrivals.clock_hz
        if origin_ns is None or late_in_a_row >= FIXED_REANCHOR:
            origin_ns, late_in_a_row = at_ns + FIXED_NS - media_ns, 0
        wait_ns = origin_ns + media_ns - at_ns
        if wait_ns < 0:
            late_in_a_row += 1
            continue
        late_in_a_row = 0
        played.add(ts)
        delays_ms.append(wait_ns / 1e6)
    return _peer(arrivals, np.array(delays_ms), 0, None)


def _peer(
    arrivals: Arrivals, delays_ms: NDArray[np.float64], held: int, cpu_ns: float | None
) -> Result:
    arrived = arrivals.unique
    expected = arrivals.sent or arrived
    out = len(delays_ms) + held  # what it still holds at the end isn't late
    return Result(delays_ms, arrived, arrived - out, expected, expected - out, cpu_ns)


def _aiortc_cost(packets: list[RtpPacket]) -> float:
    """CPU per packet with nothing else in the loop."""
    buffer = AiortcJitterBuffer(capacity=16, prefetch=4)
    start_ns = time.thread_time_ns()
    for packet in packets:
        buffer.add(packet)
    return (time.thread_time_ns() - start_ns) / max(1, len(packets))
