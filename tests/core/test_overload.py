"""The overload policy: each signal by table, hysteresis, and a ramp of calls."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from voicecore.core.overload import (
    Limits,
    Load,
    OverloadLevel,
    OverloadState,
    calm_ns,
    decide,
)
from voicecore.core.units import NS_PER_S, ms_to_ns
from voicecore.errors import MisuseError

NORMAL, SAVING, SPARING, REFUSING = OverloadLevel
CALM = Load(active_calls=10)


def run(loads: list[Load], limits: Limits | None = None, period_ms: float = 1000) -> list[int]:
    """Levels after each of ``loads``, one each ``period_ms``."""
    state, levels = OverloadState(), []
    for i, load in enumerate(loads):
        state, level = decide(state, load, limits or Limits(), ms_to_ns(i * period_ms))
        assert level is state.level
        levels.append(int(level))
    return levels


def load(**signals: float) -> Load:
    return replace(CALM, **signals)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("signals", "level"),
    [
        ({}, NORMAL),
        ({"tx_late_p99_ms": 3.9}, NORMAL),
        ({"tx_late_p99_ms": 4}, SAVING),
        ({"tx_late_p99_ms": 8}, SPARING),
        ({"tx_late_p99_ms": 12}, REFUSING),
        ({"tx_late_max_ms": 19.9}, NORMAL),
        ({"tx_late_max_ms": 20}, SAVING),
        ({"tx_late_max_ms": 60}, SPARING),
        ({"tx_late_max_ms": 60_000}, SPARING),
        ({"rx_late_p99_ms": 12}, SAVING),
        ({"rx_late_p99_ms": 20}, SPARING),
        ({"rx_late_p99_ms": 30}, REFUSING),
        ({"rx_dropped": 1}, SPARING),
        ({"rx_dropped": 50}, REFUSING),
        ({"tx_late_p99_ms": 4, "rx_dropped": 1}, SPARING),
        ({"tx_late_p99_ms": math.nan}, NORMAL),
    ],
)
def test_what_callers_hear_counts_at_once(signals: dict[str, Any], level: OverloadLevel) -> None:
    assert run([load(**signals)]) == [level]


@pytest.mark.parametrize(
    ("signals", "level"),
    [
        ({"cpu_share": 0.69}, NORMAL),
        ({"cpu_share": 0.7}, SAVING),
        ({"cpu_share": 0.8}, SPARING),
        ({"cpu_share": 0.9}, REFUSING),
        ({"loop_lag_ms": 49}, NORMAL),
        ({"loop_lag_ms": 50}, SAVING),
        ({"loop_lag_ms": 100}, SPARING),
        ({"loop_lag_ms": 250}, REFUSING),
        ({"cpu_share": 0.7, "loop_lag_ms": 100}, SPARING),
    ],
)
def test_what_only_announces_it_counts_after_a_second(
    signals: dict[str, Any], level: OverloadLevel
) -> None:
    busy = load(**signals)
    assert run([busy, busy]) == [NORMAL, level]
    # A second of work is no overload, nor is one every other second.
    assert run([busy, CALM] * 10) == [NORMAL] * 20


def test_only_the_lowest_of_a_second_lasts() -> None:
    assert run([load(cpu_share=0.95), load(cpu_share=0.75), load(cpu_share=0.95)]) == [
        NORMAL,
        SAVING,
        SAVING,
    ]


def test_down_goes_one_level_each_five_calm_seconds() -> None:
    levels = run([load(tx_late_p99_ms=15), *[CALM] * 17])
    assert levels == [3] * 6 + [2] * 5 + [1] * 5 + [0] * 2


def test_a_level_is_held_down_to_four_fifths_of_what_raised_it() -> None:
    hot, warm, cool = (load(tx_late_p99_ms=ms) for ms in (12, 9.7, 9.5))
    assert run([hot, *[warm] * 30])[-1] == REFUSING
    assert run([hot, *[cool] * 6])[-1] == SPARING
    # Calm is five seconds in a row.
    assert run([hot, *[CALM, CALM, CALM, warm] * 10])[-1] == REFUSING


def test_a_relapse_holds_twice_as_long_and_no_longer_than_four_times() -> None:
    limits, state, now_ns = Limits(), OverloadState(), 0
    held_s = []
    for _ in range(5):
        state, _level = decide(state, load(rx_dropped=1), limits, now_ns)
        since_ns = now_ns
        while state.level is SPARING:
            now_ns += NS_PER_S
            state, _level = decide(state, CALM, limits, now_ns)
        held_s.append((now_ns - since_ns) // NS_PER_S - 1)
    assert held_s == [5, 10, 20, 20, 20]
    assert calm_ns(state, limits) == 20 * NS_PER_S
    # Long after, all is forgotten.
    now_ns += 60 * NS_PER_S
    state, _level = decide(state, load(rx_dropped=1), limits, now_ns)
    assert calm_ns(state, limits) == 5 * NS_PER_S


def test_without_calls_nothing_is_given_up() -> None:
    idle = replace(load(cpu_share=1, loop_lag_ms=500, rx_dropped=99), active_calls=0)
    assert run([idle] * 10) == [NORMAL] * 10
    # And the last call's end gives back what was taken, in its time.
    assert run([load(rx_dropped=50), *[idle] * 16])[-1] == NORMAL


def test_the_time_between_measurements_may_vary() -> None:
    busy = load(cpu_share=0.95)
    assert run([busy, busy], period_ms=950) == [NORMAL, REFUSING]
    assert run([busy] * 3, period_ms=500) == [NORMAL, NORMAL, REFUSING]


@pytest.mark.parametrize("steps", [(0, 1, 2), (2, 1, 3), (1, 3, 2), (math.nan, 1, 2)])
def test_limits_rise(steps: tuple[float, float, float]) -> None:
    with pytest.raises(MisuseError, match="cpu_share must rise"):
        Limits(cpu_share=steps)


# -- a ramp of calls ---------------------------------------------------------------------


@dataclass
class Server:
    """One core: what a call costs at each level, and how packets queue behind the work.

    A tick's work waits for what is under way: with a share of the core taken, a burst of
    ``burst_ms`` delays packets by ``burst_ms * share / (1 - share)``.
    """

    cost: tuple[float, ...] = (0.010, 0.008, 0.0065, 0.0065)
    burst_ms: float = 1.5
    calls: int = 0
    level: OverloadLevel = NORMAL

    def load(self) -> Load:
        share = min(self.calls * self.cost[self.level], 1.0)
        late_ms = self.burst_ms * share / (1 - share) if share < 0.999 else 1000.0
        return Load(self.calls, share, late_ms / 2, late_ms, late_ms * 2)


def test_new_calls_are_refused_before_audio_breaks() -> None:
    server, state = Server(), OverloadState()
    admitted = refused = 0
    seen = [NORMAL]
    for second in range(600):
        # Two calls a second ask for five minutes, and nobody hangs up.
        for _ in range(2 if second < 300 else 0):
            if server.level is REFUSING:
                refused += 1
            else:
                server.calls += 1
                admitted += 1
        measured = server.load()
        assert measured.tx_late_p99_ms < 20, f"audio breaks after {second} s"
        state, server.level = decide(state, measured, Limits(), second * NS_PER_S)
        if server.level is not seen[-1]:
            seen.append(server.level)
    assert refused > 0
    # More than without sparing anything would have fitted.
    assert admitted > 100
    assert seen[:4] == [NORMAL, SAVING, SPARING, REFUSING]
    assert len(seen) < 20, "levels come and go"


def test_a_rush_stops_and_its_end_brings_everything_back() -> None:
    server, state = Server(), OverloadState()
    levels = []
    for second in range(200):
        if 10 <= second < 40 and server.level is not REFUSING:
            server.calls += 10
        if second >= 100:
            server.calls = max(server.calls - 10, 20)
        state, server.level = decide(state, server.load(), Limits(), second * NS_PER_S)
        levels.append(server.level)
    assert max(levels) is REFUSING
    assert levels[-1] is NORMAL
    assert server.load().tx_late_p99_ms < 4
