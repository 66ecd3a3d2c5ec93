"""How the voice is sent, by what the network does: a table, and calls with loss on and off."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from voicecore.core.send_policy import (
    FEC_BANDWIDTH_HZ,
    FEC_BITRATE_BPS,
    HEAVY_BITRATE_BPS,
    HOLD_NS,
    Level,
    NetworkReport,
    SendLimits,
    SendSettings,
    SendState,
    decide,
)
from voicecore.core.units import NS_PER_MS, NS_PER_S

BOTH = SendLimits(red=True)
FEC_ONLY = SendLimits()
NEITHER = SendLimits(fec=False)
NARROW = SendLimits(red=True, max_bitrate_bps=100_000)


def fec(bitrate_bps: int, complexity: int, *, red: bool) -> SendSettings:
    return SendSettings(bitrate_bps, complexity, True, 10, red, FEC_BANDWIDTH_HZ)


def second(loss: float, overload: int = 0) -> NetworkReport:
    return NetworkReport(loss=loss, packets=50, overload=overload)


@pytest.mark.parametrize(
    ("limits", "loss", "overload", "expected"),
    [
        # a clean network: CELT as configured, whatever was negotiated
        (BOTH, 0.0, 0, SendSettings(64_000, 0, False, 0, False)),
        (FEC_ONLY, 0.01, 0, SendSettings(64_000, 0, False, 0, False)),
        # RED where there is room for twice the bytes, else FEC, else nothing helps
        (BOTH, 0.02, 0, SendSettings(64_000, 0, False, 0, True)),
        (FEC_ONLY, 0.04, 0, fec(64_000, 0, red=False)),
        (NARROW, 0.04, 0, fec(64_000, 0, red=False)),
        (NEITHER, 0.04, 0, SendSettings(64_000, 0, False, 0, False)),
        # one loss alone raises RED, not FEC
        (FEC_ONLY, 0.02, 0, SendSettings(64_000, 0, False, 0, False)),
        # heavy
        (BOTH, 0.12, 0, fec(HEAVY_BITRATE_BPS, 0, red=True)),
        (FEC_ONLY, 0.10, 0, fec(HEAVY_BITRATE_BPS, 0, red=False)),
        (NEITHER, 0.5, 0, SendSettings(HEAVY_BITRATE_BPS, 0, False, 0, False)),
        # overload: complexity 0; RED even at a lower bit rate rather than FEC; then no FEC
        (SendLimits(complexity=4), 0.0, 1, SendSettings(64_000, 0, False, 0, False)),
        (NARROW, 0.04, 1, SendSettings(50_000, 0, False, 0, True)),
        (SendLimits(fec_complexity=5), 0.04, 0, fec(64_000, 5, red=False)),
        (SendLimits(fec_complexity=5), 0.04, 1, fec(64_000, 0, red=False)),
        (FEC_ONLY, 0.04, 2, SendSettings(64_000, 0, False, 0, False)),
        (BOTH, 0.12, 1, SendSettings(HEAVY_BITRATE_BPS, 0, False, 0, True)),
        (BOTH, 0.12, 3, SendSettings(HEAVY_BITRATE_BPS, 0, False, 0, True)),
        # FEC needs a bit rate at which it is really sent
        (SendLimits(bitrate_bps=24_000), 0.04, 0, fec(FEC_BITRATE_BPS, 0, red=False)),
    ],
)
def test_one_report(limits: SendLimits, loss: float, overload: int, expected: SendSettings) -> None:
    _, settings = decide(SendState(), second(loss, overload), limits, NS_PER_S)
    assert settings == expected


def test_reports_of_a_few_packets_are_added_up() -> None:
    state, settings = SendState(), None
    for i in range(10):
        report = NetworkReport(loss=0.2 if i == 3 else 0.0, packets=5)
        state, settings = decide(state, report, BOTH, (i + 1) * 100 * NS_PER_MS)
        assert settings.red == (i >= 3), "one of fifty, whatever the others will be"
    assert state.loss == pytest.approx(0.02)


def test_clean_packets_before_a_report_do_not_thin_it() -> None:
    state, _ = decide(SendState(), NetworkReport(packets=45), BOTH, NS_PER_S)
    state, settings = decide(state, NetworkReport(1 / 30, 30), BOTH, 2 * NS_PER_S)
    assert settings.red, "one of its last fifty, though one of 75 in all"
    _, settings = decide(SendState(), NetworkReport(1 / 75, 75), BOTH, NS_PER_S)
    assert not settings.red, "of a report that tells of 75 nobody knows which"


@pytest.mark.parametrize("limits", [BOTH, FEC_ONLY], ids=["red", "fec"])
def test_random_loss_of_two_per_cent_is_answered_as_soon_as_it_shows(limits: SendLimits) -> None:
    """Against the earliest moment at which one packet (RED) or two in 3 s (FEC) were gone."""
    needed = 1 if limits.red else 2
    late_s = []
    for seed in range(300):
        gone: list[float] = []

        def loses(at_s: float, rng: random.Random, gone: list[float] = gone) -> bool:
            lost = at_s >= 8 and rng.random() < 0.02
            if lost:
                gone.append(at_s)
            return lost

        moments = call(60, loses, limits=limits, seed=seed, report_s=by_plane)
        due_s = next(
            later
            for i, later in enumerate(gone[needed - 1 :])
            if later - gone[i] < 2.0  # safely within the three windows that are looked at
        )
        raised_s = next(m.at_s for m in moments if protected(m))
        late_s.append(raised_s - due_s)
    assert max(late_s) <= 1.1
    assert sorted(late_s)[len(late_s) // 2] <= 0.5


# -- calls -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    at_s: float
    state: SendState
    settings: SendSettings


def call(
    seconds: float,
    loses: Callable[[float, random.Random], bool],
    *,
    limits: SendLimits,
    seed: int = 1,
    report_s: Callable[[random.Random], float],
    delay_ms: Callable[[float], float] = lambda _: 40.0,
) -> list[Moment]:
    """50 packets a second; what the far end reports at its intervals reaches the policy."""
    rng = random.Random(seed)
    state, moments = SendState(), []
    packets = lost = 0
    due_s = report_s(rng)
    for i in range(int(seconds * 50)):
        at_s = i / 50
        packets += 1
        lost += loses(at_s, rng)
        if at_s < due_s:
            continue
        due_s = at_s + report_s(rng)
        report = NetworkReport(lost / packets, packets, round_trip_ms=delay_ms(at_s), jitter_ms=5)
        packets = lost = 0
        state, settings = decide(state, report, limits, int((1 + at_s) * NS_PER_S))
        moments.append(Moment(at_s, state, settings))
    return moments


def by_feedback(_: random.Random) -> float:
    return 0.1


def by_plane(rng: random.Random) -> float:
    """As the media plane tells of feedback: each second, sooner after a loss."""
    return rng.uniform(0.5, 1.0)


def by_receiver_reports(rng: random.Random) -> float:
    return rng.uniform(4.0, 6.5)


def every(nth: int, on: Callable[[float], bool]) -> Callable[[float, random.Random], bool]:
    return lambda at_s, _: on(at_s) and round(at_s * 50) % nth == 7


def protected(moment: Moment) -> bool:
    return moment.settings.red or moment.settings.fec


def on_off_on(at_s: float) -> bool:
    return 20 <= at_s < 50 or at_s >= 90


@pytest.mark.parametrize("limits", [BOTH, FEC_ONLY, NARROW], ids=["red", "fec", "narrow"])
@pytest.mark.parametrize(
    ("report_s", "raised_s"), [(by_feedback, 3.0), (by_receiver_reports, 14.0)]
)
@pytest.mark.parametrize("seed", range(3))
def test_two_per_cent_on_off_on(
    limits: SendLimits, report_s: Callable[[random.Random], float], raised_s: float, seed: int
) -> None:
    moments = call(120, every(50, on_off_on), limits=limits, report_s=report_s, seed=seed)
    changes = [m for before, m in pairwise(moments) if protected(m) != protected(before)]
    assert [protected(m) for m in changes] == [True, False, True], f"seed {seed}"
    up, down, again = (m.at_s for m in changes)
    assert 20 <= up <= 20 + raised_s
    assert 90 <= again <= 90 + raised_s
    first_clean = next(m.at_s for m in moments if m.at_s >= 50 and m.state.clean_since_ns)
    assert down <= first_clean + 15


@pytest.mark.parametrize(("loss", "most_missed"), [(0.02, 2), (0.05, 0)])
def test_random_loss_is_noticed_in_time(loss: float, most_missed: int) -> None:
    """Random 2% leaves one stretch of 3 s in twenty without any loss: there is nothing to see."""
    missed = 0
    for seed in range(12):
        moments = call(
            10, lambda at_s, rng: at_s >= 3 and rng.random() < loss,
            limits=BOTH, report_s=by_feedback, seed=seed,
        )  # fmt: skip
        missed += not any(protected(m) for m in moments if m.at_s <= 6)
    assert missed <= most_missed


@pytest.mark.parametrize("loss", [0.005, 0.01, 0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("report_s", [by_feedback, by_receiver_reports])
def test_it_never_wavers(loss: float, report_s: Callable[[random.Random], float]) -> None:
    """Whatever the loss: protection is switched off no sooner than HOLD after it went on."""
    moments = call(
        100, lambda _, rng: rng.random() < loss, limits=FEC_ONLY, report_s=report_s, seed=7
    )
    went_on_s = None
    for before, m in pairwise(moments):
        if protected(m) and not protected(before):
            went_on_s = m.at_s
        if protected(before) and not protected(m):
            assert went_on_s is not None
            assert m.at_s - went_on_s >= HOLD_NS / NS_PER_S - 0.01
    if loss >= 0.05:
        late = [m for m in moments if m.at_s > 20]
        assert sum(protected(m) for m in late) > 0.95 * len(late)


def test_heavy_loss_comes_down_by_one_and_then_to_nothing() -> None:
    def loses(at_s: float, _: random.Random) -> bool:
        nth = 8 if at_s < 20 else 40
        return at_s < 60 and round(at_s * 50) % nth == 3

    moments = call(90, loses, limits=BOTH, report_s=by_feedback)
    levels = [Level.CLEAN]
    for m in moments:
        if m.state.level != levels[-1]:
            levels.append(m.state.level)
    # What the first packets tell is not yet all of it.
    assert levels == [Level.CLEAN, Level.LOSSY, Level.HEAVY, Level.LOSSY, Level.CLEAN]


def test_time_alone_ends_a_level_that_had_a_clean_report() -> None:
    state, _ = decide(SendState(), second(0.04), BOTH, NS_PER_S)
    state, settings = decide(state, second(0.0), BOTH, 2 * NS_PER_S)
    assert settings.red
    _, settings = decide(state, NetworkReport(), BOTH, 2 * NS_PER_S + HOLD_NS)
    assert not settings.red


def test_silence_of_the_far_end_changes_nothing() -> None:
    state, settings = decide(SendState(), second(0.04), BOTH, NS_PER_S)
    _, later = decide(state, NetworkReport(), BOTH, 100 * NS_PER_S)
    assert later == settings


# -- a full network ----------------------------------------------------------------------------


def sent_bps(settings: SendSettings) -> int:
    return settings.bitrate_bps * (2 if settings.red else 1)


def test_rising_delay_with_loss_lowers_the_bit_rate_step_by_step() -> None:
    moments = call(
        120,
        lambda at_s, _: 10 <= at_s < 40 and round(at_s * 50) % 25 == 0,
        limits=BOTH,
        report_s=by_feedback,
        delay_ms=lambda at_s: 40 + (min(10 * (at_s - 10), 300) if 10 <= at_s < 40 else 0),
    )
    bitrates = [sent_bps(m.settings) for m in moments]
    least = min(bitrates)
    assert least == BOTH.min_bitrate_bps
    at_least = bitrates.index(least)
    assert 15 < moments[at_least].at_s < 40
    # Protection going off at 48 s or so halves what is sent; the ceiling comes back in steps.
    assert bitrates[-1] == BOTH.bitrate_bps
    steps = [b for a, b in pairwise(bitrates[at_least:]) if b != a]
    assert steps == sorted(steps)
    assert len(steps) >= 3
    turns = [
        m.at_s
        for before, m in pairwise(moments)
        if m.at_s > moments[at_least].at_s and m.settings.bitrate_bps != before.settings.bitrate_bps
    ]
    assert all(b - a >= 5 - 0.01 for a, b in pairwise(turns))


def test_delay_without_loss_and_loss_without_delay_leave_the_bit_rate() -> None:
    delayed = call(
        30, lambda *_: False, limits=BOTH, report_s=by_feedback, delay_ms=lambda s: 40 + 10 * s
    )
    assert {m.settings.bitrate_bps for m in delayed} == {64_000}
    lossy = call(30, every(40, lambda _: True), limits=BOTH, report_s=by_feedback)
    assert {m.settings.bitrate_bps for m in lossy} == {64_000}


@pytest.mark.parametrize("seed", range(4))
def test_anything_reported_gives_settings_within_limits(seed: int) -> None:
    rng = random.Random(seed)
    limits = SendLimits(
        bitrate_bps=rng.choice((24_000, 32_000, 64_000)),
        min_bitrate_bps=rng.choice((12_000, 24_000)),
        max_bitrate_bps=rng.choice((64_000, 96_000, 200_000)),
        red=rng.random() < 0.5,
        fec=rng.random() < 0.5,
    )
    state, now_ns = SendState(), 0
    for _ in range(800):
        now_ns += rng.choice((1, 100, 1000, 6000)) * NS_PER_MS
        report = NetworkReport(
            loss=rng.choice((0.0, 0.0, rng.random() * 0.2, 1.0)),
            packets=rng.choice((0, 5, 50, 250)),
            round_trip_ms=rng.choice((-1.0, 10.0, rng.random() * 1000)),
            jitter_ms=rng.choice((-1.0, rng.random() * 100)),
            overload=rng.choice((0, 0, 0, 1, 2, 3)),
        )
        state, settings = decide(state, report, limits, now_ns)
        assert limits.min_bitrate_bps <= settings.bitrate_bps, f"seed {seed}"
        assert sent_bps(settings) <= limits.max_bitrate_bps
        assert settings.fec <= limits.fec
        assert settings.red <= limits.red
        assert settings.fec == (settings.expected_loss_percent > 0)
        if report.overload:
            assert settings.complexity == 0
