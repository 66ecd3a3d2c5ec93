"""A caller whose loudspeaker is heard by his microphone, with no echo canceller between."""

from __future__ import annotations

import aiohttp
import numpy as np

from caller.speech import FRAME_SAMPLES, Pcm
from e2e.aiortc_caller import AiortcCaller, Microphone

_MOST_FRAMES = 100


class _InARoom(Microphone):
    """Hears the loudspeaker so many dB quieter and so many frames of 20 ms later, always.

    A frame that the machine delivers later than that isn't heard: a room's delay doesn't grow.
    """

    def __init__(self, level_db: float, frames: int) -> None:
        super().__init__()
        self._gain = 10 ** (level_db / 20)
        self._frames = frames
        self._now = 0
        self._first: tuple[int, int] | None = None
        self._echoes: dict[int, Pcm] = {}

    def hear(self, at: int, pcm: Pcm) -> None:
        """The loudspeaker plays ``pcm``, of RTP time ``at``."""
        if self._first is None:
            self._first = at, self._now + self._frames * FRAME_SAMPLES
        due = self._first[1] + at - self._first[0]
        if due >= self._now and len(self._echoes) < _MOST_FRAMES:
            self._echoes[due] = np.rint(pcm * self._gain).astype(np.int16)

    def samples(self, at: int) -> Pcm:
        self._now = at + FRAME_SAMPLES
        pcm = super().samples(at)
        echo = self._echoes.pop(at, None)
        return pcm if echo is None else pcm + echo


class EchoingCaller(AiortcCaller):
    """Sends back what he hears; what the network and aiortc take goes on top of the delay."""

    def __init__(
        self, http: aiohttp.ClientSession, base_url: str, *, level_db: float, frames: int
    ) -> None:
        super().__init__(http, base_url)
        self.microphone = self._room = _InARoom(level_db, frames)

    def _hears(self, at: int, pcm: Pcm) -> None:
        self._room.hear(at, pcm)
