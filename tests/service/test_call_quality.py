"""How a call sounds, judged by counters."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from voicecore.core.e_model import BEST_RATING, G711, OPUS, mos, rating, residual_loss
from voicecore.service.call_quality import LEAST_PACKETS, CallQuality

BEST = mos(BEST_RATING)
CLEAN = {
    "expected": 500.0, "received": 500.0, "lost": 0.0, "fec": 0.0, "frames": 500.0,
    "waited_ms": 0.0, "jitter": 96.0, "clock_hz": 48_000.0,
    "sent": 500.0, "redundant": 0.0, "round_trip_ms": 40.0,
    "remote_reports": 3.0, "remote_feedback": 0.0, "remote_lost": 0.0, "remote_jitter_ms": 4.0,
}  # fmt: skip


@dataclass
class Far:
    """What the far end is known to have missed."""

    played: int = 0
    missed: tuple[tuple[int, int], ...] = ()

    def lost(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        return tuple(each for each in self.missed if start <= each[0] < end)


def test_a_clean_call_is_as_good_as_the_scale_goes() -> None:
    quality = CallQuality("opus")
    periods = quality.look(CLEAN, Far(), 40)
    assert set(periods) == {"in", "out"}
    for period in periods.values():
        assert (period.loss, period.residual_loss) == (0, 0)
        assert period.mos == pytest.approx(BEST)
    assert periods["in"].jitter_ms == 2
    assert periods["out"].jitter_ms == 4
    assert quality.mean_mos("in") == pytest.approx(BEST)


def test_what_is_restored_is_no_loss_to_the_ear() -> None:
    stats = {**CLEAN, "received": 450.0, "lost": 40.0, "fec": 30.0}
    period = CallQuality("opus").look(stats, Far(), 40)["in"]
    assert (period.loss, period.residual_loss) == (0.1, 0.02)
    assert period.mos == pytest.approx(mos(rating(0.02, 40, OPUS)))


def test_each_period_is_judged_by_itself() -> None:
    quality = CallQuality("pcmu")
    first = {**CLEAN, "received": 450.0, "lost": 50.0, "remote_lost": 50.0}
    periods = quality.look(first, Far(), 40)
    assert periods["in"].residual_loss == periods["out"].residual_loss == 0.1
    assert periods["out"].mos == pytest.approx(mos(rating(0.1, 80, G711)))
    twice = {name: 2 * value for name, value in CLEAN.items()}
    later = {**twice, "received": 950.0, "lost": 50.0, "remote_lost": 50.0, "round_trip_ms": 40.0}
    assert quality.look(later, Far(), 40)["in"].residual_loss == 0
    mean = quality.mean_mos("in")
    assert mean is not None
    assert mos(rating(0.1, 40, G711)) < mean < BEST


def test_too_few_packets_tell_nothing_and_count_later() -> None:
    quality = CallQuality("opus")
    few = {**CLEAN, "expected": LEAST_PACKETS - 1.0, "received": 0.0, "sent": 10.0}
    assert quality.look(few, Far(), 40) == {}
    assert quality.mean_mos("in") is quality.mean_mos("out") is None
    assert quality.look(CLEAN, Far(), 40)["in"].loss == 0


def test_without_a_report_nothing_is_said_of_the_far_end() -> None:
    assert set(CallQuality("opus").look({**CLEAN, "remote_reports": 0.0}, Far(), 40)) == {"in"}


def test_delay_of_the_way_and_of_both_buffers_counts() -> None:
    slow = {**CLEAN, "round_trip_ms": 400.0, "waited_ms": 500 * 60.0}
    periods = CallQuality("opus").look(slow, Far(), 140)
    assert periods["in"].mos == pytest.approx(mos(rating(0, 200 + 20 + 60, OPUS)))
    assert periods["out"].mos == pytest.approx(mos(rating(0, 200 + 20 + 140, OPUS)))


def test_outbound_loss_is_what_was_missed_of_the_voice_where_that_is_known() -> None:
    stats = {**CLEAN, "remote_lost": 50.0, "remote_feedback": 90.0}
    far = Far(played=24_000, missed=((480, 960), (30_000, 40_000)))
    period = CallQuality("opus").look(stats, far, 40)["out"]
    assert (period.loss, period.residual_loss) == (0.1, 0.02)


def test_else_it_is_what_copies_leave_of_it() -> None:
    stats = {**CLEAN, "remote_lost": 50.0, "redundant": 500.0}
    period = CallQuality("opus").look(stats, Far(played=24_000), 40)["out"]
    assert period.residual_loss == pytest.approx(residual_loss(0.1, 1)) == pytest.approx(0.01)
