"""What callers say: recorded speech, encoded before the call, in several phases of the frame."""

from __future__ import annotations

import functools
import random

from caller.speech import FRAME_SAMPLES, Utterance, encode, recordings, silence_payload
from report import quick

_RECORDINGS = 4
_SHIFTS = 2 if quick() else 6
_SEED = 11


@functools.cache
def voices() -> tuple[Utterance, ...]:
    """Utterances of one to three seconds."""
    rng = random.Random(_SEED)
    return tuple(
        encode(name, pcm, shift=rng.randrange(FRAME_SAMPLES))
        for _ in range(_SHIFTS)
        for name, pcm in recordings(_RECORDINGS)
    )


@functools.cache
def silence() -> bytes:
    """An idle microphone, 20 ms."""
    return silence_payload()
