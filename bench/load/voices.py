"""What callers say: recorded speech, encoded before the call, in several phases of the frame."""

from __future__ import annotations

import functools
import random

from caller.speech import FRAME_SAMPLES, Utterance, encode, recordings, silence_payload
from load.answer import FULLBAND_HZ, WIDEBAND_HZ
from load.native import Speech
from report import quick

_RECORDINGS = 4
_SHIFTS = 2 if quick() else 6
_SEED = 11


BANDS_HZ = (FULLBAND_HZ, WIDEBAND_HZ)
"""How far up a server may ask callers to code."""


@functools.cache
def voices(band_hz: int = FULLBAND_HZ) -> tuple[Utterance, ...]:
    """Utterances of one to three seconds, the same ones for each band."""
    rng = random.Random(_SEED)
    return tuple(
        encode(name, pcm, shift=rng.randrange(FRAME_SAMPLES), band_hz=band_hz)
        for _ in range(_SHIFTS)
        for name, pcm in recordings(_RECORDINGS)
    )


@functools.cache
def silence(band_hz: int = FULLBAND_HZ) -> bytes:
    """An idle microphone, 20 ms."""
    return silence_payload(band_hz)


def speech() -> dict[int, Speech]:
    """What a client says in each band."""
    return {band_hz: Speech(voices(band_hz), silence(band_hz)) for band_hz in BANDS_HZ}
