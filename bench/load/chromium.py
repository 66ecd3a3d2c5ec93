"""One call from the console page in headless Chromium, if it is installed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from caller.chromium import chromium, write_wav
from caller.speech import RATE_HZ, Pcm

_CONNECT_MS = 60_000
_POLL_S = 0.25


async def answers(url: str, pcm: Pcm, every_s: float, seconds: float, folder: Path) -> int:
    """Say ``pcm`` every ``every_s`` for ``seconds``; how often the agent was heard to begin."""
    every = np.zeros(int(every_s * RATE_HZ), np.int16)
    every[: len(pcm)] = pcm[: len(every)]
    said = np.tile(every, int((seconds + 30) / every_s) + 1)
    async with chromium(write_wav(folder / "microphone.wav", said)) as browser:
        page = await browser.new_page()
        page.set_default_timeout(_CONNECT_MS)
        await page.goto(url)
        await page.click("#call")
        await page.wait_for_selector("#connection[data-connection=connected]")
        energies = []
        for _ in range(int(seconds / _POLL_S)):
            stats = await page.evaluate("() => voicecore.remoteStats()")
            energies.append(float(stats.get("totalAudioEnergy", 0.0)))
            await asyncio.sleep(_POLL_S)
    return beginnings(energies)


def beginnings(energies: list[float]) -> int:
    """How often a growing sum of energy begins to grow after a rest."""
    grows = np.diff(np.array(energies)) > 1e-5
    return int(grows[0]) + int((grows[1:] & ~grows[:-1]).sum()) if len(grows) else 0
