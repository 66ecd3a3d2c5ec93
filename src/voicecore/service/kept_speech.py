"""What a caller hears when nothing may fail any more: synthesised once, kept as PCM.

The apology for an engine that fails, the goodbye of a server that stops. They are made
when the service starts, so that they need no living engine later (nor one each for all
calls at once), and at all rates that calls play at, so that a voice whose rate can't be
converted is refused before there is a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.engines.protocols import TtsEngine
from voicecore.errors import EngineError, MisuseError


class KeptSpeech:
    """The audio of some texts, at each rate (Hz) that calls play at."""

    def __init__(self, kept: Mapping[str, Mapping[int, NDArray[np.int16]]]) -> None:
        self._kept = kept

    @classmethod
    async def synthesise(
        cls, tts: TtsEngine, texts: Iterable[str], rates_hz: Iterable[int]
    ) -> KeptSpeech:
        """Let ``tts`` speak each of ``texts`` (without white space around it) and keep it.

        Raises EngineError if it can't even now, ``tts_rate`` if its rate can't
        be converted to one of ``rates_hz``.
        """
        rates = tuple(rates_hz)
        kept = {}
        for text in texts:
            pieces = [chunk.pcm async for chunk in tts.speak(text)]
            pcm = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
            try:
                kept[text] = {hz: _at_rate(pcm, tts.rate_hz, hz) for hz in rates}
            except MisuseError as error:
                message = f"{tts.name}: {error}"
                raise EngineError(message, engine=tts.name, code="tts_rate") from error
        return cls(kept)

    def pcm(self, text: str, rate_hz: int) -> NDArray[np.int16]:
        """Mono int16 of a text that is kept; the caller must not write to it."""
        return self._kept[text][rate_hz]

    def seconds(self, text: str) -> float:
        """How long it lasts; 0: it isn't kept."""
        by_rate = self._kept.get(text, {})
        return max((len(pcm) / rate_hz for rate_hz, pcm in by_rate.items()), default=0.0)


def _at_rate(pcm: NDArray[np.int16], from_hz: int, to_hz: int) -> NDArray[np.int16]:
    if from_hz == to_hz:
        return pcm
    resampler = Resampler(from_hz, to_hz)
    return np.concatenate([resampler.process(pcm), resampler.flush()])
