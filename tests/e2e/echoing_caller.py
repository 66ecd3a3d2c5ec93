"""A caller whose loudspeaker is heard by his microphone, with no echo canceller between."""

from __future__ import annotations

import aiohttp
import numpy as np

from caller.speech import RATE_HZ, Pcm
from e2e.aiortc_caller import AiortcCaller


class EchoingCaller(AiortcCaller):
    """Sends back what he hears, so many dB quieter and (by his own doing) so much later."""

    def __init__(
        self, http: aiohttp.ClientSession, base_url: str, *, level_db: float, delay_ms: int
    ) -> None:
        super().__init__(http, base_url)
        self._gain = 10 ** (level_db / 20)
        self._delay: Pcm | None = np.zeros(RATE_HZ * delay_ms // 1000, np.int16)

    def _hears(self, pcm: Pcm) -> None:
        if self._delay is not None:
            self.say(self._delay)
            self._delay = None
        self.say(np.rint(pcm * self._gain).astype(np.int16))
