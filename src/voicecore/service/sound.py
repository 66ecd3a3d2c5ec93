"""A closer look at a sound of the caller's than the speech gate takes.

Taken only while the agent is silent because of it, some few times for each: about
0.1 ms. Three things are read off the last samples:

- where the sound begins: a recurrent VAD is sure of speech late when it sets in
  softly (in recordings after 20 ms in the median, in one of ten after 130);
- how far it reaches, to 10 ms and up to the last packet, where the gate knows of
  whole frames of 32 ms;
- how much its spectrum changes. Who hums ("mm", "um", "uh") holds one sound, who
  speaks runs from one to the next.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voicecore._native.features import FeatureStream
from voicecore._native.ring import AudioRing
from voicecore.core.units import HEAR_RATE_HZ
from voicecore.core.voice import Voice

_BLOCK = HEAR_RATE_HZ // 100
_QUIET_DB = 25.0
"""So far below the loudest block is no speech, as in the speech gate."""
_SILENT_DB = 20.0
"""Of a mean square of 1; 70 dB below full scale nothing can be read off."""
LOOK_BEFORE = HEAR_RATE_HZ * 320 // 1000
"""The beginning is looked for so far before the gate opened."""
LOOK_MOST = HEAR_RATE_HZ * 1200 // 1000
"""More of a sound is not looked at: it is decided by then."""
_GAP_BLOCKS = 8
"""A stop consonant is silent for so long without being a sound's end."""

_FLOOR_DB = 40.0
"""Bands so far below the loudest one count as equally silent."""
_STEP_FRAMES = 5
"""Spectra 50 ms apart are compared: about the length of a phone."""
_LEAST_FRAMES = 20

_bands = FeatureStream(
    HEAR_RATE_HZ,
    window_samples=400,
    n_fft=512,
    n_mels=20,
    mel_scale="htk",
    mel_norm=None,
    min_hz=80.0,
    max_hz=7600.0,
    pad="none",
    history_s=4.0,
)
"""Shared: looks are taken one after the other, on the event loop."""


def look_closer(voice: Voice, ring: AudioRing) -> Voice:
    """``voice`` with ``sound_from``, ``loud_end`` and ``change_db`` read off the audio.

    As it is where nobody speaks or the ring no longer holds it. Event loop only.
    """
    start = max(voice.onset - LOOK_BEFORE, 0)
    end = min(ring.position, start + LOOK_MOST)
    if not voice.voiced or end - voice.onset < _BLOCK or not ring.holds(start):
        return voice
    return look_at(voice, ring.copy(start, end - start), start)


def look_at(voice: Voice, pcm: NDArray[np.int16], start: int) -> Voice:
    """The same for ``pcm``, whose first sample is ``start``."""
    level_db = _levels(pcm)
    opened = min((voice.onset - start) // _BLOCK, len(level_db) - 1)
    loudest_db = level_db[opened:].max()
    if loudest_db < _SILENT_DB:
        return voice
    loud = level_db > loudest_db - _QUIET_DB
    first = _begins(loud, opened)
    last = int(np.flatnonzero(loud)[-1]) if loud.any() else opened
    sound = pcm[first * _BLOCK : (last + 1) * _BLOCK]
    return replace(
        voice,
        sound_from=start + first * _BLOCK,
        loud_end=max(start + (last + 1) * _BLOCK, voice.onset),
        change_db=spectral_change_db(sound),
    )


def spectral_change_db(pcm: NDArray[np.int16]) -> float:
    """How much 20 mel bands change in 50 ms, in dB: the mean of the loud frames of ``pcm``.

    Level changes don't count. Infinite for less than a quarter of a second of sound.
    """
    _bands.reset()
    frames = _bands.push(pcm)
    if frames < _LEAST_FRAMES:
        return float("inf")
    bands_db = 10.0 * _bands.log_mel(0, frames)
    total_db = bands_db.max(axis=1)
    bands_db = np.maximum(bands_db, bands_db.max() - _FLOOR_DB)
    shape = bands_db - bands_db.mean(axis=1, keepdims=True)
    moved = np.sqrt(((shape[_STEP_FRAMES:] - shape[:-_STEP_FRAMES]) ** 2).mean(axis=1))
    loud = total_db > total_db.max() - _QUIET_DB
    both = loud[_STEP_FRAMES:] & loud[:-_STEP_FRAMES]
    return float(moved[both].mean()) if both.any() else float("inf")


def _levels(pcm: NDArray[np.int16]) -> NDArray[np.float32]:
    blocks = pcm[: len(pcm) // _BLOCK * _BLOCK].reshape(-1, _BLOCK).astype(np.float32)
    power = np.einsum("ij,ij->i", blocks, blocks) / np.float32(_BLOCK)
    levels: NDArray[np.float32] = 10.0 * np.log10(np.maximum(power, 1.0))
    return levels


def _begins(loud: NDArray[np.bool_], opened: int) -> int:
    """The first loud block before ``opened`` that no long silence parts from it."""
    first, silent = opened, 0
    for i in range(opened, -1, -1):
        silent = 0 if loud[i] else silent + 1
        if silent > _GAP_BLOCKS:
            break
        if loud[i]:
            first = i
    return first
