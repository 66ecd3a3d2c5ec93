"""A recogniser that the end-to-end tests hand to the service by ``--stt e2e_stt:UhOrHello``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from voicecore.engines.protocols import Pcm, SttStream

RATE_HZ = 16_000
_BLOCK = RATE_HZ // 100
_LOUD = 32768 * 10 ** (-45 / 20)
_SHORT_BLOCKS = 45


class UhOrHello:
    """Understands "uh" where less than 450 ms are loud, else "Hello?"."""

    name = "uh or hello"
    rate_hz = RATE_HZ

    async def start(self) -> None:
        """Nothing to load."""

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """Begin an utterance; ``on_partial`` is never called."""
        return _Stream()

    async def close(self) -> None:
        """Nothing to free."""


class _Stream:
    def __init__(self) -> None:
        self._chunks: list[Pcm] = []

    def push(self, pcm: Pcm) -> None:
        self._chunks.append(pcm)

    async def finish(self) -> str:
        pcm = np.concatenate([np.zeros(0, np.int16), *self._chunks]).astype(np.float64)
        blocks = pcm[: len(pcm) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
        loud = int((np.sqrt((blocks**2).mean(axis=1)) > _LOUD).sum())
        return "uh" if loud < _SHORT_BLOCKS else "Hello?"

    async def cancel(self) -> None:
        self._chunks.clear()
