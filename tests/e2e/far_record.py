"""What the far end has on record of the agent's voice, decoded by a decoder that is not ours."""

from __future__ import annotations

import numpy as np
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame
from numpy.typing import NDArray

from e2e.aiortc_caller import Arrival

HZ = 48_000
CUT_S = 0.020
"""Words whose midpoint lies this close to a cut may fall on either side."""

_BLOCKS_PER_S = 200


def in_order(arrivals: list[Arrival]) -> list[Arrival]:
    """The packets as they were sent; none may be missing."""
    ordered = sorted(arrivals, key=lambda a: a.timestamp)
    numbers = np.array([a.sequence for a in ordered])
    assert (np.diff(numbers) % 65_536 == 1).all(), "a packet is missing"
    return ordered


def decoded(arrivals: list[Arrival]) -> NDArray[np.float64]:
    """All that arrived, in order (48 kHz, mono).

    A pause that a late sender made (its timestamps go on) is left out: no sample is in it.
    """
    decoder = OpusDecoder()
    frames = [
        decoder.decode(JitterFrame(data=a.payload, timestamp=a.timestamp))[0]
        for a in in_order(arrivals)
    ]
    pcm = np.concatenate([f.to_ndarray().reshape(-1, 2)[:, 0] for f in frames])
    return pcm.astype(np.float64) / 32768


def tones(pcm: NDArray[np.float64], rate_hz: int = HZ) -> list[tuple[float, float]]:
    """Stretches (s) of the tone at full level: peak of each 5 ms within 3 dB of -12 dBFS."""
    block = rate_hz // _BLOCKS_PER_S
    peaks = np.abs(pcm[: len(pcm) // block * block]).reshape(-1, block).max(axis=1)
    full = np.concatenate([[False], peaks > 0.25 * 10 ** (-3 / 20), [False]])
    edges = np.flatnonzero(np.diff(full.astype(int)))
    return [(a / _BLOCKS_PER_S, b / _BLOCKS_PER_S) for a, b in edges.reshape(-1, 2) if b - a >= 10]


def heard_words(words: list[str], heard: str, played_s: float, tone_s: float) -> bool:
    """Whether ``heard`` is what was played of ``words``, spread evenly over the tone."""
    middles = [(i + 0.5) * tone_s / len(words) for i in range(len(words))]
    sure = sum(middle < played_s - CUT_S for middle in middles)
    perhaps = sum(middle < played_s + CUT_S for middle in middles)
    said = heard.split()
    return said == words[: len(said)] and sure <= len(said) <= perhaps
