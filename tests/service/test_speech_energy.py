from __future__ import annotations

import numpy as np

from voicecore.core.speech_energy import quiet_runs
from voicecore.service.speech_energy import EnergyMeter


def test_pieces_of_any_length_give_the_bytes_of_the_whole() -> None:
    seed = 7
    print("seed", seed)
    rng = np.random.default_rng(seed)
    for rate_hz in (8_000, 22_050, 24_000, 48_000):
        pcm = rng.integers(-32768, 32768, 30_011).astype(np.int16) // rng.integers(1, 500)
        pcm = pcm.astype(np.int16)
        whole = EnergyMeter(rate_hz).push(pcm)
        meter, at, pieces = EnergyMeter(rate_hz), 0, b""
        while at < len(pcm):
            step = int(rng.integers(0, 700))
            pieces += meter.push(pcm[at : at + step])
            at += step
        assert pieces == whole
        assert len(whole) == len(pcm) // (rate_hz // 100)


def test_a_byte_is_the_mean_square_in_db() -> None:
    levels = (0, 1, 10, 1000, -32768)
    pcm = np.repeat(np.array(levels, np.int16), 240)
    assert list(EnergyMeter(24_000).push(pcm)) == [0, 0, 20, 60, 90]


def test_a_pause_between_tones_is_found() -> None:
    tone = (8000 * np.sin(np.arange(4800) * 0.1)).astype(np.int16)
    energy = EnergyMeter(24_000).push(np.concatenate([tone, np.zeros(4800, np.int16), tone]))
    assert quiet_runs(energy) == [(20, 40)]
