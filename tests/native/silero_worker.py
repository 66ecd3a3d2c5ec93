"""Scores audio with the native Silero of one instruction set, in a process of its own.

    python silero_worker.py AUDIO.npz SCORES.npz

AUDIO holds float32 arrays named ``<rate>_<anything>``; SCORES gets their probabilities, each
computed alone and again in one batch with all others of its rate.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from voicecore._native import simd
from voicecore._native.silero import SileroScorer, SileroWeights
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.silero_graph import read_weights


def frames_of(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Context (zeros at first) and new samples, a row for each frame."""
    context = rate_hz * 4 // 1000
    count = len(samples) // (8 * context)
    padded = np.concatenate([np.zeros(context, np.float32), samples[: count * 8 * context]])
    view = np.lib.stride_tricks.sliding_window_view(padded, 9 * context)[:: 8 * context]
    return np.ascontiguousarray(view)


def main(audio_path: str, scores_path: str) -> None:
    data = find_model().data
    audio = np.load(audio_path)
    scores: dict[str, object] = {"isa": simd.isa()}
    for rate_hz in (16_000, 8000):
        scorer = SileroScorer(SileroWeights(rate_hz, read_weights(data, rate_hz)))
        names = [name for name in audio if name.startswith(f"{rate_hz}_")]
        frames = {name: frames_of(audio[name], rate_hz) for name in names}
        for name in names:
            state = np.zeros((2, 1, 128), np.float32)
            scores[name] = [scorer.score([frame], [state])[0] for frame in frames[name]]
        states = {name: np.zeros((2, 1, 128), np.float32) for name in names}
        together: dict[str, list[float]] = {name: [] for name in names}
        for step in range(max(map(len, frames.values()))):
            live = [name for name in names if step < len(frames[name])]
            batch = scorer.score([frames[n][step] for n in live], [states[n] for n in live])
            for name, score in zip(live, batch, strict=True):
                together[name].append(score)
        scores |= {f"batch_{name}": together[name] for name in names}
    np.savez(scores_path, **scores)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
