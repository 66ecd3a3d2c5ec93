"""Recorded speech for callers: load, find where it begins and ends, encode as Chromium does."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from voicecore._native.opus import Encoder
from voicecore._native.resample import Resampler
from voicecore.engines.tts.espeak import EspeakTts

RATE_HZ = 48_000
FRAME_SAMPLES = RATE_HZ // 50
_STEP = RATE_HZ // 100

Pcm = NDArray[np.int16]


def cases_dir() -> Path | None:
    """The folder of recordings: ``VOICECORE_CASES``, else ``../shared/cases`` if it is there."""
    default = Path(__file__).parents[2].parent / "shared" / "cases"
    folder = Path(os.environ.get("VOICECORE_CASES", default))
    return folder if folder.is_dir() else None


def load(path: Path, rate_hz: int = RATE_HZ) -> Pcm:
    """A recording as mono int16 at ``rate_hz``."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)
    blocks = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            blocks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    blocks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(blocks).astype(np.int16)


def extent(pcm: Pcm) -> tuple[int, int]:
    """First and last speech sample (MEASURE: 10 ms frames within 25 dB of the loudest)."""
    frames = pcm[: len(pcm) // _STEP * _STEP].reshape(-1, _STEP).astype(np.float64)
    power = (frames**2).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-25 / 10))
    return int(loud[0]) * _STEP, int(loud[-1] + 1) * _STEP


@dataclass(frozen=True)
class Utterance:
    """Encoded speech: 20 ms payloads; where in them speech begins and ends (samples at 48 kHz)."""

    name: str
    payloads: tuple[bytes, ...]
    first_sample: int
    last_sample: int

    @property
    def duration_s(self) -> float:
        """Length of all payloads."""
        return len(self.payloads) / 50


def encode(name: str, pcm: Pcm, *, shift: int = 0, band_hz: int = 20_000) -> Utterance:
    """``pcm`` behind ``shift`` samples of silence (its phase in the 20 ms frames).

    Encoder as Chromium's: VOIP, mono, 32 kb/s, complexity 9, FEC, up to ``band_hz``.
    """
    first, last = extent(pcm)
    pcm = pcm[max(first - RATE_HZ // 10, 0) : last + RATE_HZ // 10]
    lead = first - max(first - RATE_HZ // 10, 0)
    padded = np.concatenate([np.zeros(shift, np.int16), pcm])
    padded = np.concatenate([padded, np.zeros(-len(padded) % FRAME_SAMPLES, np.int16)])
    encoder = _encoder(band_hz)
    payloads = tuple(encoder.encode(f) for f in padded.reshape(-1, FRAME_SAMPLES))
    return Utterance(name, payloads, shift + lead, shift + lead + last - first)


def _encoder(band_hz: int) -> Encoder:
    return Encoder(
        RATE_HZ,
        application="voip",
        bitrate_bps=32_000,
        complexity=9,
        fec=True,
        max_bandwidth_hz=band_hz,
    )


def silence_payload(band_hz: int = 20_000) -> bytes:
    """20 ms of an idle microphone, for between utterances."""
    encoder = _encoder(band_hz)
    noise = np.random.default_rng(1).integers(-3, 4, (10, FRAME_SAMPLES)).astype(np.int16)
    return [encoder.encode(frame) for frame in noise][-1]


def recordings(limit: int = 8) -> list[tuple[str, Pcm]]:
    """Short spoken utterances: real recordings where there are any, else synthesised ones."""
    folder = cases_dir()
    if folder is None:
        return [("synthesised", synthesised("Hello there, can you hear me?"))]
    names = [
        "speech_livekit/hello_world.wav",
        "speech_livekit/weather_question.wav",
        "speech_asterisk8k/agent-loginok.wav",
        "speech_asterisk8k/call-forwarding.wav",
        "speech_asterisk8k/conf-muted.wav",
        "speech_asterisk8k/vm-deleted.wav",
        "speech_asterisk8k/location.wav",
        "speech_asterisk8k/spy-mobile.wav",
    ]
    found = [(Path(name).stem, load(folder / name)) for name in names if (folder / name).exists()]
    return found[:limit]


@cache
def synthesised(text: str) -> Pcm:
    """Speech made by the embedded synthesiser, at 48 kHz. Blocks for a second."""

    async def speak() -> Pcm:
        tts = EspeakTts()
        await tts.start()
        try:
            pcm = np.concatenate([chunk.pcm async for chunk in tts.speak(text)])
        finally:
            await tts.close()
        resampler = Resampler(tts.rate_hz, RATE_HZ)
        return np.concatenate([resampler.process(pcm), resampler.flush()])

    # In a thread, since the thread that asks may be running an event loop.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, speak()).result()
