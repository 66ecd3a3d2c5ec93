"""The jitter buffer against plain rules, over random streams and random garbage."""

from __future__ import annotations

import random

import pytest

from native.jitter_bench import FRAME, MS, Driver
from voicecore._native import jitter

SEEDS = range(8)


def bad_network(rng: random.Random, packets: int) -> list[tuple[float, int]]:
    """``(arrival ms, index)`` with loss, bursts of delay, swaps and duplicates."""
    arrivals = []
    spike = 0.0
    for index in range(packets):
        if rng.random() < 0.01:
            spike = rng.uniform(0, 400)
        spike = max(0.0, spike - 20)
        at_ms = index * 20 + 30 + spike + rng.expovariate(0.3)
        if rng.random() < 0.05:
            at_ms += rng.uniform(0, 120)
        if rng.random() > 0.06:
            arrivals.append((at_ms, index))
        if rng.random() < 0.03:
            arrivals.append((at_ms + rng.uniform(0, 60), index))
    return sorted(arrivals)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_streams(seed: int) -> None:
    rng = random.Random(seed)
    first = rng.randrange(65536)
    line = Driver()
    taken: set[int] = set()  # what was pushed with status OK
    for at_ms, index in bad_network(rng, 1500):
        index += first
        status = line.push(index, at_ms, flags=jitter.FEC_FLAG if index % 2 else 0)
        assert status in (jitter.OK, jitter.DUP, jitter.LATE), f"seed {seed}"
        assert (status == jitter.DUP) <= (index in taken or line.buffer.stats()["late"] > 0)
        if status == jitter.OK:
            assert index not in taken
            taken.add(index)
    line.until(line.now_ns + 200 * MS)

    frames = [event for _, event in line.events if event[0] == "frame"]
    numbers = [event[2] for event in frames]
    assert numbers == sorted(taken), "each packet taken comes out once, in order"
    assert all(event[4] == str(event[2]).encode() for event in frames)
    # Every tick of media time is accounted for by exactly one event.
    media = sum(
        (FRAME if kind == "frame" else 0) + samples
        for kind, samples in ((e[0], e[1]) for _, e in line.events)
    )
    assert media == (numbers[-1] - numbers[0] + 1) * FRAME
    stats = line.buffer.stats()
    assert stats["lost"] == numbers[-1] - numbers[0] + 1 - len(numbers)
    assert stats["expected"] == numbers[-1] - numbers[0] + 1
    assert sum(stats["delay_ms"]) == len(frames)
    assert stats["received"] == len(taken) + stats["late"] + stats["duplicate"]


@pytest.mark.parametrize("seed", SEEDS)
def test_splitting_pops_changes_nothing(seed: int) -> None:
    """Popped at every deadline, or also at random times between: the same comes out."""
    rng = random.Random(seed)
    often, seldom = Driver(), Driver()
    for at_ms, index in bad_network(rng, 400):
        for _ in range(rng.randrange(3)):
            often.until(often.now_ns + int(rng.random() * max(0, at_ms * MS - often.now_ns)))
            often.drain()
        assert often.push(index, at_ms) == seldom.push(index, at_ms)
    assert often.events == seldom.events, f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_garbage(seed: int) -> None:
    """Any numbers at any time: no crash, no endless loop, counters that add up."""
    rng = random.Random(seed)
    line = Driver()
    seq, ts, pushed = rng.getrandbits(16), rng.getrandbits(32), 0
    for _ in range(1500):
        roll = rng.random()
        if roll < 0.1:
            seq = rng.getrandbits(16)
        if roll < 0.05:
            ts = rng.getrandbits(32)
        seq = (seq + rng.choice((-70, -3, -1, 0, 1, 1, 1, 1, 2, 5, 63, 64))) & 0xFFFF
        ts = (ts + rng.choice((0, 1, 480, 960, 960, 960, 5760, 48000))) & 0xFFFFFFFF
        line.until(line.now_ns + rng.choice((0, 0, 1, 20, 20, 20, 300, 5000)) * MS)
        payload = bytes(rng.choice((0, 1, 3, 80, 512, 513, 1500, 1501, 3000)))
        more = {"samples": rng.choice((0, 0, 960, 120, 5760, 65535)), "ssrc": rng.randrange(2)}
        flags = rng.getrandbits(8)
        put = line.buffer.fill if rng.random() < 0.2 else line.buffer.push
        put(seq, ts, line.now_ns, payload, flags, **more)
        pushed += put == line.buffer.push
        if rng.random() < 0.8:
            line.drain()
    line.until(line.now_ns + 300 * MS)
    stats = line.buffer.stats()
    assert stats["received"] <= pushed, f"seed {seed}"
    assert stats["frames"] == sum(1 for _, event in line.events if event[0] == "frame")
    assert stats["frames"] + stats["late"] + stats["duplicate"] <= stats["received"] + stats["red"]
    assert stats["resets"] <= stats["probes"]
    assert all(event[1] >= 0 for _, event in line.events)
