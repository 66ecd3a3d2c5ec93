"""The agent's voice in one call: the answer that is being made, and those that end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.core import actions as act
from voicecore.core.conversation import Conversation
from voicecore.service.answer_work import Report
from voicecore.service.answering import Answer
from voicecore.service.call_engines import CallEngines
from voicecore.service.speech_answer import SpeechAnswer
from voicecore.transport.plane import MediaPlane

_A = TypeVar("_A", bound=Answer | SpeechAnswer)


class Voice(Generic[_A]):
    """Belongs to the event loop and to one call, which awaits :attr:`tasks` at its end.

    ``make(turn)`` makes a turn's answer, ``begin(answer, conversation)`` starts it.
    """

    def __init__(
        self, make: Callable[[int], _A], begin: Callable[[_A, Conversation], None]
    ) -> None:
        self._make = make
        self._begin = begin
        self._answer: _A | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """All that still run."""
        return [*self._ending, *(self._answer.tasks if self._answer is not None else ())]

    def ask(self, action: act.StartReply, conversation: Conversation) -> None:
        """Start the model."""
        asked = conversation.with_draft(action.draft) if action.draft else conversation
        self._begin(self._answer_for(action.turn), asked)

    def say(self, action: act.Speak) -> None:
        """Queue a clause."""
        self._answer_for(action.turn).say(action)

    def cancel(self, action: act.CancelReply) -> None:
        """Stop the answer, or free what is left of it."""
        answer = self._answer
        if answer is None or answer.turn != action.turn:
            return
        self._answer = None
        answer.cancel()
        # They end on their own; kept so that the call can wait for them.
        for task in answer.tasks:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def close(self) -> None:
        """Stop; nothing is told any more."""
        if self._answer is not None:
            self._answer.cancel()

    def _answer_for(self, turn: int) -> _A:
        if self._answer is None or self._answer.turn != turn:
            self._answer = self._make(turn)
        return self._answer


AnyVoice = Voice[Answer] | Voice[SpeechAnswer]


def voice_of(
    engines: CallEngines,
    plane: MediaPlane,
    *,
    kept: Callable[[str, int], NDArray[np.int16]],
    report: Report,
    on_played: Callable[[int, NDArray[np.int16]], None],
) -> AnyVoice:
    """What speaks in a call with these engines: model and synthesiser, or one model alone."""
    speech, tts = engines.speech, engines.tts
    rate_hz = tts.rate_hz if speech is None else engines.speech_rate_hz
    # One for the whole call: making its coefficients takes a millisecond.
    resampler = None if rate_hz == plane.play_rate_hz else Resampler(rate_hz, plane.play_rate_hz)
    if speech is None:
        return Voice(
            lambda turn: Answer(
                turn,
                plane,
                tts,
                resampler=resampler,
                kept=kept,
                report=report,
                on_played=on_played,
            ),
            lambda answer, conversation: answer.ask(engines.llm, conversation),
        )
    return Voice(
        lambda turn: SpeechAnswer(
            turn,
            plane,
            speech,
            resampler=resampler,
            kept=kept,
            report=report,
            on_played=on_played,
        ),
        # What was said the model has heard itself.
        lambda answer, _: answer.ask(),
    )
