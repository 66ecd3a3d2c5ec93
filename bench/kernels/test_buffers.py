"""The ring: what every block pays, against what others do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache, partial
from types import ModuleType

import numpy as np
import pytest

from kernels.compiled import compiled_cython
from kernels.conftest import Race
from voicecore._native.chunks import Splitter
from voicecore._native.ring import AudioRing

BLOCK = np.zeros(320, np.int16)


def _ours_copies() -> Callable[[], object]:
    ring = AudioRing(480_000)
    vad, stt = ring.reader(), ring.reader()

    def step() -> None:
        ring.write(BLOCK)
        vad.read(512)
        stt.read(1600)

    return step


def _ours_views() -> Callable[[], object]:
    ring = AudioRing(480_000)
    vad, stt = ring.reader(), ring.reader()

    def step() -> None:
        ring.write(BLOCK)
        vad.view(512)
        stt.view(1600)

    return step


def _ours_own_arrays() -> Callable[[], object]:
    ring = AudioRing(480_000)
    vad, stt = ring.reader(), ring.reader()
    frame, chunk = np.empty(512, np.int16), np.empty(1600, np.int16)

    def step() -> None:
        ring.write(BLOCK)
        vad.read_into(frame)
        stt.read_into(chunk)

    return step


def _ours_split(views: bool) -> Callable[[], object]:
    """One call writes and hands out what is due to both readers."""
    return partial(Splitter(AudioRing(480_000), (512, 1600), views=views).push, BLOCK)


def _calls_alone() -> Callable[[], object]:
    """What Python takes for three calls that do next to nothing: no ring can be faster."""
    writer, vad, stt = [], [], []

    def step() -> None:
        writer.extend(())
        vad.count(512)
        stt.count(1600)

    return step


def _bytes_concatenated() -> Callable[[], object]:
    state = {"vad": b"", "stt": b""}
    data = BLOCK.tobytes()

    def step() -> None:
        for name, size in (("vad", 1024), ("stt", 3200)):
            state[name] += data
            if len(state[name]) >= size:
                np.frombuffer(state[name][:size], np.int16)
                state[name] = state[name][size:]

    return step


def _deque_of_bytes() -> Callable[[], object]:
    data = BLOCK.tobytes()
    queues: list[tuple[int, deque[bytes]]] = [(1024, deque()), (3200, deque())]
    held = [0, 0]

    def step() -> None:
        for i, (size, queue) in enumerate(queues):
            queue.append(data)
            held[i] += len(data)
            if held[i] >= size:
                joined = b"".join(queue)
                queue.clear()
                queue.append(joined[size:])
                held[i] = len(joined) - size
                np.frombuffer(joined[:size], np.int16)

    return step


RINGS = {
    "copies": (_ours_copies, None),
    "views": (_ours_views, None),
    "own arrays": (_ours_own_arrays, None),
    "in one call, copies": (partial(_ours_split, False), None),
    "in one call, views": (partial(_ours_split, True), 150.0),
}
RING_PEERS = {"bytes": _bytes_concatenated, "bytes and deque": _deque_of_bytes}


@pytest.mark.parametrize("who", ["ours", *RING_PEERS])
@pytest.mark.parametrize("how", RINGS)
def test_ring(race: Race, how: str, who: str) -> None:
    """A write of 20 ms and a try of two readers: one of 512, one of 1600 samples."""
    make, goal_ns = RINGS[how]
    title = f"ring: write, two readers, {how}"
    goal_ratio = 10.0 if goal_ns else None
    race(title, who, RING_PEERS.get(who, make)(), goal_ratio=goal_ratio, goal_ns=goal_ns)


@cache
def _native_steps() -> ModuleType:
    return compiled_cython("ring_steps")


@pytest.mark.parametrize("how", ["copies", "views"])
def test_ring_from_native_code(race: Race, how: str) -> None:
    ring, steps = AudioRing(480_000), 1000
    run = partial(getattr(_native_steps(), how), ring, ring.reader(), ring.reader(), steps)
    race(f"ring: the same from native code, {how}", "ours", run, per_call=steps)


def test_three_calls(race: Race) -> None:
    race("three method calls alone (the floor of a ring)", "ours", _calls_alone())
