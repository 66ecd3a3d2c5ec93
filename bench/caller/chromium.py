"""Headless Chromium whose microphone is a recording."""

from __future__ import annotations

import shutil
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from caller.speech import RATE_HZ, Pcm

if TYPE_CHECKING:
    from playwright.async_api import Browser

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
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
START_TIMEOUT_S = 60.0


@asynccontextmanager
async def chromium(
    microphone: Path | None = None, flags: Sequence[str] = ()
) -> AsyncIterator[Browser]:
    """A browser that hears the WAV ``microphone`` once (None: its own beeps); closed at the end.

    The recording begins when a page opens the microphone.
    """
    from playwright.async_api import async_playwright  # half a second, and no part of a bench

    arguments = [*FLAGS, *flags]
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=PROGRAM, args=arguments, timeout=START_TIMEOUT_S * 1000
        )
        try:
            yield browser
        finally:
            await browser.close()


def write_wav(path: Path, pcm: Pcm) -> Path:
    """``pcm`` (48 kHz, mono) as a file that Chromium takes; returns its path."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(pcm.tobytes())
    return path
