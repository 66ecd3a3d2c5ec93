"""What the adapter of a remote synthesiser costs: CPU per second of speech, and delay.

The server that plays the provider runs in a process of its own, so that this process's
time is the adapter's alone: WebSocket or HTTP, JSON, base64, samples, marks. Delay is
from the text to its first sound, less the 150 ms that the server takes, with 50 calls
side by side whose audio comes in real time, 100 ms at once. ::

    python bench/providers/speech_cost.py        # prints a line for each adapter
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
CALLS = 50
DELAY_S = 0.15
PIECE_S = 0.1

ADAPTERS: dict[str, tuple[Callable[..., SpeechSite], Callable[[str], TtsEngine]]] = {
    "elevenlabs": (ElevenLabsServer, lambda url: ElevenLabsTts(key="key", url=url)),
    "cartesia": (CartesiaServer, lambda url: CartesiaTts(key="key", url=url)),
    "openai-speech": (OpenAiSpeechServer, lambda url: OpenAiSpeech(url=url)),
}


def serve(name: str, pace: dict[str, float], told: Connection) -> None:
    """Be the provider ``name`` until something comes back on ``told``."""

    async def main() -> None:
        server: Any = ADAPTERS[name][0](**pace)
        speak(TEXT, 24_000)
        async with server:
            told.send(server.url)
            await asyncio.to_thread(told.poll, None)

    asyncio.run(main())


@contextmanager
def provider(name: str, **pace: float) -> Iterator[str]:
    """The address of ``name``, which is served by a process beside."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=serve, args=(name, pace, theirs), daemon=True)
    server.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        server.join(5.0)


async def cpu_ms(name: str, url: str) -> float:
    """Milliseconds of CPU per second of speech."""
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
    return 1000.0 * used_s * float(engine.rate_hz) / samples


async def delays_ms(name: str, url: str) -> list[float]:
    """How much later than the server's first byte each text's first sound is there."""
    engine: Any = ADAPTERS[name][1](url)
    await engine.start()
    sessions = [engine.session() for _ in range(CALLS)]
    delays: list[float] = []

    async def call(number: int, session: Any) -> None:
        await session.warm()
        await asyncio.sleep(number * 0.02)
        for answer in range(3):
            began_s, first_s = time.perf_counter(), 0.0
            async for _ in session.speak(TEXT, answer=answer):
                first_s = first_s or time.perf_counter()
            delays.append(1000.0 * (first_s - began_s - DELAY_S))
        await session.close()

    await asyncio.gather(*(call(*each) for each in enumerate(sessions)))
    await engine.close()
    return sorted(delays)


if __name__ == "__main__":
    for adapter in ADAPTERS:
        with provider(adapter) as address:
            cost = asyncio.run(cpu_ms(adapter, address))
        with provider(adapter, delay_s=DELAY_S, every_s=PIECE_S) as address:
            late = asyncio.run(delays_ms(adapter, address))
        print(
            f"{adapter:14} {cost:.2f} ms of CPU per second of speech; first sound with {CALLS} "
            f"calls {late[len(late) // 2]:.1f} ms (p50), {late[len(late) * 95 // 100]:.1f} (p95)"
        )
