"""A voice that is a 440 Hz tone, for benches and tests.

A tone has no silent stretch, so a gap of a few milliseconds in what arrives at
the far end can be seen; and its leading silence is known, so that it can be
taken off a measured latency.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated

import numpy as np

from voicecore.engines.options import Option
from voicecore.engines.protocols import Pcm, SpeechChunk, WordMark
from voicecore.errors import MisuseError

TONE_HZ = 440.0
PEAK = 8231  # -12 dBFS of 32767
RAMP_MS = 5.0
CHUNK_MS = 100

_WORD = re.compile(r"\S+")


class TtsStub:
    """Speaks every text as ``seconds`` of tone after ``lead_ms`` of digital silence.

    All chunks (100 ms each, the last one shorter) are there at once. The words
    of the text begin evenly spread over the tone. The tone's phase runs
    through all chunks, with 5 ms ramps at its two ends.
    """

    name = "stub"

    def __init__(
        self,
        seconds: Annotated[float, Option("length of the tone, 0 to 600")] = 2.0,
        lead_ms: Annotated[float, Option("silence before it, 0 to 10000")] = 0.0,
        *,
        rate_hz: Annotated[int, Option("samples a second, 8000 to 48000")] = 24_000,
    ) -> None:
        """``seconds``: 0..600 of tone; ``lead_ms``: 0..10000; ``rate_hz``: 8000..48000."""
        if not 0.0 <= seconds <= 600.0:
            raise MisuseError(f"seconds must be 0..600, got {seconds}")
        if not 0.0 <= lead_ms <= 10_000.0:
            raise MisuseError(f"lead_ms must be 0..10000, got {lead_ms}")
        if not 8_000 <= rate_hz <= 48_000:
            raise MisuseError(f"rate_hz must be 8000..48000, got {rate_hz}")
        self.rate_hz = rate_hz
        self._lead = round(lead_ms * rate_hz / 1000.0)
        self._pcm = np.concatenate(
            [np.zeros(self._lead, np.int16), _tone(round(seconds * rate_hz), rate_hz)]
        )

    async def start(self) -> None:
        """Nothing to load."""

    async def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        """Yield the lead and the tone; each mark comes with the chunk it begins in."""
        marks = _even_marks(text, self._lead, len(self._pcm) - self._lead)
        step = self.rate_hz * CHUNK_MS // 1000
        for start in range(0, len(self._pcm), step):
            end = start + step
            words = tuple(mark for mark in marks if start <= mark.sample < end)
            yield SpeechChunk(self._pcm[start:end].copy(), words)

    async def close(self) -> None:
        """Nothing to free."""


def _tone(samples: int, rate_hz: int) -> Pcm:
    phase = np.arange(samples, dtype=np.float64) * (2.0 * np.pi * TONE_HZ / rate_hz)
    wave = np.sin(phase) * PEAK
    ramp = min(round(RAMP_MS * rate_hz / 1000.0), samples // 2)
    if ramp:
        rise = np.arange(ramp, dtype=np.float64) / ramp
        wave[:ramp] *= rise
        wave[-ramp:] *= rise[::-1]
    return np.round(wave).astype(np.int16)


def _even_marks(text: str, first: int, samples: int) -> list[WordMark]:
    spans = [match.span() for match in _WORD.finditer(text)]
    return [
        WordMark(start, end, first + index * samples // len(spans))
        for index, (start, end) in enumerate(spans)
    ]
