"""The loudness of what a synthesiser speaks, made as it goes into the playout ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class EnergyMeter:
    """One segment's loudness by blocks of 10 ms (``core/speech_energy.py``).

    Chunks of any length give the same bytes as the whole. Of a last block that
    isn't whole nothing is told. About 20 µs a chunk. Not thread-safe.
    """

    def __init__(self, rate_hz: int) -> None:
        """``rate_hz``: of the samples, which is the playout's."""
        self._block = rate_hz // 100
        self._rest = np.zeros(0, np.int16)

    def push(self, pcm: NDArray[np.int16]) -> bytes:
        """Take the segment's next samples (int16 mono); return the blocks they complete.

        Each is its mean square in dB above one step, rounded: 0 to 90. Keeps a
        copy of less than a block.
        """
        if len(self._rest):
            pcm = np.concatenate((self._rest, pcm))
        whole = len(pcm) // self._block * self._block
        self._rest = pcm[whole:].copy()
        if not whole:
            return b""
        blocks = pcm[:whole].reshape(-1, self._block).astype(np.float32)
        power = np.einsum("ij,ij->i", blocks, blocks) / np.float32(self._block)
        level = 10.0 * np.log10(np.maximum(power, 1.0))
        return bytes(np.rint(level).astype(np.uint8))
