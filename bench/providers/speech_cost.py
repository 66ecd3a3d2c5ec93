"""What a second of a remote synthesiser's speech costs its adapter in CPU time.

The server that plays the provider runs in a process of its own, so that this process's
time is the adapter's alone: WebSocket or HTTP, JSON, base64, samples, marks. ::

    python bench/providers/speech_cost.py        # prints a line for each adapter
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    _ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(_ROOT / folder) for folder in ("src", "tests", "bench")]

from fakes.cartesia_server import CartesiaServer
from fakes.elevenlabs_server import ElevenLabsServer
from fakes.openai_speech_server import OpenAiSpeechServer
from fakes.speech_site import SpeechSite
from fakes.tone_speech import speak
from voicecore.engines.protocols import TtsEngine
from voicecore.engines.tts.cartesia import CartesiaTts
from voicecore.engines.tts.elevenlabs import ElevenLabsTts
from voicecore.engines.tts.openai_speech import OpenAiSpeech

TEXT = "Of course I can look that up for you, just give me a second to find the right page."
TEXTS = 100

ADAPTERS: dict[str, tuple[Callable[[], SpeechSite], Callable[[str], TtsEngine]]] = {
    "elevenlabs": (ElevenLabsServer, lambda url: ElevenLabsTts(key="key", url=url)),
    "cartesia": (CartesiaServer, lambda url: CartesiaTts(key="key", url=url)),
    "openai-speech": (OpenAiSpeechServer, lambda url: OpenAiSpeech(url=url)),
}


def serve(name: str, told: Connection) -> None:
    """Be the provider ``name`` until the other end of ``told`` is closed."""

    async def main() -> None:
        server: Any = ADAPTERS[name][0]()
        speak(TEXT, 24_000)
        async with server:
            told.send(server.url)
            await asyncio.to_thread(told.poll, None)

    asyncio.run(main())


async def measure(name: str, url: str) -> tuple[float, float]:
    """Milliseconds of CPU per second of speech, and seconds of speech."""
    engine: Any = ADAPTERS[name][1](url)
    await engine.start()
    session = engine.session()
    await session.warm()
    samples = used_s = 0.0
    for number in range(TEXTS + 5):
        if number == 5:  # what is made once has been made
            samples, used_s = 0.0, time.process_time()
        async for chunk in session.speak(TEXT, answer=number):
            samples += len(chunk.pcm)
    used_s = time.process_time() - used_s
    await session.close()
    await engine.close()
    seconds = samples / engine.rate_hz
    return 1000.0 * used_s / seconds, seconds


def cost(name: str) -> tuple[float, float]:
    """As :func:`measure`, with the server beside."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(name, theirs), daemon=True)
    server.start()
    try:
        return asyncio.run(measure(name, ours.recv()))
    finally:
        ours.send(None)
        server.join(5.0)


if __name__ == "__main__":
    for adapter in ADAPTERS:
        cost_ms, seconds = cost(adapter)
        print(f"{adapter:14} {cost_ms:.3f} ms of CPU per second of speech ({seconds:.0f} s)")
