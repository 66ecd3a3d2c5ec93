"""Calls to streaming synthesisers, and what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecore.engines.protocols import SpeechChunk, WordMark
from voicecore.errors import EngineError

TEXT = "Well, it's a fine day; isn't it?"
LATER = "Don't you think so?"


@dataclass
class Heard:
    chunks: list[SpeechChunk]
    error: EngineError | None = None

    @property
    def pcm(self) -> NDArray[np.int16]:
        return np.concatenate([np.zeros(0, np.int16), *(chunk.pcm for chunk in self.chunks)])

    @property
    def marks(self) -> list[WordMark]:
        return [mark for chunk in self.chunks for mark in chunk.words]

    def words(self, text: str) -> list[str]:
        return [text[mark.char_start : mark.char_end] for mark in self.marks]


async def hear(speech: AsyncIterator[SpeechChunk]) -> Heard:
    """All of it, and the error that ended it."""
    heard = Heard([])
    try:
        async for chunk in speech:
            assert chunk.pcm.dtype == np.int16
            assert chunk.pcm.flags.c_contiguous
            assert chunk.pcm.flags.writeable
            heard.chunks.append(chunk)
    except EngineError as error:
        heard.error = error
    return heard


async def refused(speech: AsyncIterator[SpeechChunk]) -> EngineError:
    """The error it ends with, which repeats nothing of what was to be said."""
    heard = await hear(speech)
    assert heard.error is not None, "nothing was refused"
    assert "Hello" not in str(heard.error)
    assert heard.error.code.startswith("tts_")
    return heard.error


async def noticed() -> None:
    """What lies in the sockets of this process has been read by those who listen."""
    for _ in range(20):
        await asyncio.sleep(0)


def strangers(before: set[asyncio.Task[Any]]) -> set[str]:
    """Names of the tasks that are neither of ``before`` nor this one."""
    mine = asyncio.current_task()
    return {
        task.get_name()
        for task in asyncio.all_tasks()
        if task not in before and task is not mine and not task.done()
    }


async def leaves_nothing(work: Callable[[], Awaitable[None]]) -> None:
    """``work`` starts no task that outlives it."""
    before = asyncio.all_tasks()
    await work()
    # What was cancelled without being awaited would still be there.
    assert strangers(before) == set()
