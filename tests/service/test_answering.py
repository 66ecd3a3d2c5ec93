"""One answer: the model and the voice side by side, each failure told once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes.virtual_loop import virtually
from voicecore._native.resample import Resampler
from voicecore.core import events as ev
from voicecore.core.actions import Speak
from voicecore.core.conversation import Conversation, Message
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.word_times import Word
from voicecore.engines.protocols import SpeechChunk, WordMark
from voicecore.errors import EngineError
from voicecore.service.answering import Answer
from voicecore.service.call_engines import CallVoice
from voicecore.transport.plane import Placed

TURN = 4


class FakePlane:
    """A playout ring of ``capacity`` samples that plays when it is told to."""

    play_rate_hz = 24_000

    def __init__(self, capacity: int = 1 << 20) -> None:
        self.generation = 7
        self.capacity = capacity
        self.written = self.played = 0
        self.pcm: list[np.ndarray] = []

    def play(self, pcm: np.ndarray, generation: int) -> Placed:
        if generation != self.generation:
            return Placed(self.written, -1)
        position = self.written
        accepted = min(len(pcm), self.capacity - (self.written - self.played))
        self.pcm.append(pcm[:accepted])
        self.written += accepted
        return Placed(position, accepted)


class FakeTts:
    name = "fake"

    def __init__(self, *chunks: SpeechChunk | Exception | float, rate_hz: int = 24_000) -> None:
        self.rate_hz = rate_hz
        self.chunks = chunks
        self.asked: list[str] = []
        self.closed = 0

    async def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        self.asked.append(text)
        try:
            for chunk in self.chunks:
                if isinstance(chunk, Exception):
                    raise chunk
                if isinstance(chunk, float):
                    await asyncio.sleep(chunk)
                else:
                    yield chunk
        finally:
            self.closed += 1


class FakeLlm:
    name = "fake"
    greeting = ""

    def __init__(self, *pieces: str | ToolExchange | Exception | float) -> None:
        self.pieces = pieces
        self.given = 0
        self.closed = 0

    async def reply(self, conversation: Conversation) -> AsyncIterator[str | ToolExchange]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, float):
                    await asyncio.sleep(piece)
                else:
                    self.given += 1
                    yield piece
        finally:
            self.closed += 1


def resampler_for(tts: FakeTts, plane: FakePlane) -> Resampler | None:
    same = tts.rate_hz == plane.play_rate_hz
    return None if same else Resampler(tts.rate_hz, plane.play_rate_hz)


class Rig:
    def __init__(self, tts: FakeTts | None = None, plane: FakePlane | None = None) -> None:
        self.plane = plane or FakePlane()
        self.tts = tts or FakeTts(chunk(2400))
        self.told: list[ev.Event] = []
        anything: Any = self.plane
        voice: Any = self.tts
        self.answer = Answer(
            TURN,
            anything,
            CallVoice(voice),
            resampler=resampler_for(self.tts, self.plane),
            kept=lambda text, rate_hz: np.full(rate_hz // 10, 5, np.int16),
            report=self.told.append,
        )

    def ask(self, *pieces: str | ToolExchange | Exception | float) -> FakeLlm:
        llm = FakeLlm(*pieces)
        model: Any = llm
        self.answer.ask(model, Conversation())
        return llm

    def say(self, text: str, segment: int = 0, *, canned: bool = False) -> None:
        self.answer.say(Speak(TURN, segment, text, canned))

    async def end(self) -> None:
        self.answer.cancel()
        await asyncio.gather(*self.answer.tasks, return_exceptions=True)


def chunk(samples: int, *words: WordMark) -> SpeechChunk:
    return SpeechChunk(np.full(samples, 9, np.int16), words)


def test_pieces_of_the_model_come_as_text_and_an_end() -> None:
    async def main() -> None:
        rig = Rig()
        llm = rig.ask("Hello ", "", "there.")
        await asyncio.sleep(1)
        assert rig.told == [
            ev.ReplyText(TURN, "Hello "),
            ev.ReplyText(TURN, "there."),
            ev.ReplyEnd(TURN),
        ]
        assert llm.closed == 1
        await rig.end()

    virtually(main())


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (EngineError("x", engine="fake", code="cut"), "cut"),
        (ZeroDivisionError(), "llm_raised"),
        (1000.0, "llm_timeout"),
    ],
)
def test_a_model_in_trouble(trouble: Exception | float, code: str) -> None:
    async def main() -> None:
        rig = Rig()
        llm = rig.ask("Well, ", trouble, "never said")
        await asyncio.sleep(200)
        assert rig.told == [ev.ReplyText(TURN, "Well, "), ev.EngineFailed(TURN, "llm", code)]
        assert llm.closed == 1
        await rig.end()

    virtually(main())


def test_what_tools_did_is_told_and_not_spoken() -> None:
    exchange = ToolExchange((Message("assistant", ""),))

    async def main() -> None:
        rig = Rig()
        rig.ask("One moment. ", exchange, "Done.")
        await asyncio.sleep(1)
        assert rig.told == [
            ev.ReplyText(TURN, "One moment. "),
            ev.ToolsUsed(TURN, exchange),
            ev.ReplyText(TURN, "Done."),
            ev.ReplyEnd(TURN),
        ]
        await rig.end()

    virtually(main())


def test_clauses_are_spoken_in_order_with_words_at_their_places() -> None:
    async def main() -> None:
        rig = Rig(FakeTts(chunk(1000, WordMark(0, 3, 0)), chunk(500, WordMark(4, 7, 1000))))
        rig.say("one two", 0)
        rig.say("and more", 1)
        await asyncio.sleep(1)
        assert rig.tts.asked == ["one two", "and more"]
        queued = [e for e in rig.told if isinstance(e, ev.SpeechQueued)]
        assert [(e.segment, e.position, e.samples) for e in queued] == [
            (0, 0, 1000), (0, 1000, 500), (1, 1500, 1000), (1, 2500, 500),
        ]  # fmt: skip
        assert queued[1].words == (Word(4, 7, 1000),)
        ends = [e for e in rig.told if isinstance(e, ev.SegmentEnd)]
        assert [e.segment for e in ends] == [0, 1]
        await rig.end()

    virtually(main())


def test_another_rate_is_resampled_whole_and_its_marks_too() -> None:
    async def main() -> None:
        rig = Rig(FakeTts(chunk(22_050, WordMark(0, 3, 11_025)), rate_hz=22_050))
        rig.say("one")
        await asyncio.sleep(1)
        assert rig.plane.written == pytest.approx(24_000, abs=100)
        (word,) = [w for e in rig.told if isinstance(e, ev.SpeechQueued) for w in e.words]
        assert word.sample == 12_000
        heard = np.concatenate(rig.plane.pcm).astype(int)
        assert np.abs(heard[200:-200] - 9).max() <= 1
        await rig.end()

    virtually(main())


def test_nothing_of_an_answer_cut_off_is_in_the_next() -> None:
    resampler = Resampler(22_050, 24_000)
    loud = np.full(1000, 20_000, np.int16)

    async def speak(pcm: NDArray[np.int16], seconds: float) -> list[NDArray[np.int16]]:
        plane: Any = FakePlane()
        # A second chunk that never comes: the answer is cut off between the two.
        voice: Any = FakeTts(SpeechChunk(pcm), 100.0, rate_hz=22_050)
        answer = Answer(
            TURN,
            plane,
            CallVoice(voice),
            resampler=resampler,
            kept=lambda *_: pcm,
            report=lambda _: None,
        )
        answer.say(Speak(TURN, 0, "one", False))
        await asyncio.sleep(seconds)
        answer.cancel()
        await asyncio.gather(*answer.tasks, return_exceptions=True)
        heard: list[NDArray[np.int16]] = plane.pcm
        return heard

    async def main() -> None:
        assert np.abs(np.concatenate(await speak(loud, 1.0))).max() > 15_000
        assert not np.concatenate(await speak(np.zeros(1000, np.int16), 1.0)).any()

    virtually(main())


def test_a_full_ring_is_waited_for_and_nothing_is_lost() -> None:
    async def main() -> None:
        rig = Rig(FakeTts(chunk(10_000, WordMark(0, 3, 0))), FakePlane(capacity=3000))
        rig.say("one")
        await asyncio.sleep(0.5)
        assert rig.plane.written == 3000
        for _ in range(5):
            rig.plane.played = rig.plane.written
            await asyncio.sleep(0.5)
        assert rig.plane.written == 10_000
        queued = [e for e in rig.told if isinstance(e, ev.SpeechQueued)]
        assert sum(e.samples for e in queued) == 10_000
        assert [len(e.words) for e in queued] == [1, 0, 0, 0]
        assert isinstance(rig.told[-1], ev.SegmentEnd)
        await rig.end()

    virtually(main())


def test_stale_audio_is_not_reported_and_ends_the_voice() -> None:
    async def main() -> None:
        rig = Rig(FakeTts(chunk(100), 1.0, chunk(100)))
        rig.say("one")
        await asyncio.sleep(0.5)
        rig.plane.generation += 1
        await asyncio.sleep(5)
        assert sum(isinstance(e, ev.SpeechQueued) for e in rig.told) == 1
        assert not any(isinstance(e, ev.SegmentEnd | ev.EngineFailed) for e in rig.told)
        assert all(task.done() for task in rig.answer.tasks)
        assert rig.tts.closed == 1
        await rig.end()

    virtually(main())


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (EngineError("x", engine="fake", code="worker_lost"), "worker_lost"),
        (ZeroDivisionError(), "tts_raised"),
        (1000.0, "tts_timeout"),
    ],
)
def test_a_voice_in_trouble(trouble: Exception | float, code: str) -> None:
    async def main() -> None:
        rig = Rig(FakeTts(chunk(100), trouble))
        rig.say("one")
        rig.say("never", 1)
        await asyncio.sleep(60)
        assert rig.told[-1] == ev.EngineFailed(TURN, "tts", code)
        assert rig.tts.asked == ["one"]
        assert rig.tts.closed == 1
        await rig.end()

    virtually(main())


def test_the_apology_needs_no_engine() -> None:
    async def main() -> None:
        rig = Rig(FakeTts(ZeroDivisionError()))
        rig.say("sorry", canned=True)
        await asyncio.sleep(1)
        assert rig.tts.asked == []
        assert rig.told == [
            ev.SpeechQueued(TURN, 0, 0, 2400, (), bytes([14] * 10)),
            ev.SegmentEnd(TURN, 0),
        ]
        await rig.end()

    virtually(main())


def test_after_a_cancel_nothing_is_told_and_everything_is_closed() -> None:
    async def main() -> None:
        rig = Rig(FakeTts(chunk(100), 5.0, chunk(100)))
        llm = rig.ask("a", 5.0, "b")
        rig.say("one")
        await asyncio.sleep(1)
        told = list(rig.told)
        await rig.end()
        await asyncio.sleep(20)
        assert rig.told == told
        assert (llm.closed, rig.tts.closed) == (1, 1)

    virtually(main())


def test_a_model_far_ahead_of_the_voice_waits() -> None:
    async def main() -> None:
        rig = Rig(FakeTts(1.0, chunk(100)))
        said = 0

        def report(event: ev.Event) -> None:
            nonlocal said
            rig.told.append(event)
            if isinstance(event, ev.ReplyText):
                rig.say(event.text, said)
                said += 1

        anything: Any = rig.plane
        voice: Any = rig.tts
        rig.answer = Answer(
            TURN,
            anything,
            CallVoice(voice),
            resampler=None,
            kept=lambda *_: chunk(1).pcm,
            report=report,
        )
        llm = rig.ask(*[f"clause {n}. " for n in range(200)])
        await asyncio.sleep(0.5)
        assert llm.given < 60
        await asyncio.sleep(400)
        assert llm.given == 200
        assert len(rig.tts.asked) == 200
        await rig.end()

    virtually(main())
