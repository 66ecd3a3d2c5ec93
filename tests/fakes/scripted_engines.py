"""Engines that do what a test tells them, for whoever stands above engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np

from voicecore.core.conversation import Conversation
from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import Pcm, SpeechChunk, WordMark
from voicecore.errors import EngineError

WORD_SAMPLES = 1600
RATE_HZ = 16_000
HANG = object()
"""A step that never ends."""

Step = Any
"""A piece to give, a number of seconds to wait, an exception to raise, or HANG."""


def broken(code: str = "stt_closed", **more: Any) -> EngineError:
    return EngineError("scripted: it broke", engine="scripted", code=code, **more)


class Counted:
    """Counts what the meter is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.told.append((name, *args))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [row[1:] for row in self.told if row[0] == name]


async def play(steps: Sequence[Step]) -> AsyncIterator[Any]:
    for step in steps:
        if isinstance(step, BaseException):
            raise step
        if step is HANG:
            await asyncio.Event().wait()
        elif isinstance(step, int | float):
            await asyncio.sleep(step)
        else:
            yield step


async def step_of(steps: list[Step]) -> None:
    """Do the first of ``steps``, if there is one."""
    async for _ in play([steps.pop(0)] if steps else []):
        pass


class ScriptedLlm:
    """Each reply plays the next script, the last one for ever."""

    greeting = "Hello."
    speculative = True

    def __init__(self, *scripts: Sequence[Step], name: str = "scripted") -> None:
        self.name = name
        self.asked = 0
        self.open = 0
        self.started = self.closed = 0
        self.start_error: Exception | None = None
        self._scripts = list(scripts)

    async def start(self) -> None:
        self.started += 1
        if self.start_error is not None:
            raise self.start_error

    async def close(self) -> None:
        self.closed += 1

    def reply(self, conversation: Conversation) -> AsyncIterator[str]:
        return self._run()

    async def _run(self) -> AsyncIterator[Any]:
        script = self._scripts[min(self.asked, len(self._scripts) - 1)]
        self.asked += 1
        self.open += 1
        try:
            async for piece in play(script):
                yield piece
        finally:
            self.open -= 1


class ScriptedTts(ScriptedLlm):
    """The same for speech; a text step stands for that word: 100 ms and its mark."""

    def __init__(
        self,
        *scripts: Sequence[Step],
        name: str = "scripted",
        rate_hz: int = RATE_HZ,
        marks: bool = True,
    ) -> None:
        super().__init__(*scripts, name=name)
        self.rate_hz = rate_hz
        self.texts: list[str] = []
        self._marks = marks

    def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        self.texts.append(text)
        return self._words(text)

    async def _words(self, text: str) -> AsyncIterator[SpeechChunk]:
        at, sample, word_samples = 0, 0, self.rate_hz // 10
        async for word in self._run():
            start = text.index(word, at)
            at = start + len(word)
            mark = WordMark(start, at, sample, sample + word_samples)
            sample += word_samples
            yield SpeechChunk(
                np.full(word_samples, len(self.texts), np.int16), (mark,) if self._marks else ()
            )


def speech(*words: int) -> Pcm:
    """Word ``k`` is 100 ms of samples of the value 1000 + k."""
    return np.concatenate([np.full(WORD_SAMPLES, 1000 + word, np.int16) for word in words])


class SampleStt:
    """Understands :func:`speech`; its connections break when a test says so.

    ``settles``: after how many words of a connection these are final. A word of which
    the beginning is missing is understood as ``?k``.
    """

    rate_hz = RATE_HZ
    remote = True

    def __init__(self, name: str = "samples", *, settles: int = 3) -> None:
        self.name = name
        self.settles = settles
        self.streams: list[SampleStream] = []
        self.open_steps: list[Step] = []
        self.mute = False
        self.heals_when_opened = False
        self.finish_steps: list[Step] = []
        self.sessions = 0
        self.started = self.closed = 0

    async def start(self) -> None:
        self.started += 1

    async def close(self) -> None:
        self.closed += 1

    def session(self, codec: str = "") -> SampleSession:
        self.sessions += 1
        return SampleSession(self)

    async def open(self, on_partial: Callable[[str], None]) -> SampleStream:
        await step_of(self.open_steps)
        if self.heals_when_opened:
            self.mute = False
        stream = SampleStream(self, on_partial)
        self.streams.append(stream)
        return stream

    @property
    def live(self) -> int:
        return sum(not stream.over for stream in self.streams)


class SampleSession:
    encoded = False

    def __init__(self, engine: SampleStt) -> None:
        self._engine = engine

    async def warm(self) -> None: ...

    async def open(self, on_partial: Callable[[str], None]) -> SampleStream:
        return await self._engine.open(on_partial)

    async def close(self) -> None:
        self._engine.sessions -= 1


class SampleStream:
    def __init__(self, engine: SampleStt, on_partial: Callable[[str], None]) -> None:
        self.settled = Transcript("")
        self.settled_samples = 0
        self.progress = 0
        self.gives_up_quietly = False
        self.confirmed = False
        self.heard_samples = 0
        self.condemned: EngineError | None = None
        self.failure: asyncio.Future[EngineError] = asyncio.get_running_loop().create_future()
        self.over = False
        self.samples = 0
        self._engine = engine
        self._on_partial = on_partial
        self._heard = np.zeros(0, np.int16)

    def push(self, pcm: Pcm) -> None:
        assert not self.over
        self._heard = np.concatenate([self._heard, pcm])
        self.samples += len(pcm)
        if self._engine.mute or self.failure.done():
            return
        words = self._words(whole_only=True)
        if len(words) % self._engine.settles == 0:
            self.settled = Transcript(" ".join(w.text for w in words), tuple(words))
            self.settled_samples = words[-1].end_ms * 16 if words else 0
        self.progress += 1
        self.heard_samples = self.samples
        self._on_partial(Transcript(" ".join(w.text for w in words), tuple(words)))

    async def finish(self) -> str:
        if self.failure.done():
            raise self.failure.result()
        async for _ in play(
            [self._engine.finish_steps.pop(0)] if self._engine.finish_steps else []
        ):
            pass
        self.over = True
        if self._engine.mute and not self.gives_up_quietly:
            raise broken("stt_timeout")
        if self._engine.mute:
            return self.settled
        self.confirmed = True
        words = self._words(whole_only=False)
        return Transcript(" ".join(w.text for w in words), tuple(words))

    async def cancel(self) -> None:
        self.over = True

    def condemn(self, error: EngineError) -> None:
        self.condemned = error

    def break_off(self, error: EngineError | None = None) -> None:
        if not self.failure.done():
            self.failure.set_result(error or broken())

    def _words(self, *, whole_only: bool) -> list[SpokenWord]:
        edges = np.flatnonzero(np.diff(self._heard)) + 1
        found, start = [], 0
        for end in [*edges.tolist(), len(self._heard)]:
            value, length = int(self._heard[start]) if end else 0, end - start
            if value and (length == WORD_SAMPLES or not whole_only):
                text = str(value - 1000)
                found.append(
                    SpokenWord(
                        text if length == WORD_SAMPLES else f"?{text}", start // 16, end // 16
                    )
                )
            start = end
        return found
