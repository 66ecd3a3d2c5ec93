"""How the tests of streaming recognisers talk to them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import numpy as np

from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import EncodedPacket, Pcm, SttStream
from voicecore.engines.stt.streaming import StreamingStt

_E = TypeVar("_E", bound=StreamingStt)

CHUNK_MS = 50
SOON_S = 60.0
"""How long a test waits for what must happen at once; never waited in full."""


class Partials:
    """An ``on_partial`` that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Transcript] = []
        self._changed = asyncio.Event()

    def __call__(self, text: str) -> None:
        assert isinstance(text, Transcript)
        self.told.append(text)
        self._changed.set()

    async def until(self, condition: Callable[[Transcript], bool]) -> Transcript:
        """The first told one, old or new, for which ``condition`` holds."""
        while True:
            for text in self.told:
                if condition(text):
                    return text
            self._changed.clear()
            await self._changed.wait()


@contextlib.asynccontextmanager
async def running(engine: _E) -> AsyncIterator[_E]:
    """Started, and closed with nothing left of it, in good time."""
    before = asyncio.all_tasks()
    await engine.start()
    try:
        async with asyncio.timeout(SOON_S):
            yield engine
    finally:
        await engine.close()
    left = asyncio.all_tasks() - before
    ours = [task for task in left if task.get_name().startswith(engine.name)]
    assert not ours


def silence(ms: int) -> Pcm:
    return np.zeros(16 * ms, np.int16)


def push(stream: SttStream, ms: int, chunk_ms: int = CHUNK_MS) -> None:
    """``ms`` of audio, in chunks."""
    for at in range(0, ms, chunk_ms):
        stream.push(silence(min(chunk_ms, ms - at)))


def opus_packets(count: int) -> list[EncodedPacket]:
    """20 ms of CELT silence each."""
    return [EncodedPacket(b"\xf8\xff\xfe", 20.0)] * count


def times(transcript: str) -> list[tuple[str, int, int]]:
    assert isinstance(transcript, Transcript)
    return [SpokenWord(*word)[:3] for word in transcript.words]
