"""Take the README's picture of the console: a real call, spoken by flite, answered.

    python tests/e2e/take_screenshot.py docs/console.png

The caller asks for the time and for help, and speaks over that. What is shown is
what the embedded engines understood and said, with the latencies they had, so
take it on a machine that has nothing else to do. Needs Chromium and flite.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "bench")]

from caller.chromium import chromium  # noqa: E402
from caller.speech import RATE_HZ  # noqa: E402
from e2e.browser import (  # noqa: E402
    Console,
    Pcm,
    serving,
    write_microphone,
)
from e2e.patience import until  # noqa: E402
from voicecore._native.resample import Resampler  # noqa: E402
from voicecore.engines.tts.flite import FliteTts  # noqa: E402

GREETED_S = 10.0
ANSWER_S = 5.0
CUT_S = 5.0
FEWER_PICTURES = """{
  const draw = window.requestAnimationFrame.bind(window);
  window.requestAnimationFrame = (f) => setTimeout(() => draw(f), 200);
}"""
"""Without a GPU, sixty pictures a second take from the call what it needs itself."""

SIZE = {"width": 1060, "height": 920}


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


def with_a_palette(png: bytes) -> bytes:
    """The same picture in 256 colours: a third of the size, and no eye tells."""
    with av.open(io.BytesIO(png)) as container:
        frame = next(container.decode(video=0)).reformat(format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1)
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    both = graph.add("split")
    colours = graph.add("palettegen", "reserve_transparent=0")
    painter = graph.add("paletteuse", "dither=none")
    sink = graph.add("buffersink")
    source.link_to(both)
    both.link_to(colours, 0, 0)
    both.link_to(painter, 1, 0)
    colours.link_to(painter, 0, 1)
    painter.link_to(sink)
    graph.configure()
    source.push(frame)
    source.push(None)
    painted = sink.pull()
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = painted.width, painted.height, "pal8"
    encoder.time_base = Fraction(1)
    encoder.options = {"compression_level": "9", "pred": "none"}
    return b"".join(bytes(packet) for packet in encoder.encode(painted) + encoder.encode(None))


async def take(folder: Path) -> bytes:
    """Hold the conversation; its picture, taken while the last answer is heard."""
    time, help_me, you = await spoken("What time is it?", "What can I ask you?", "What are you?")
    microphone = write_microphone(
        folder / "mic.wav", GREETED_S, time, ANSWER_S, help_me, CUT_S, you, 60.0
    )
    async with serving(folder) as service, chromium(microphone) as browser:
        page = await browser.new_page(viewport=SIZE, device_scale_factor=2, color_scheme="dark")
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
        picture = await page.screenshot()
        for turn in await page.evaluate("() => voicecore.turns"):
            print(turn["role"], turn["turn"], turn["text"][:70], turn["latency"] or "")
    return with_a_palette(picture)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        Path(sys.argv[1]).write_bytes(asyncio.run(take(Path(temporary))))
