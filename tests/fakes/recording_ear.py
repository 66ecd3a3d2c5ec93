"""Understands a recording wherever it hears a piece of it, as a recogniser would.

What came through a codec, a jitter buffer and a network is found in the recording by
its sound; the words that were said there are what is understood. What was lost on the
way has no words, and what was sent twice has them twice.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fakes.aligned_recording import Spoken

RATE_HZ = 16_000
_BLOCK = RATE_HZ // 4
_NEAR = 8
_SURE = 0.75
_LIKELY = 0.4
"""Where the block before was found, its neighbour is known by less."""


class RecordingEar:
    """An ``Understand`` of :mod:`fakes.heard_words`: int16 at 16 kHz to words and seconds."""

    def __init__(self, pcm: NDArray[np.int16], said: list[Spoken]) -> None:
        self._said = [(word, begin, end, (begin + end) / 2) for word, begin, end in said]
        self._sound = _bright(pcm)
        self._size = 1 << int(np.ceil(np.log2(len(self._sound) + _BLOCK)))
        self._spectrum = np.fft.rfft(self._sound, self._size)
        power = np.concatenate([[0.0], np.cumsum(self._sound**2)])
        self._loudness = np.sqrt(power[_BLOCK:] - power[:-_BLOCK] + 1.0)
        self._likeness = lru_cache(maxsize=256)(self._compare)

    def __call__(self, pcm: bytes) -> list[Spoken]:
        """The words in all audio so far, in their order."""
        heard: list[Spoken] = []
        before: int | None = None
        samples = len(pcm) // 2
        for start in range(0, samples, _BLOCK):
            # The last block is as long as the others, so that it is known as well.
            first = max(min(start, samples - _BLOCK), 0)
            before = self._where(pcm[2 * first : 2 * (first + _BLOCK)], first, before)
            if before is None:
                continue
            end = min(start + _BLOCK, samples)
            late_s = before / RATE_HZ
            heard += [
                (word, begin_s - late_s, end_s - late_s)
                for word, begin_s, end_s, middle_s in self._said
                if start <= (middle_s - late_s) * RATE_HZ < end
            ]
        return heard

    def _where(self, block: bytes, first: int, before: int | None) -> int | None:
        """How much later in the recording ``block`` is than in what was heard, in samples."""
        likeness = self._likeness(block)
        if likeness is None:
            return None
        if before is not None:
            near = max(first + before - _NEAR, 0)
            around = likeness[near : near + 2 * _NEAR + 1]
            if len(around) and around.max() > _LIKELY:
                return near + int(around.argmax()) - first
        best = int(likeness.argmax())
        return best - first if likeness[best] > _SURE else None

    def _compare(self, block: bytes) -> NDArray[np.float64] | None:
        """The likeness of ``block`` and each stretch of the recording, up to 1."""
        sound = _bright(np.frombuffer(block, "<i2"))
        loudness = float(np.sqrt((sound**2).sum()))
        if len(block) < 2 * _BLOCK or loudness < 100.0:
            return None
        shifted = np.fft.irfft(self._spectrum * np.conj(np.fft.rfft(sound, self._size)), self._size)
        likeness: NDArray[np.float64] = shifted[: len(self._loudness)] / (
            self._loudness * loudness
        )
        return likeness


def _bright(pcm: NDArray[np.int16]) -> NDArray[np.float64]:
    """Without the lowest tones, whose phases codecs shift, and the highest, which they drop."""
    sound = pcm.astype(np.float64)
    return sound - np.concatenate([sound[:2], sound[:-2]])
