"""What a caller hears when an engine fails: synthesised once, kept as PCM.

It is made when the service starts, so that it needs no living engine later.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.engines.protocols import TtsEngine


class Apology:
    """The apology's audio, at any rate that is asked for."""

    def __init__(self, text: str, pcm: NDArray[np.int16], rate_hz: int) -> None:
        self.text = text
        self._rate_hz = rate_hz
        self._by_rate = {rate_hz: pcm}

    @classmethod
    async def synthesise(cls, tts: TtsEngine, text: str) -> Apology:
        """Let ``tts`` speak ``text``. Raises EngineError if it can't even now."""
        pieces = [chunk.pcm async for chunk in tts.speak(text)]
        pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        return cls(text, pcm, tts.rate_hz)

    def pcm(self, rate_hz: int) -> NDArray[np.int16]:
        """Mono int16 at ``rate_hz``; the caller must not write to it."""
        if rate_hz not in self._by_rate:
            resampler = Resampler(self._rate_hz, rate_hz)
            source = self._by_rate[self._rate_hz]
            self._by_rate[rate_hz] = np.concatenate([resampler.process(source), resampler.flush()])
        return self._by_rate[rate_hz]
