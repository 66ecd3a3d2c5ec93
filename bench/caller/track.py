"""A caller's mouth and ear for stock aiortc."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import time
from collections.abc import Callable
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from caller.speech import FRAME_SAMPLES, RATE_HZ, Pcm


class ClockedTrack(MediaStreamTrack):
    """Frames of 20 ms, mono at 48 kHz, each at its time after the first.

    Who asks late gets what is overdue at once, so that none is left out.
    """

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._began_s = 0.0
        self._at = 0

    def samples(self, at: int) -> Pcm:
        """The FRAME_SAMPLES that begin at sample ``at``; asked for once each, in order."""
        raise NotImplementedError

    async def recv(self) -> av.AudioFrame:
        """The next frame. Raises MediaStreamError after the track was stopped."""
        if self.readyState != "live":
            raise MediaStreamError
        self._began_s = self._began_s or time.monotonic()
        await asyncio.sleep(max(self._began_s + self._at / RATE_HZ - time.monotonic(), 0))
        pcm = self.samples(self._at).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.pts, frame.sample_rate = self._at, RATE_HZ
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._at += FRAME_SAMPLES
        return frame


async def listen(
    track: MediaStreamTrack,
    heard: list[tuple[int, float]],
    most: int,
    on_frame: Callable[[int, Pcm], None] = lambda at, pcm: None,
) -> None:
    """Add to ``heard`` when each frame was played and its RMS (1.0: full scale), to the end.

    What comes after ``most`` frames is played and not noted. ``on_frame`` gets the
    RTP time and the left channel of each.
    """
    with contextlib.suppress(MediaStreamError):
        while True:
            frame: Any = await track.recv()
            pcm = frame.to_ndarray().reshape(-1).astype(np.float64)
            level = float(np.sqrt((pcm**2).mean())) / 32768
            left = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            on_frame(frame.pts, left)
            if len(heard) < most:
                heard.append((time.monotonic_ns(), level))
