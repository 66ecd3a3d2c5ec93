from __future__ import annotations

import random

import pytest

from voicecore.core.media_clock import MediaClock
from voicecore.core.units import NS_PER_MS


def feed(clock: MediaClock, packets: int, delay_ms: list[float], first: int = 0) -> None:
    for i in range(first, first + packets):
        now_ns = int(((i + 1) * 20 + delay_ms[i - first]) * NS_PER_MS)
        clock.observe((i + 1) * 320, now_ns)


def test_without_jitter_a_sample_is_due_when_it_came() -> None:
    clock = MediaClock(16_000)
    feed(clock, 10, [7.0] * 10)
    assert clock.time_of(1600) == 107 * NS_PER_MS


@pytest.mark.parametrize("seed", range(10))
def test_jitter_does_not_move_the_time_of_a_sample(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    clock = MediaClock(16_000)
    feed(clock, 300, [5 + rng.expovariate(1 / 10) for _ in range(300)])
    assert clock.time_of(300 * 320) / NS_PER_MS == pytest.approx(6005, abs=2)


def test_a_lasting_change_of_delay_is_followed_within_two_seconds() -> None:
    clock = MediaClock(16_000)
    feed(clock, 100, [5.0] * 100)
    feed(clock, 150, [85.0] * 150, first=100)
    assert clock.time_of(250 * 320) == 5085 * NS_PER_MS
