"""Take the README's picture of the console: a real call, spoken by flite, answered.

    python tests/e2e/take_screenshot.py docs/console.png

The caller says good morning, asks for help and speaks over it. What is shown is
what the embedded engines understood and said, with the latencies they had, so
take it on a machine that has nothing else to do. Needs Chromium and flite.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
from pathlib import Path

import numpy as np
from playwright.async_api import Page

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
FEWER_PICTURES = """{
  const draw = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (f) => setTimeout(() => draw(f), 200);
}"""
"""Without a GPU, sixty pictures a second take from the call what it needs itself."""

SIZE = {"width": 1060, "height": 840}


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


async def photograph(page: Page) -> bytes:
    """A PNG at two pixels to one, a scale that is set only now, for the same reason."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send(
        "Emulation.setDeviceMetricsOverride", {**SIZE, "deviceScaleFactor": 2, "mobile": False}
    )
    # Two frames: one that takes note of the scale, one drawn with it.
    frame = "new Promise(requestAnimationFrame)"
    await page.evaluate(f"async () => {{ await {frame}; await {frame}; }}")
    shot = await devtools.send("Page.captureScreenshot", {"format": "png"})
    return base64.b64decode(shot["data"])


async def take(folder: Path) -> bytes:
    """Hold the conversation; its picture, taken while the last answer is heard."""
    morning, help_me, time = await spoken(
        "Good morning.", "What can I ask you?", "What is the time, please?"
    )
    microphone = write_microphone(
        folder / "mic.wav", GREETED_S, morning, ANSWER_S, help_me, CUT_S, time, 60.0
    )
    async with serving(folder) as service, chromium(microphone) as browser:
        page = await browser.new_page(viewport=SIZE, color_scheme="dark")
        await page.add_init_script(FEWER_PICTURES)
        console = Console(page)
        await page.goto(service.url)
        await console.call()
        cut = await until(console.first("agent", lambda t: t["interrupted"]), "a barge-in", 80)
        await until(
            console.first("agent", lambda t: t["turn"] > cut["turn"] and t["heard"]),
            "the last answer",
        )
        await until(lambda: console.level("agent"), "the agent's meter moves")
        picture = await photograph(page)
        for turn in await page.evaluate("() => voicecore.turns"):
            print(turn["role"], turn["turn"], turn["text"][:70], turn["latency"] or "")
    return picture


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        Path(sys.argv[1]).write_bytes(asyncio.run(take(Path(temporary))))
