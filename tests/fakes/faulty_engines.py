"""Engines that keep every promise, and others of which each breaks one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import numpy as np

from voicecore.core.conversation import Message, ToolCall
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.transcript import SpokenWord, Transcript
from voicecore.engines.protocols import SpeechChunk, WordMark
from voicecore.errors import EngineError, MisuseError


class Started:
    """What is the same for all: use is misuse unless started."""

    name = "good"

    def __init__(self):
        self.open_now = False

    async def start(self):
        self.open_now = True

    async def close(self):
        self.open_now = False

    def must_be_started(self):
        if not self.open_now:
            raise MisuseError("good: the engine isn't started")


class GoodStream:
    """Tells the number of pieces as a partial, one loop turn later."""

    def __init__(self, on_partial):
        self.on_partial = on_partial
        self.pieces = self.samples = 0
        self.over = False

    def push(self, pcm):
        self.pieces += 1
        self.samples += len(pcm)
        asyncio.get_running_loop().call_soon(self.tell)

    def tell(self):
        if not self.over:
            self.on_partial("word " * self.pieces)

    async def finish(self):
        await asyncio.sleep(0.001)
        self.over = True
        end_ms = self.samples // 16
        return Transcript("word", (SpokenWord("word", 0, end_ms, 0.5),) if end_ms else ())

    async def cancel(self):
        self.over = True


class GoodStt(Started):
    rate_hz = 16_000
    stream = GoodStream

    async def open(self, on_partial):
        self.must_be_started()
        return self.stream(on_partial)


class GoodSttSession:
    encoded = False

    def __init__(self, engine):
        self.engine = engine
        self.streams = []

    async def warm(self):
        await asyncio.sleep(0)

    async def open(self, on_partial):
        self.streams.append(await self.engine.open(on_partial))
        return self.streams[-1]

    async def close(self):
        for stream in self.streams:
            await stream.cancel()


class GoodSessionStt(GoodStt):
    made = GoodSttSession

    def session(self, codec=""):
        return self.made(self)


def stt(**overrides):
    """A GoodStt whose streams have these methods instead."""
    stream = type("Stream", (GoodStream,), overrides)
    return type("Stt", (GoodStt,), {"stream": stream})


async def finish_blocking(self):
    time.sleep(0.15)  # noqa: ASYNC251 - that is the fault
    return ""


async def finish_with_key_error(self):
    raise KeyError("no such thing")


async def finish_with_none(self):
    return None


async def finish_never(self):
    await asyncio.Event().wait()


async def finish_with_wild_words(self):
    return Transcript("a b", (SpokenWord("a", 900, 1000), SpokenWord("b", 100, 90_000)))


def push_and_scribble(self, pcm):
    GoodStream.push(self, pcm)
    pcm.setflags(write=True)
    pcm[:] = 1


def push_choosing(self, pcm):
    if len(pcm) % 160:
        raise ValueError("20 ms at a time, please")
    GoodStream.push(self, pcm)


def tell_late(self):
    self.on_partial("late")
    asyncio.get_running_loop().call_later(0.05, lambda: self.on_partial("late"))


def tell_from_a_thread(self):
    thread = threading.Thread(target=self.on_partial, args=("word",))
    thread.start()
    thread.join()


async def finish_swallowing(self):
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


KEPT = set()


async def cancel_leaving_a_task(self):
    KEPT.add(asyncio.create_task(asyncio.sleep(5), name="forgotten"))
    self.over = True


class SlowPocket(GoodStt):
    """One utterance at a time, and it hands the second a wrong error."""

    busy = False

    async def open(self, on_partial):
        self.must_be_started()
        if self.busy:
            raise RuntimeError("busy")
        self.busy = True
        stream = GoodStream(on_partial)

        async def cancel():
            self.busy = False
            stream.over = True

        async def finish():
            self.busy = False
            return ""

        stream.cancel, stream.finish = cancel, finish
        return stream


def spawn():
    command = [sys.executable, "-c", "input()"]
    PROCESSES.append(subprocess.Popen(command, stdin=subprocess.PIPE))


class LeakingProcess(GoodStt):
    async def start(self):
        await super().start()
        spawn()


PROCESSES: list[subprocess.Popen] = []


class FragileClose(GoodStt):
    async def close(self):
        if not self.open_now:
            raise RuntimeError("closed already")
        self.open_now = False


class ForgetsToBeStarted(GoodStt):
    def must_be_started(self):
        if not self.open_now:
            raise AttributeError("'NoneType' object has no attribute 'send'")


class RateInText(GoodStt):
    rate_hz = "16000"


class StuckSession(GoodSttSession):
    async def open(self, on_partial):
        stream = await super().open(on_partial)
        stream.finish = asyncio.Event().wait
        return stream


class SessionClosedOnce(GoodSttSession):
    async def close(self):
        if self.streams is None:
            raise RuntimeError("closed already")
        await super().close()
        self.streams = None


class StuckSessionStt(GoodSessionStt):
    made = StuckSession


class SessionClosedOnceStt(GoodSessionStt):
    made = SessionClosedOnce


class Unreachable(GoodStt):
    async def start(self):
        raise EngineError("good: nothing answers", engine="good", code="stt_unreachable")


class UnreachableByOsError(GoodStt):
    async def start(self):
        raise ConnectionRefusedError("nothing answers")


class GoodLlm(Started):
    greeting = ""
    speculative = True

    async def warm(self):
        await asyncio.sleep(0)

    async def reply(self, conversation):
        self.must_be_started()
        await asyncio.sleep(0.001)
        yield "It is "
        call = ToolCall("1", "clock", "{}")
        yield ToolExchange(
            (
                Message("assistant", "", tool_calls=(call,)),
                Message("tool", "noon", tool_call_id="1"),
            )
        )
        await asyncio.sleep(0)
        yield "noon."


class WordlessLlm(GoodLlm):
    async def reply(self, conversation):
        self.must_be_started()
        for piece in ():
            yield piece


class BytesLlm(GoodLlm):
    async def reply(self, conversation):
        self.must_be_started()
        yield b"noon"


class UnansweredCallLlm(GoodLlm):
    async def reply(self, conversation):
        self.must_be_started()
        call = ToolCall("1", "clock", "{}")
        yield "Hm."
        yield ToolExchange((Message("assistant", "", tool_calls=(call,)),))


class WritingLlm(GoodLlm):
    async def reply(self, conversation):
        conversation.add(Message("assistant", "noon"))
        async for piece in super().reply(conversation):
            yield piece


class IteratorLlm(GoodLlm):
    def reply(self, conversation):
        self.must_be_started()

        class Pieces:
            def __init__(self):
                self.left = ["noon"]

            def __aiter__(self):
                return self

            async def __anext__(self):
                if not self.left:
                    raise StopAsyncIteration
                return self.left.pop()

        return Pieces()


class GoodTts(Started):
    rate_hz = 16_000

    async def speak(self, text):
        self.must_be_started()
        if not text.strip():
            return
        for number in range(4):
            await asyncio.sleep(0)
            words = (WordMark(0, len(text), 0, 3200),) if number == 0 else ()
            yield SpeechChunk(np.full(800, number, np.int16), words)


def tts(make_chunks):
    """A GoodTts with other chunks."""

    class Tts(GoodTts):
        async def speak(self, text):
            self.must_be_started()
            for chunk in make_chunks(text):
                await asyncio.sleep(0)
                yield chunk

    return Tts


def one_buffer(text):
    pcm = np.zeros(800, np.int16)
    for number in range(3):
        pcm[:] = number
        yield SpeechChunk(pcm)


def floats(text):
    yield SpeechChunk(np.zeros(800, np.float32))


def strided(text):
    yield SpeechChunk(np.zeros(1600, np.int16)[::2])


def late_marks(text):
    yield SpeechChunk(np.zeros(16_800, np.int16))
    yield SpeechChunk(np.zeros(800, np.int16), (WordMark(0, 1, 0),))


def falling_marks(text):
    yield SpeechChunk(np.zeros(800, np.int16), (WordMark(2, 3, 10), WordMark(0, 1, 20)))


def marks_beyond(text):
    yield SpeechChunk(np.zeros(800, np.int16), (WordMark(0, len(text) + 5, 10),))


def nothing(text):
    return iter(())


def no_emoji(text):
    text.encode("latin-1")
    yield SpeechChunk(np.zeros(800, np.int16))


class OneVoiceTts(GoodTts):
    """A second text ends the first."""

    turn = 0

    async def speak(self, text):
        self.must_be_started()
        self.turn += 1
        mine = self.turn
        for _ in range(4):
            await asyncio.sleep(0.001)
            if self.turn != mine:
                return
            yield SpeechChunk(np.zeros(800, np.int16))


class GoodVadStream:
    def __init__(self):
        self.level = 0.0

    def reset(self):
        self.level = 0.0


class GoodVad(Started):
    def stream(self):
        return GoodVadStream()

    def score(self, batch):
        self.must_be_started()
        streams = [stream for stream, _ in batch]
        if len({id(stream) for stream in streams}) < len(streams):
            raise MisuseError("a stream twice in a batch")
        for stream, frame in batch:
            if not isinstance(stream, GoodVadStream) or frame.shape != (576,):
                raise MisuseError("no stream of this engine, or no frame")
        return [self.step(stream, frame) for stream, frame in batch]

    def step(self, stream, frame):
        stream.level = 0.5 * stream.level + float(np.abs(frame[64:]).mean())
        return min(1.0, stream.level)


class SharedVad(GoodVad):
    """One state for all callers."""

    def __init__(self):
        super().__init__()
        self.one = GoodVadStream()

    def step(self, stream, frame):
        return super().step(self.one, frame)


class HastyVad(GoodVad):
    """Looks at a frame only when its turn has come."""

    def score(self, batch):
        self.must_be_started()
        scores = []
        for stream, frame in batch:
            if frame.shape != (576,):
                raise MisuseError("no frame")
            scores.append(self.step(stream, frame))
        return scores


class SleepyVad(GoodVad):
    def score(self, batch):
        time.sleep(0.01)
        return super().score(batch)


class LogitVad(GoodVad):
    def step(self, stream, frame):
        return 3.0 * super().step(stream, frame) - 1.5


class ScribblingVad(GoodVad):
    def step(self, stream, frame):
        frame.setflags(write=True)
        frame[:] *= 0.5
        return super().step(stream, frame)


class GoodTurn(Started):
    async def score(self, pcm, text):
        self.must_be_started()
        await asyncio.sleep(0)
        return min(1.0, len(pcm) / 160_000)


class PercentTurn(GoodTurn):
    async def score(self, pcm, text):
        return 100.0 * await super().score(pcm, text)


class BlockingTurn(GoodTurn):
    async def score(self, pcm, text):
        self.must_be_started()
        time.sleep(0.15)  # noqa: ASYNC251 - that is the fault
        return 0.5
