"""A speech-to-speech answer on its way to the playout, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from fakes.fake_plane import FakePlane
from fakes.virtual_loop import virtually
from voicecore._native.resample import Resampler
from voicecore.core import events as ev
from voicecore.core.actions import Speak
from voicecore.core.conversation import Message
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.transcript import Transcript
from voicecore.engines.s2s.protocol import UNKNOWN_WORDS
from voicecore.errors import EngineError
from voicecore.service.speech_answer import SpeechAnswer
from voicecore.transport.plane import Placed

TURN = 3
SECOND = 24_000


def tone(samples: int) -> np.ndarray:
    return np.full(samples, 3000, np.int16)


class ScriptedReply:
    """Gives its pieces; a float is waited for, an exception raised, ``STUCK`` waits for ever."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.ended: list[float | None] = []
        self.given = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        for piece in self.pieces:
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            elif isinstance(piece, Exception):
                raise piece
            else:
                self.given += 1
                yield piece

    def end(self, played_ms: float | None) -> None:
        self.ended.append(played_ms)


class ScriptedSession:
    def __init__(self, *replies: ScriptedReply) -> None:
        self.replies = list(replies)
        self.said: list[str] = []

    def answer(self) -> ScriptedReply:
        return self.replies.pop(0)

    def say(self, text: str) -> ScriptedReply:
        self.said.append(text)
        return self.replies.pop(0)


class SmallPlane(FakePlane):
    """Takes ``space`` samples ahead of what was played."""

    def __init__(self, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead

    def play(self, pcm: np.ndarray, generation: int) -> Placed:
        room = max(self.played + self.ahead - self.written, 0)
        return super().play(pcm[:room], generation)


class Rig:
    """An answer, and what it told."""

    def __init__(self, *replies: ScriptedReply, plane: FakePlane | None = None, hz: int = 24_000):
        self.plane = plane or FakePlane()
        self.session = ScriptedSession(*replies)
        self.told: list[ev.Event] = []
        self.segments = 0
        anything: Any = self.plane
        session: Any = self.session
        self.answer = SpeechAnswer(
            TURN,
            anything,
            session,
            resampler=None if hz == 24_000 else Resampler(hz, 24_000),
            kept=lambda text, rate_hz: np.full(rate_hz // 10, 5, np.int16),
            report=self.told.append,
            on_played=lambda position, pcm: None,
        )

    def say(self, text: str, *, canned: bool = False) -> None:
        self.segments += 1
        self.answer.say(Speak(TURN, self.segments - 1, text, canned))

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def queued(self) -> dict[int, int]:
        """How many samples each segment got."""
        found: dict[int, int] = {}
        for event in self.of(ev.SpeechQueued):
            found[event.segment] = found.get(event.segment, 0) + event.samples
        return found

    async def end(self) -> None:
        self.answer.cancel()
        await asyncio.gather(*self.answer.tasks, return_exceptions=True)


def test_text_and_audio_of_an_answer() -> None:
    async def main() -> None:
        reply = ScriptedReply(
            "It is ", "noon. ", tone(SECOND), "Any", "thing ", "else?", tone(SECOND)
        )
        rig = Rig(reply)
        rig.answer.ask()
        await asyncio.sleep(1)
        assert [event.text for event in rig.of(ev.ReplyText)] == [
            "It is ", "noon. ", "Any", "thing ", "else?",
        ]  # fmt: skip
        assert all(event.voiced for event in rig.of(ev.ReplyText))
        assert rig.of(ev.ReplyEnd) == [ev.ReplyEnd(TURN)]
        queued = rig.of(ev.SpeechQueued)
        assert [(e.segment, e.position, e.samples) for e in queued] == [
            (0, 0, SECOND), (0, SECOND, SECOND),
        ]  # fmt: skip
        assert [len(event.energy) for event in queued] == [100, 100]
        assert rig.told[-1] == ev.SegmentEnd(TURN, 0)
        rig.plane.played = 2 * SECOND
        await rig.end()
        assert reply.ended == [None]

    virtually(main())


def test_audio_waits_for_no_text() -> None:
    async def main() -> None:
        rig = Rig(ScriptedReply(tone(2400), 1.0, "One.", tone(2400)))
        rig.answer.ask()
        await asyncio.sleep(0.5)
        # It has a place in the answer, though nobody knows its words yet.
        assert [type(event) for event in rig.told] == [ev.ReplyText, ev.SpeechQueued]
        assert rig.of(ev.ReplyText) == [ev.ReplyText(TURN, "", voiced=True)]
        await asyncio.sleep(1)
        assert [event.text for event in rig.of(ev.ReplyText)] == ["", "One."]
        assert rig.queued == {0: 4800}
        await rig.end()

    virtually(main())


def test_a_voice_without_words_is_an_answer_all_the_same() -> None:
    async def main() -> None:
        rig = Rig(ScriptedReply(tone(SECOND)))
        rig.answer.ask()
        await asyncio.sleep(1)
        assert [e.text for e in rig.of(ev.ReplyText) if e.text] == [UNKNOWN_WORDS]
        assert rig.queued == {0: SECOND}
        await rig.end()

    virtually(main())


def test_what_was_played_is_what_the_model_is_told() -> None:
    async def main() -> None:
        reply = ScriptedReply("One two three. ", tone(5 * SECOND), 100.0)
        plane = SmallPlane(ahead=SECOND)
        plane.written = plane.played = 1234
        rig = Rig(reply, plane=plane)
        rig.answer.ask()
        await asyncio.sleep(0.05)
        plane.played += SECOND // 2
        await asyncio.sleep(0.2)
        assert plane.written == 1234 + SECOND + SECOND // 2
        plane.flush()
        await rig.end()
        assert reply.ended == [500.0]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    virtually(main())


def test_a_long_answer_is_not_read_faster_than_there_is_room() -> None:
    async def main() -> None:
        reply = ScriptedReply("One. ", *[tone(10 * SECOND)] * 12)
        plane = SmallPlane(ahead=SECOND)
        rig = Rig(reply, plane=plane)
        rig.answer.ask()
        await asyncio.sleep(1)
        assert 7 <= reply.given <= 9
        while plane.written < 120 * SECOND:
            plane.played = plane.written
            await asyncio.sleep(0.2)
        await asyncio.sleep(0.2)
        assert rig.queued == {0: 120 * SECOND}
        await rig.end()

    virtually(main())


def test_each_of_two_texts_ends_where_it_was_heard() -> None:
    async def main() -> None:
        replies = [ScriptedReply(tone(SECOND)), ScriptedReply(tone(SECOND))]
        rig = Rig(*replies)
        rig.say("One.")
        await asyncio.sleep(0.1)
        rig.say("Two.")
        await asyncio.sleep(0.1)
        rig.plane.played = SECOND // 2
        await rig.end()
        assert [reply.ended for reply in replies] == [[500.0], [0.0]]

    virtually(main())


def test_after_a_cancel_nothing_is_told() -> None:
    async def main() -> None:
        rig = Rig(ScriptedReply("One. ", 1.0, "Two. ", tone(SECOND)))
        rig.answer.ask()
        await asyncio.sleep(0.5)
        rig.answer.cancel()
        told = len(rig.told)
        await asyncio.sleep(5)
        assert len(rig.told) == told
        await rig.end()

    virtually(main())


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (EngineError("x", engine="fake", code="s2s_closed"), "s2s_closed"),
        (ZeroDivisionError(), "s2s_raised"),
        (1000.0, "s2s_timeout"),
    ],
)
def test_a_model_in_trouble(trouble: Any, code: str) -> None:
    async def main() -> None:
        reply = ScriptedReply("Well, ", tone(2400), trouble, "never said")
        rig = Rig(reply)
        rig.answer.ask()
        await asyncio.sleep(200)
        assert rig.told[-1] == ev.EngineFailed(TURN, "s2s", code)
        assert rig.of(ev.ReplyEnd) == []
        # What went out before the failure is heard, whenever the answer is cancelled.
        await rig.end()
        assert reply.ended == [100.0]

    virtually(main())


def test_given_texts_are_said_in_order_and_an_apology_needs_no_model() -> None:
    async def main() -> None:
        replies = [ScriptedReply("Not told.", tone(n * SECOND)) for n in (1, 2)]
        rig = Rig(*replies)
        rig.say("Welcome.")
        rig.say("How can I help?")
        rig.say("Sorry.", canned=True)
        await asyncio.sleep(1)
        assert rig.session.said == ["Welcome.", "How can I help?"]
        assert rig.of(ev.ReplyText) == rig.of(ev.ReplyEnd) == []
        assert [e.segment for e in rig.of(ev.SegmentEnd)] == [0, 1, 2]
        assert rig.queued == {0: SECOND, 1: 2 * SECOND, 2: 2400}
        assert (rig.plane.pcm[-1] == 5).all()
        rig.session.replies.append(ScriptedReply(tone(240)))
        rig.say("Are you there?")
        await asyncio.sleep(1)
        assert rig.session.said[2:] == ["Are you there?"]
        await rig.end()

    virtually(main())


def test_tools_are_told_of() -> None:
    async def main() -> None:
        exchange = ToolExchange((Message("assistant", ""), Message("tool", "42")))
        rig = Rig(ScriptedReply(exchange, "It is 42. ", tone(2400)))
        rig.answer.ask()
        await asyncio.sleep(1)
        assert rig.of(ev.ToolsUsed) == [ev.ToolsUsed(TURN, exchange)]
        await rig.end()

    virtually(main())


def test_another_rate_is_resampled_whole() -> None:
    async def main() -> None:
        rig = Rig(ScriptedReply("One. ", *[tone(1600)] * 10), hz=16_000)
        rig.answer.ask()
        await asyncio.sleep(1)
        assert rig.plane.written == pytest.approx(SECOND, abs=100)
        assert rig.queued == {0: rig.plane.written}
        await rig.end()

    virtually(main())


def test_a_text_that_is_a_transcript_is_text() -> None:
    async def main() -> None:
        rig = Rig(ScriptedReply(Transcript("Yes. "), tone(2400)))
        rig.answer.ask()
        await asyncio.sleep(1)
        assert [e.text for e in rig.of(ev.ReplyText)] == ["Yes. "]
        await rig.end()

    virtually(main())
