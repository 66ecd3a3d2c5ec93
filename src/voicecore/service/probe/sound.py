"""A probe's mouth and ear: a phrase said in real time, and how loud what comes back is."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

import av
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from numpy.typing import NDArray

Pcm = NDArray[np.int16]

RATE_HZ = 48_000
FRAME = RATE_HZ // 50
_STEP = RATE_HZ // 100
_SPEECH_DB = 25.0
"""A frame of 10 ms is speech within so much of the loudest."""
LOUD = 10 ** (-50 / 20)
"""-50 dBFS: from here on it is a voice, and no silence or comfort noise."""


@dataclass(frozen=True)
class Phrase:
    """What is said (48 kHz, mono), and the sample at which its speech ends."""

    pcm: Pcm
    speech_end: int


def load_phrase() -> Phrase:
    """The phrase of the wheel."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    blocks: list[Pcm] = []
    with (
        resources.files(__package__).joinpath("phrase.wav").open("rb") as file,
        av.open(file, "r") as container,
    ):
        for frame in container.decode(audio=0):
            blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    blocks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    pcm = np.concatenate(blocks).astype(np.int16)
    steps = pcm[: len(pcm) // _STEP * _STEP].reshape(-1, _STEP).astype(np.float64)
    power = (steps**2).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_SPEECH_DB / 10))
    return Phrase(pcm, int(loud[-1] + 1) * _STEP)


class Mouth(MediaStreamTrack):
    """Frames of 20 ms in real time: an idle room, and the phrase once it is asked for.

    ``on_spoken(at_ns)`` is told once, when the frame with the end of the speech is handed over.
    """

    kind = "audio"

    def __init__(self, phrase: Phrase, on_spoken: Callable[[int], None]) -> None:
        super().__init__()
        self._phrase = phrase
        self._on_spoken = on_spoken
        # Some 80 dB below full scale, as a microphone has; digital silence is what no caller sends.
        self._room = np.random.default_rng(1).integers(-3, 4, FRAME).astype(np.int16)
        self._began_s: float | None = None
        self._sent = 0
        self._said: int | None = None

    def speak(self) -> None:
        """Begin to say it with the next frame."""
        self._said = 0

    async def recv(self) -> av.AudioFrame:
        """The next frame, when it is due. Raises MediaStreamError after the track was stopped."""
        if self.readyState != "live":
            raise MediaStreamError
        now_s = asyncio.get_running_loop().time()
        if self._began_s is None:
            self._began_s = now_s
        await asyncio.sleep(max(self._began_s + self._sent / RATE_HZ - now_s, 0))
        frame = av.AudioFrame.from_ndarray(self._next().reshape(1, -1), format="s16", layout="mono")
        frame.pts, frame.sample_rate = self._sent, RATE_HZ
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._sent += FRAME
        return frame

    def _next(self) -> Pcm:
        pcm = self._room.copy()
        if self._said is not None:
            before = self._said
            piece = self._phrase.pcm[before : before + FRAME]
            pcm[: len(piece)] = piece
            self._said = before + FRAME
            if before < self._phrase.speech_end <= self._said:
                self._on_spoken(time.monotonic_ns())
        return pcm


class Ear:
    """What is heard of the agent. ``heard`` is told of each frame; belongs to the event loop."""

    def __init__(self, heard: Callable[[], None]) -> None:
        self._heard = heard
        self.first_ns: int | None = None
        self.begin()

    def begin(self) -> None:
        """Count anew: what was heard so far was no answer."""
        self.loud_frames = 0
        self.first_loud_ns: int | None = None
        self._energy = 0.0

    @property
    def level_dbfs(self) -> float | None:
        """Of the loud frames since :meth:`begin`, a full-scale square wave being 0."""
        if not self.loud_frames:
            return None
        return round(10 * math.log10(self._energy / self.loud_frames), 1)

    async def listen(self, track: MediaStreamTrack) -> None:
        """Hear ``track`` to its end."""
        with contextlib.suppress(MediaStreamError):
            while True:
                self._take(await track.recv(), time.monotonic_ns())

    def _take(self, frame: Any, now_ns: int) -> None:
        samples = frame.to_ndarray().reshape(-1).astype(np.float64) / 32768
        energy = float((samples**2).mean())
        if self.first_ns is None:
            self.first_ns = now_ns
        if energy > LOUD**2:
            self.loud_frames += 1
            self._energy += energy
            if self.first_loud_ns is None:
                self.first_loud_ns = now_ns
        self._heard()
