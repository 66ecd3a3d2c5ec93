"""The E-model against what the ITU-T has published of it."""

from __future__ import annotations

import pytest

from voicecore.core.e_model import (
    BEST_RATING,
    CODECS,
    G711,
    OPUS,
    CodecImpairment,
    delay_impairment,
    loss_impairment,
    mos,
    rating,
    residual_loss,
)

G729A = CodecImpairment(11, 19)
"""G.113, appendix I: the codec whose whole table is published."""


# G.107, annex B, table B.1, and the note on the default rating.
@pytest.mark.parametrize(
    ("rated", "score"),
    [(93.2, 4.41), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)],
)
def test_mos_of_ratings(rated: float, score: float) -> None:
    assert mos(rated) == pytest.approx(score, abs=0.0065)


def test_mos_stays_on_its_scale_and_rises() -> None:
    assert (mos(-5), mos(0), mos(100), mos(120)) == (1.0, 1.0, 4.5, 4.5)
    scores = [mos(rated / 10) for rated in range(1001)]
    assert scores == sorted(scores)
    assert min(scores) == 1.0


# G.113, appendix I: Ie of G.729A + VAD by loss in per cent.
@pytest.mark.parametrize(
    ("percent", "impairment"),
    [(0, 11), (0.5, 13), (1, 15), (1.5, 17), (2, 19), (3, 23), (4, 26), (8, 36), (16, 49)],
)
def test_loss_takes_what_the_tables_say(percent: float, impairment: float) -> None:
    assert loss_impairment(percent / 100, G729A) == pytest.approx(impairment, abs=0.6)


# The same appendix: G.711 with concealment, random loss.
@pytest.mark.parametrize(("percent", "impairment"), [(2, 7), (3, 10), (5, 15), (7, 20)])
def test_g711_with_concealment(percent: float, impairment: float) -> None:
    assert loss_impairment(percent / 100, G711) == pytest.approx(impairment, abs=1.0)


# (7-28) by hand: X is 1 and 2 there.
@pytest.mark.parametrize(("delay_ms", "impairment"), [(0, 0), (100, 0), (200, 3.04), (400, 24.07)])
def test_delay_takes_nothing_at_first(delay_ms: float, impairment: float) -> None:
    assert delay_impairment(delay_ms) == pytest.approx(impairment, abs=0.01)


def test_a_rating_falls_with_loss_delay_and_bursts_and_never_below_nothing() -> None:
    clean = rating(0, 50, OPUS)
    assert clean == BEST_RATING
    assert rating(0.02, 50, OPUS) < rating(0.01, 50, OPUS) < clean
    assert rating(0, 300, OPUS) < clean
    assert rating(0.1, 50, OPUS, burst_ratio=2) < rating(0.1, 50, OPUS)
    assert rating(1, 5000, OPUS) == 0
    assert all(rating(0, 0, codec) == BEST_RATING for codec in CODECS.values())


def test_a_copy_beside_each_packet_leaves_the_square() -> None:
    assert residual_loss(0.1, 1) == pytest.approx(0.01)
    assert residual_loss(0.1, 0) == 0.1
    assert residual_loss(0.1, 0.5) == pytest.approx(0.055)
    assert residual_loss(2, 3) == 1
    assert residual_loss(-1, 0) == 0
