"""Quantiles of the media threads' histograms against the plain values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from voicecore.service.lateness import Lateness, quantile_ms

BINS = 64


def binned(late_ms: list[float]) -> list[int]:
    bins = [0] * BINS
    for value in late_ms:
        bins[min(int(value), BINS - 1)] += 1
    return bins


@pytest.mark.parametrize("seed", range(40))
def test_the_quantile_of_bins_is_that_of_the_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 600))
    quantile = float(rng.choice([0.5, 0.9, 0.99]))
    late_ms = sorted(rng.exponential(rng.choice([0.3, 5, 40]), count).tolist())
    # By nearest rank, but never the latest.
    wanted = late_ms[min(math.ceil(count * quantile), count - 1) - 1]
    ms = min(int(wanted), BINS - 1)
    assert quantile_ms(binned(late_ms), quantile) == (ms + 1 if ms else 0)


def test_each_look_is_of_the_time_since_the_last() -> None:
    rng = np.random.default_rng(5)
    lateness, all_bins = Lateness(), [0] * BINS
    for scale in (0.2, 30.0, 0.2, 8.0):
        new = binned(rng.exponential(scale, 300).tolist())
        all_bins = [a + b for a, b in zip(all_bins, new, strict=True)]
        assert lateness.p99_ms(all_bins) == quantile_ms(new)
    assert lateness.p99_ms(all_bins) == 0


def test_of_nothing_and_of_one() -> None:
    assert quantile_ms([0] * BINS) == 0
    assert quantile_ms(binned([40.0])) == 0
    assert quantile_ms(binned([40.0, 50.0])) == 41
