"""What the callers of these tests say, and what the service tells of itself."""

from __future__ import annotations

import re
from functools import cache

import aiohttp
import numpy as np
from numpy.typing import NDArray

from caller import speech
from voicecore._native.resample import Resampler

Pcm = NDArray[np.int16]

SYNTHETIC_TEXT = "tuesday wednesday thursday friday"
"""What the embedded recogniser understands of the embedded voice; of most sentences, nothing."""


@cache
def command() -> tuple[str, Pcm]:
    """A sentence that the embedded recogniser knows, and its words."""
    folder = speech.cases_dir()
    raw = None if folder is None else folder / "speech_pocketsphinx" / "goforward.raw"
    if raw is None or not raw.exists():
        return SYNTHETIC_TEXT, speech.synthesised(SYNTHETIC_TEXT)
    resampler = Resampler(16_000, speech.RATE_HZ)
    pcm = np.fromfile(raw, "<i2").astype(np.int16)
    return "go forward ten meters", np.concatenate([resampler.process(pcm), resampler.flush()])


@cache
def remark() -> Pcm:
    """Something short to say in one breath, trimmed to 100 ms around the speech."""
    recorded = speech.cases_dir() is not None
    pcm = speech.recordings(1)[0][1] if recorded else speech.synthesised("Hello everybody")
    first, last = speech.extent(pcm)
    margin = speech.RATE_HZ // 10
    return pcm[max(first - margin, 0) : last + margin]


@cache
def acknowledgement() -> Pcm:
    """300 ms of an "uh": enough of a voice to be noticed, too little to want the floor."""
    folder = speech.cases_dir()
    recording = None if folder is None else folder / "backchannel_mfa" / "mfa_uh.flac"
    if recording is None or not recording.exists():
        pcm = speech.synthesised("uh")
        start = speech.extent(pcm)[0]
    else:
        pcm = speech.load(recording)
        start = round(2.4 * speech.RATE_HZ)
    piece = pcm[start : start + round(0.3 * speech.RATE_HZ)].astype(np.float64)
    ramp = np.linspace(0, 1, speech.RATE_HZ // 100)
    piece[: len(ramp)] *= ramp
    piece[-len(ramp) :] *= ramp[::-1]
    loud = 32768 * 10 ** (-26 / 20) / np.sqrt((piece**2).mean())
    return np.clip(np.rint(piece * loud), -32768, 32767).astype(np.int16)


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z']+", text.lower()))


async def counter(http: aiohttp.ClientSession, url: str, name: str, **labels: str) -> float:
    """A sample of ``/metrics``, 0 if it isn't there."""
    async with http.get(f"{url}/metrics") as reply:
        text = await reply.text()
    for line in text.splitlines():
        if re.match(rf"{re.escape(name)}[{{ ]", line) and all(
            f'{key}="{value}"' in line for key, value in labels.items()
        ):
            return float(line.rpartition(" ")[2])
    return 0.0


async def media(http: aiohttp.ClientSession, url: str, caller: object) -> dict[str, float]:
    """The counters of a call's media plane, now."""
    path = f"{url}/api/voice/session/{caller.session_id}"  # type: ignore[attr-defined]
    async with http.get(path, headers=caller.auth) as reply:  # type: ignore[attr-defined]
        assert reply.status == 200
        stats: dict[str, float] = (await reply.json())["media"]
        return stats
