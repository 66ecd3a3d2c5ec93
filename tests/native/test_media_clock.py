from __future__ import annotations

import random

import numpy as np
import pytest

from native.gate_oracle import PlainClock
from voicecore._native.speech_gate import MediaClock
from voicecore.core.units import NS_PER_MS, NS_PER_S
from voicecore.errors import MisuseError

WEEK_S = 7 * 24 * 3600


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


def test_a_stall_does_not_move_the_time_of_what_comes_after_it() -> None:
    clock = MediaClock(16_000)
    feed(clock, 100, [5.0] * 100)
    # Nothing for 500 ms, then all of it at once.
    late = [5.0 + 20 * (25 - i) for i in range(25)]
    feed(clock, 25, late, first=100)
    assert clock.time_of(125 * 320) == 2505 * NS_PER_MS


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 16_000, 48_000])
def test_any_stream_against_the_oracle(rng: np.random.Generator, rate_hz: int) -> None:
    clock, plain = MediaClock(rate_hz), PlainClock(rate_hz)
    # Begins anywhere, so that what a long call reaches is met too.
    position = int(rng.integers(0, (1 << 40) - (1 << 28)))
    now_ns = int(rng.integers(-(1 << 61), 1 << 61))
    assert clock.time_of(position) == plain.time_of(position)
    for _ in range(500):
        position += int(rng.integers(-rate_hz, 3 * rate_hz))
        now_ns += int(rng.exponential(0.2) * NS_PER_S)
        clock.observe(position, now_ns)
        plain.observe(position, now_ns)
        for sample in (position, position - 1, 0, -position, 1 << 40):
            assert clock.time_of(sample) == plain.time_of(sample)


def test_a_call_of_a_week_keeps_its_time() -> None:
    clock = MediaClock(16_000)
    began_ns = 40 * 365 * 24 * 3600 * NS_PER_S
    clock.observe(0, began_ns)
    clock.observe(WEEK_S * 16_000, began_ns + WEEK_S * NS_PER_S)
    assert clock.time_of(WEEK_S * 16_000 + 1) == began_ns + WEEK_S * NS_PER_S + 62_500


@pytest.mark.parametrize("rate_hz", [0, -16_000, 7999, 192_001])
def test_rates_out_of_range_are_refused(rate_hz: int) -> None:
    with pytest.raises(MisuseError, match="rate_hz must be"):
        MediaClock(rate_hz)


def test_numbers_out_of_range_are_refused() -> None:
    clock = MediaClock(16_000)
    with pytest.raises(MisuseError, match="within 2"):
        clock.observe((1 << 40) + 1, 0)
    with pytest.raises(MisuseError, match="within 2"):
        clock.observe(0, (1 << 62) + 1)
    with pytest.raises(MisuseError, match="within 2"):
        clock.time_of(-(1 << 40) - 1)
