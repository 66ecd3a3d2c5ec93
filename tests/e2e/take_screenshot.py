"""Take the README's picture of the console: a real call, spoken by flite, answered.

    python tests/e2e/take_screenshot.py docs/console.png

The caller asks for a sum and for help, and speaks over that. What is shown is
what the embedded engines understood and said, with the latencies they had, so
take it on a machine that has nothing else to do. Needs Chromium and flite.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "bench")]

from caller.speech import RATE_HZ  # noqa: E402
from e2e.browser import (  # noqa: E402
    Console,
    Pcm,
    chromium,
    serving,
    until,
    write_microphone,
)
from voicecore._native.resample import Resampler  # noqa: E402
from voicecore.engines.tts.flite import FliteTts  # noqa: E402

GREETED_S = 10.0
ANSWER_S = 5.0
CUT_S = 6.0
SIZE = {"width": 1120, "height": 840}


async def spoken(*texts: str) -> list[Pcm]:
    """The caller's words at 48 kHz, in a voice that the recogniser knows well."""
    tts = FliteTts()
    await tts.start()
    try:
        return [await _speak(tts, text) for text in texts]
    finally:
        await tts.close()


async def _speak(tts: FliteTts, text: str) -> Pcm:
    resampler = Resampler(tts.rate_hz, RATE_HZ)
    parts = [resampler.process(chunk.pcm) async for chunk in tts.speak(text)]
    return np.concatenate([*parts, resampler.flush()])


async def take(path: Path, folder: Path) -> None:
    """Hold the conversation and write its picture to ``path``."""
    total, help_me, time = await spoken(
        "What is twelve times nine?", "What can I ask you?", "What time is it?"
    )
    microphone = write_microphone(
        folder / "mic.wav", GREETED_S, total, ANSWER_S, help_me, CUT_S, time, 60.0
    )
    async with serving(folder) as service, chromium(microphone) as browser:
        page = await browser.new_page(
            viewport=SIZE,
            device_scale_factor=2,
            color_scheme="dark",
            reduced_motion="no-preference",
        )
        console = Console(page)
        await page.goto(service.url)
        await console.call()
        cut = await until(console.first("agent", lambda t: t["interrupted"]), "a barge-in", 60)
        await until(
            console.first("agent", lambda t: t["turn"] > cut["turn"] and t["heard"]),
            "the last answer",
        )
        await page.screenshot(path=path)
        for turn in await page.evaluate("() => voicecore.turns"):
            print(turn["role"], turn["turn"], turn["text"][:70], turn["latency"] or "")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(take(Path(sys.argv[1]), Path(temporary)))
