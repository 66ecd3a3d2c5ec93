"""The energy VAD: level over the background, nothing more."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voicecore.engines.protocols import VadEngine, VadStream
from voicecore.engines.vad.energy import EnergyStream, EnergyVad
from voicecore.errors import MisuseError

SEED = 77


def noise_at(level_dbfs: float, random: np.random.Generator) -> NDArray[np.float32]:
    return (random.normal(0.0, 10 ** (level_dbfs / 20), 576)).astype(np.float32)


@pytest.fixture
def random() -> np.random.Generator:
    print(f"seed {SEED}")
    return np.random.default_rng(SEED)


def run(
    vad: EnergyVad, stream: EnergyStream, level: float, frames: int, random: np.random.Generator
) -> list[float]:
    return [vad.score([(stream, noise_at(level, random))])[0] for _ in range(frames)]


def test_it_is_a_vad_engine() -> None:
    vad = EnergyVad()
    assert isinstance(vad, VadEngine)
    assert isinstance(vad.stream(), VadStream)


def test_digital_silence_is_no_speech() -> None:
    vad = EnergyVad()
    stream = vad.stream()
    silence = np.zeros(576, np.float32)
    assert max(vad.score([(stream, silence)])[0] for _ in range(100)) < 0.05


def test_loud_over_quiet_is_speech_and_stays_so_for_a_sentence(
    random: np.random.Generator,
) -> None:
    vad = EnergyVad()
    stream = vad.stream()
    assert max(run(vad, stream, -58.0, 60, random)[30:]) < 0.2
    assert min(run(vad, stream, -25.0, 150, random)) > 0.9  # 4.8 s without a pause
    assert max(run(vad, stream, -58.0, 30, random)) < 0.2


def test_steady_background_is_learnt(random: np.random.Generator) -> None:
    vad = EnergyVad()
    stream = vad.stream()
    scores = run(vad, stream, -40.0, 400, random)
    assert scores[0] > 0.5, "taken for speech at first, as documented"
    assert max(scores[-50:]) < 0.2
    assert min(run(vad, stream, -20.0, 20, random)) > 0.9


def test_only_new_samples_count(random: np.random.Generator) -> None:
    vad = EnergyVad()
    frame = np.zeros(576, np.float32)
    frame[:64] = 0.9
    assert vad.score([(vad.stream(), frame)])[0] < 0.05


def test_scores_follow_the_level_over_the_tracked_floor(random: np.random.Generator) -> None:
    vad = EnergyVad()
    stream = vad.stream()
    floor = -55.0
    for level in random.uniform(-90.0, -5.0, 300):
        frame = noise_at(float(level), random)
        power = float(np.mean(frame[64:].astype(float) ** 2))
        excess = 10 * math.log10(power + 1e-10) - floor
        floor += 0.3 * excess if excess < 0 else min(0.06, excess)
        floor = min(max(floor, -65.0), -30.0)
        expected = 1 / (1 + math.exp((10 - excess) / 2.5))
        assert vad.score([(stream, frame)]) == pytest.approx([expected], abs=1e-5)
        assert stream.floor_dbfs == pytest.approx(floor, abs=1e-4)


def test_a_strided_frame_is_read_too(random: np.random.Generator) -> None:
    vad = EnergyVad()
    frame = noise_at(-20.0, random)
    strided = np.repeat(frame, 2)[::2]
    assert not strided.flags.c_contiguous
    assert vad.score([(vad.stream(), strided)]) == vad.score([(vad.stream(), frame)])


def test_streams_are_apart_and_reset_forgets(random: np.random.Generator) -> None:
    vad = EnergyVad()
    one, two = vad.stream(), vad.stream()
    fresh = two.floor_dbfs
    run(vad, one, -35.0, 100, random)
    assert one.floor_dbfs > fresh
    assert two.floor_dbfs == fresh
    one.reset()
    assert one.floor_dbfs == fresh


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (np.zeros(512, np.float32), MisuseError),
        (np.full(576, np.nan, np.float32), MisuseError),
        ("audio", TypeError),
    ],
)
def test_bad_batch_changes_no_stream(frame: Any, error: type[Exception]) -> None:
    vad = EnergyVad()
    good, bad = vad.stream(), vad.stream()
    with pytest.raises(error):
        vad.score([(good, np.full(576, 0.1, np.float32)), (bad, frame)])
    assert good.floor_dbfs == vad.stream().floor_dbfs
