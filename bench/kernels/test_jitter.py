"""The jitter buffer: what every packet pays, in C and from Python, against what others do.

The schedules are those of a stream in order, and of one with a tenth of its packets lost and a
twentieth swapped with the next one.
"""

from __future__ import annotations

import ctypes
import functools
import random
from collections.abc import Callable

import pytest
from aiortc.jitterbuffer import JitterBuffer as AiortcJitterBuffer
from aiortc.rtp import RtpPacket

from jitter.evaluation import draw_curves
from kernels.compiled import compiled
from kernels.conftest import Race
from report import ROOT, quick
from voicecore._native.jitter import JitterBuffer

COUNT = 4000
CALLS = 1000
LOST = -(2**31)
PAYLOAD = bytes(80)
FRAME_NS = 20_000_000

Steps = ctypes.Array[ctypes.c_int32]


def _schedule(count: int, *, rough: bool) -> tuple[Steps, int]:
    """Numbers relative to their turn, and how many packets that are."""
    rng = random.Random(1)
    steps = [LOST if rough and rng.random() < 0.1 else 0 for _ in range(count)]
    for i in range(0, count - 1, 2):
        if rough and rng.random() < 0.1 and steps[i] == steps[i + 1] == 0:
            steps[i], steps[i + 1] = 1, -1
    return (ctypes.c_int32 * count)(*steps), sum(step != LOST for step in steps)


@functools.cache
def _library() -> ctypes.CDLL:
    library = compiled("jitter", "jitter.c")
    library.fleet_new.restype = ctypes.c_void_p
    arguments = [ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.fleet_run.argtypes = [ctypes.c_void_p, *arguments]
    library.speex_run.argtypes = arguments
    library.fleet_pairs.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_int]
    for function in (library.fleet_run, library.fleet_pairs, library.speex_run):
        function.restype = ctypes.c_int64
    library.fleet_free.argtypes = [ctypes.c_void_p]
    return library


def _pairs(race: Race, name: str, calls: int, goal_ns: float) -> None:
    """A push and a pop for each packet; every one must come out."""
    library = _library()
    count = COUNT if calls == 1 else 40
    fleet = library.fleet_new(calls)
    assert library.fleet_pairs(fleet, count, PAYLOAD, len(PAYLOAD)) == count * calls

    def run() -> None:
        library.fleet_pairs(fleet, count, PAYLOAD, len(PAYLOAD))

    race(name, "ours", run, per_call=count * calls, goal_ns=goal_ns)
    library.fleet_free(fleet)


def _drained(race: Race, name: str, *, rough: bool, goal_ns: float | None) -> None:
    """A push for each packet, then pops until nothing is left."""
    library = _library()
    steps, packets = _schedule(COUNT, rough=rough)
    fleet = library.fleet_new(1)

    def run() -> None:
        library.fleet_run(fleet, COUNT, steps, PAYLOAD, len(PAYLOAD))

    race(name, "ours", run, per_call=packets, goal_ns=goal_ns)
    library.fleet_free(fleet)


def _speex(race: Race, name: str, *, rough: bool) -> None:
    library = _library()
    if not library.speex_open():
        pytest.skip("libspeexdsp.so.1 is not installed")
    steps, packets = _schedule(COUNT, rough=rough)
    run = lambda: library.speex_run(COUNT, steps, PAYLOAD, len(PAYLOAD))  # noqa: E731
    race(name, "speexdsp", run, per_call=packets)


def test_a_push_and_a_pop(race: Race) -> None:
    _pairs(race, "jitter buffer in C: push and pop", 1, goal_ns=20)


def test_a_thousand_calls(race: Race) -> None:
    _pairs(race, "jitter buffer in C: the same, 1,000 calls in turn", CALLS, goal_ns=50)


@pytest.mark.parametrize("who", ["ours", "speexdsp"])
@pytest.mark.parametrize(
    ("rough", "name", "goal_ns"),
    [
        (False, "jitter buffer in C: in order, popped till empty", None),
        (True, "jitter buffer in C: 10% lost, 5% swapped", 100.0),
    ],
    ids=["in order", "rough"],
)
def test_popped_till_empty(
    race: Race, who: str, rough: bool, name: str, goal_ns: float | None
) -> None:
    if who == "ours":
        _drained(race, name, rough=rough, goal_ns=goal_ns)
    else:
        _speex(race, name, rough=rough)


# -- from Python: arguments made beforehand, so that the calls alone are measured ----------------


def _ours_in_python() -> Callable[[], object]:
    buffer = JitterBuffer()
    # As many numbers as there are: the next round goes on where this one ended.
    packets = [(i, i * 960 & 0xFFFFFFFF) for i in range(1 << 16)]
    state = [0]

    def run() -> None:
        first = state[0]
        now_ns = first * FRAME_NS
        push, pop = buffer.push, buffer.pop
        for seq, ts in packets[first & 0xFFFF : (first & 0xFFFF) + 1024]:
            push(seq, ts, now_ns, PAYLOAD)
            pop(now_ns)
        state[0] = first + 1024

    return run


def _aiortc() -> Callable[[], object]:
    buffer = AiortcJitterBuffer(capacity=16, prefetch=4)
    packets = [
        RtpPacket(payload_type=111, sequence_number=i, timestamp=i * 960 & 0xFFFFFFFF)
        for i in range(1 << 16)
    ]
    for packet in packets:
        packet._data = PAYLOAD
    state = [0]

    def run() -> None:
        first = state[0]
        add = buffer.add
        for packet in packets[first : first + 1024]:
            add(packet)
        state[0] = (first + 1024) & 0xFFFF

    return run


@pytest.mark.parametrize(("who", "make"), [("ours", _ours_in_python), ("aiortc", _aiortc)])
def test_from_python(race: Race, who: str, make: Callable[[], Callable[[], object]]) -> None:
    name = "jitter buffer from Python: push and pop"
    race(name, who, make(), per_call=1024, goal_ratio=3.0, goal_ns=300)


def test_curves_drawn() -> None:
    """Added delay and losses on bad networks; ``make bench-jitter`` measures them in full."""
    draw_curves(seed=1, packets=2000 if quick() else 8000)
    assert (ROOT / "build" / "bench" / "jitter-delay.png").stat().st_size > 10_000
