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
"""Beside a block that was found, its neighbour is known by less."""
_QUIET = 30.0
"""An idle microphone's hum is below."""


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
        samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2")
        starts = range(0, len(samples), _BLOCK)
        lates = self._places(pcm, len(samples))
        heard: list[Spoken] = []
        for start, late in zip(starts, lates, strict=True):
            if late is None:
                continue
            for word, begin_s, end_s, middle_s in self._said:
                middle = round(middle_s * RATE_HZ) - late
                if start <= middle < start + _BLOCK and _is_loud(samples, middle):
                    heard.append((word, begin_s - late / RATE_HZ, end_s - late / RATE_HZ))
        return heard

    def _places(self, pcm: bytes, samples: int) -> list[int | None]:
        """How much later in the recording each block is than in what was heard, in samples."""
        # The last block is as long as the others, so that it is known as well.
        firsts = [max(min(start, samples - _BLOCK), 0) for start in range(0, samples, _BLOCK)]
        blocks = [pcm[2 * first : 2 * (first + _BLOCK)] for first in firsts]
        found = [self._where(*each, None) for each in zip(blocks, firsts, strict=True)]
        for order in (range(1, len(found)), range(len(found) - 2, -1, -1)):
            for at in order:
                near = found[at - order.step]
                if found[at] is None and near is not None:
                    found[at] = self._where(blocks[at], firsts[at], near)
        return found

    def _where(self, block: bytes, first: int, near: int | None) -> int | None:
        likeness = self._likeness(block)
        if likeness is None:
            return None
        begin = 0 if near is None else min(max(first + near - _NEAR, 0), len(likeness) - 1)
        around = likeness if near is None else likeness[begin : begin + 2 * _NEAR + 1]
        best = int(around.argmax())
        enough = _SURE if near is None else _LIKELY
        return begin + best - first if around[best] > enough else None

    def _compare(self, block: bytes) -> NDArray[np.float64] | None:
        """The likeness of ``block`` and each stretch of the recording, up to 1."""
        sound = _bright(np.frombuffer(block, "<i2"))
        loudness = float(np.sqrt((sound**2).sum()))
        if len(block) < 2 * _BLOCK or loudness < 100.0:
            return None
        shifted = np.fft.irfft(self._spectrum * np.conj(np.fft.rfft(sound, self._size)), self._size)
        likeness: NDArray[np.float64] = shifted[: len(self._loudness)] / (self._loudness * loudness)
        return likeness


def _is_loud(samples: NDArray[np.int16], middle: int) -> bool:
    around = samples[max(middle - _BLOCK // 8, 0) : middle + _BLOCK // 8].astype(np.float64)
    return bool(len(around)) and float(np.sqrt((around**2).mean())) > _QUIET


def _bright(pcm: NDArray[np.int16]) -> NDArray[np.float64]:
    """Without the lowest tones, whose phases codecs shift, and the highest, which they drop."""
    sound = pcm.astype(np.float64)
    return sound - np.concatenate([sound[:2], sound[:-2]])
