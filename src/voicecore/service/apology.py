"""What a caller hears when an engine fails: synthesised once, kept as PCM.

It is made when the service starts, so that it needs no living engine later, and
at all rates that calls play at, so that a voice whose rate can't be converted is
refused before there is a call.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.engines.protocols import TtsEngine
from voicecore.errors import EngineError, MisuseError


class Apology:
    """The apology's audio at each rate that calls play at."""

    def __init__(self, text: str, by_rate: dict[int, NDArray[np.int16]]) -> None:
        self.text = text
        self._by_rate = by_rate

    @classmethod
    async def synthesise(cls, tts: TtsEngine, text: str, rates_hz: Iterable[int]) -> Apology:
        """Let ``tts`` speak ``text`` and keep it at ``rates_hz``.

        Raises EngineError if it can't even now, ``tts_rate`` if its rate can't
        be converted to one of these.
        """
        pieces = [chunk.pcm async for chunk in tts.speak(text)]
        pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        try:
            return cls(text, {hz: _at_rate(pcm, tts.rate_hz, hz) for hz in rates_hz})
        except MisuseError as error:
            raise EngineError(f"{tts.name}: {error}", engine=tts.name, code="tts_rate") from error

    def pcm(self, rate_hz: int) -> NDArray[np.int16]:
        """Mono int16 at ``rate_hz``, one of those asked for; the caller must not write to it."""
        return self._by_rate[rate_hz]


def _at_rate(pcm: NDArray[np.int16], from_hz: int, to_hz: int) -> NDArray[np.int16]:
    if from_hz == to_hz:
        return pcm
    resampler = Resampler(from_hz, to_hz)
    return np.concatenate([resampler.process(pcm), resampler.flush()])
