"""Resampling a block of 20 ms from Python."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import pytest

from kernels.conftest import Race
from voicecore._native.resample import Resampler

RATES = [(48_000, 16_000), (22_050, 24_000), (24_000, 8_000)]


def _ours(from_hz: int, to_hz: int) -> Callable[[], object]:
    resampler = Resampler(from_hz, to_hz)
    block = np.zeros(from_hz // 50, np.int16)
    return lambda: resampler.process(block)


def _av(from_hz: int, to_hz: int) -> Callable[[], object]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=to_hz)
    block = np.zeros((1, from_hz // 50), np.int16)

    def step() -> object:
        frame = av.AudioFrame.from_ndarray(block, "s16", "mono")
        frame.sample_rate = from_hz
        return [part.to_ndarray() for part in resampler.resample(frame)]

    return step


@pytest.mark.parametrize("rates", RATES, ids=lambda r: f"{r[0]}-{r[1]}")
@pytest.mark.parametrize(("who", "make"), [("ours", _ours), ("PyAV", _av)])
def test_resample(race: Race, who: str, make: Callable, rates: tuple[int, int]) -> None:
    race(f"resample {rates[0]} to {rates[1]}", who, make(*rates), goal_ratio=1.0)
