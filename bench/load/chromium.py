"""One call from the console page in headless Chromium, if it is installed."""

from __future__ import annotations

import asyncio
import shutil
import wave
from pathlib import Path

import numpy as np

from caller.speech import RATE_HZ, Pcm

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
_CONNECT_MS = 60_000
_POLL_S = 0.25


async def answers(url: str, pcm: Pcm, every_s: float, seconds: float, folder: Path) -> int:
    """Say ``pcm`` every ``every_s`` for ``seconds``; how often the agent was heard to begin."""
    from playwright.async_api import async_playwright

    microphone = _microphone(folder / "microphone.wav", pcm, every_s, seconds + 30)
    flags = [*_FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=PROGRAM, args=flags, timeout=_CONNECT_MS
        )
        try:
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
        finally:
            await browser.close()
    return beginnings(energies)


def beginnings(energies: list[float]) -> int:
    """How often a growing sum of energy begins to grow after a rest."""
    grows = np.diff(np.array(energies)) > 1e-5
    return int(grows[0]) + int((grows[1:] & ~grows[:-1]).sum()) if len(grows) else 0


def _microphone(path: Path, pcm: Pcm, every_s: float, seconds: float) -> Path:
    """A recording of ``pcm`` every ``every_s``; Chromium plays it once."""
    every = np.zeros(int(every_s * RATE_HZ), np.int16)
    every[: len(pcm)] = pcm[: len(every)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.tile(every, int(seconds / every_s) + 1).tobytes())
    return path
