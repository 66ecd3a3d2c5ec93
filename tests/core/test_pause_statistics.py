"""The caller's pauses: the prior, what is learnt, and how fast."""

from __future__ import annotations

import math
import random

import pytest

from voicecore.core.pause_statistics import PauseStatistics, prior_quantile_ms
from voicecore.errors import MisuseError

SEED = 17


def learnt(*pauses_ms: float) -> PauseStatistics:
    pauses = PauseStatistics()
    for pause_ms in pauses_ms:
        pauses.observe(pause_ms)
    return pauses


def test_nothing_known_is_the_prior() -> None:
    for share in (0.1, 0.5, 0.8, 0.95):
        assert learnt().quantile_ms(share) == prior_quantile_ms(share)


def test_the_prior_is_log_normal_above_200_ms() -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    drawn = sorted(
        pause_ms
        for _ in range(200_000)
        if (pause_ms := rng.lognormvariate(math.log(400), 0.6)) >= 200
    )
    for share in (0.05, 0.25, 0.5, 0.8, 0.95):
        assert prior_quantile_ms(share) == pytest.approx(drawn[int(share * len(drawn))], rel=0.03)


@pytest.mark.parametrize("pause_ms", [0, 40, 199])
def test_what_is_no_pause_teaches_nothing(pause_ms: float) -> None:
    assert learnt(*[pause_ms] * 100).quantile_ms(0.8) == prior_quantile_ms(0.8)


@pytest.mark.parametrize("pause_ms", [220, 400, 900, 2000])
def test_a_callers_own_pauses_take_over(pause_ms: float) -> None:
    distances = [
        abs(math.log(learnt(*[pause_ms] * count).quantile_ms(0.8) / pause_ms))
        for count in (0, 10, 40)
    ]
    # A bin is 19% wide, so no distance says more than that.
    assert distances[0] > distances[1] - 0.19
    assert distances[2] < 0.19


def test_what_is_long_ago_is_forgotten() -> None:
    pauses = learnt(*[250] * 60)
    short_ms = pauses.quantile_ms(0.8)
    for _ in range(40):
        pauses.observe(1200)
    assert short_ms < 300
    assert pauses.quantile_ms(0.5) > 900


def test_quantiles_rise_and_so_do_they_with_a_longer_pause() -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for _ in range(100):
        given = [rng.lognormvariate(6, 1) for _ in range(rng.randint(0, 40))]
        pauses, longer = learnt(*given), learnt(*given, 5000)
        quantiles = [pauses.quantile_ms(i / 20) for i in range(21)]
        assert quantiles == sorted(quantiles)
        assert 200 <= quantiles[0] <= quantiles[-1] <= 6400
        assert longer.quantile_ms(0.8) >= pauses.quantile_ms(0.8) - 1e-6


@pytest.mark.parametrize("pause_ms", [0, 1e-9, 200, 6400, 1e12, math.inf])
def test_any_length_has_a_place(pause_ms: float) -> None:
    assert 200 <= learnt(pause_ms).quantile_ms(0.5) <= 6400


@pytest.mark.parametrize("pause_ms", [-1, math.nan, -math.inf])
def test_a_pause_that_is_none_is_refused(pause_ms: float) -> None:
    with pytest.raises(MisuseError, match="0 ms or more"):
        learnt(pause_ms)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(MisuseError, match="0 to 1"):
        learnt().quantile_ms(share)
