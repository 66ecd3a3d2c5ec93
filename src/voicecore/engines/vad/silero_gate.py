"""May our own kernels serve this model file? Proven at start, or onnxruntime serves.

The file must hold the network our kernels compute
(:mod:`voicecore.engines.vad.silero_graph`), and on a trial of 128 frames both must
say the same to 0.001. The trial compares with onnxruntime where that is installed.
Where it is not (or does not work), the file must be the known one, and the scores
onnxruntime once gave for it, recorded here, take its place: they still catch a
kernel that computes wrongly on this machine.
"""

from __future__ import annotations

import weakref
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voicecore._native.silero import SileroScorer, SileroWeights
from voicecore.engines.vad.frames import frame_samples
from voicecore.engines.vad.model_file import ModelFile
from voicecore.engines.vad.silero_graph import UnknownGraphError, read_weights
from voicecore.engines.vad.silero_onnx import OnnxScorer, open_onnx
from voicecore.engines.vad.silero_recorded import RECORDED
from voicecore.errors import EngineError, MissingLibraryError

Floats = NDArray[np.float32]

TRIAL_FRAMES: Final = 128
TOLERANCE: Final = 1e-3
"""Largest difference of a probability."""

# Every engine of a process shares the weights of the same file.
_packed: weakref.WeakValueDictionary[tuple[str, int], SileroWeights] = weakref.WeakValueDictionary()


class NotProvenError(Exception):
    """Our kernels must not serve this file; the text says why."""


def prove(model: ModelFile, rate_hz: int) -> tuple[SileroWeights, str]:
    """The packed weights of ``model`` and what proved them.

    Takes about 0.2 s, most of it onnxruntime's. Raises NotProvenError.
    """
    weights = _packed.get((model.sha256, rate_hz))
    if weights is None:
        try:
            weights = SileroWeights(rate_hz, read_weights(model.data, rate_hz))
        except UnknownGraphError as error:
            raise NotProvenError(str(error)) from error
    audio = trial_audio(rate_hz)
    ours = _run(SileroScorer(weights), audio, rate_hz)
    theirs, witness = _reference(model, audio, rate_hz)
    worst = float(np.abs(np.subtract(ours, theirs)).max())
    if not worst < TOLERANCE:  # not ">=": what is no number must fail too
        raise NotProvenError(f"on the trial it differs from {witness} by {worst:.2g}")
    _packed[model.sha256, rate_hz] = weights
    return weights, f"equals {witness} on {TRIAL_FRAMES} frames to {worst:.1g}"


def _reference(model: ModelFile, audio: Floats, rate_hz: int) -> tuple[list[float], str]:
    try:
        return _run(open_onnx(model, rate_hz), audio, rate_hz), "onnxruntime"
    except (MissingLibraryError, EngineError) as error:
        if model.known:
            return list(RECORDED[rate_hz]), "what onnxruntime gave for this known file"
        raise NotProvenError(
            "its weights are unknown and there is no onnxruntime to compare with"
            if isinstance(error, MissingLibraryError)
            else "its weights are unknown and onnxruntime can't use it"
        ) from error


def _run(scorer: SileroScorer | OnnxScorer, audio: Floats, rate_hz: int) -> list[float]:
    size = frame_samples(rate_hz)
    new = size * 8 // 9
    samples = np.concatenate([np.zeros(size - new, np.float32), audio])
    state = np.zeros((2, 1, 128), np.float32)
    return [
        scorer.score([samples[start : start + size]], [state])[0]
        for start in range(0, TRIAL_FRAMES * new, new)
    ]


def trial_audio(rate_hz: int) -> Floats:
    """Four seconds like speech, with pauses and bursts of noise; always the same."""
    count = TRIAL_FRAMES * rate_hz * 32 // 1000
    t = np.arange(count) / rate_hz
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * t) + 0.35, 0, 1) ** 0.7
    talking = np.sin(2 * np.pi * 0.35 * t - 0.6) > -0.2
    # This generator's numbers are promised never to change.
    noise = np.random.RandomState(20).uniform(-1, 1, count)
    burst = np.abs(t % 1.9 - 1.75) < 0.06
    mixed = 0.12 * _vowels(t, rate_hz) * syllables * talking + noise * (0.004 + 0.05 * burst)
    return np.clip(mixed, -0.999, 0.999).astype(np.float32)


def _vowels(t: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Harmonics of a gliding pitch under three formants."""
    pitch_hz = 120 + 30 * np.sin(2 * np.pi * 0.9 * t) + 12 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    # Formants move slowly: their gains are worked out for every 64th sample.
    slow, slow_hz = t[::64], pitch_hz[::64]
    low_hz = 500 + 250 * np.sin(2 * np.pi * 1.7 * slow)
    high_hz = 1500 + 500 * np.sin(2 * np.pi * 1.1 * slow + 1)
    voice = np.zeros(len(t))
    before, now, turn = np.zeros(len(t)), np.sin(phase), 2 * np.cos(phase)
    for k in range(1, 28):
        hz = k * slow_hz
        gain = 0.03 + np.exp(-(((hz - low_hz) / 180) ** 2))
        gain += 0.5 * np.exp(-(((hz - high_hz) / 250) ** 2))
        gain += 0.25 * np.exp(-(((hz - 2600) / 350) ** 2))
        voice += np.repeat(gain * (hz < 0.45 * rate_hz), 64) * now
        # sin (k + 1)x = 2 cos x sin kx - sin (k - 1)x
        before, now = now, turn * now - before
    return voice
