"""The agent's voice in a call whose agent is one speech-to-speech model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation
from voicecore.engines.s2s.protocol import SpeechSession
from voicecore.service.call_engines import CallEngines
from voicecore.service.speech_answer import SpeechAnswer
from voicecore.service.voice import Voice
from voicecore.transport.plane import MediaPlane


class SpeechVoice:
    """Takes the place of :class:`~voicecore.service.voice.Voice`.

    Belongs to the event loop and to one call, which awaits :attr:`tasks` at its end.
    """

    def __init__(
        self,
        plane: MediaPlane,
        session: SpeechSession,
        rate_hz: int,
        *,
        apology: Callable[[int], NDArray[np.int16]],
        report: Callable[[ev.Event], None],
        on_played: Callable[[int, NDArray[np.int16]], None],
    ) -> None:
        """``rate_hz``: of the model's voice."""
        self._plane = plane
        self._session = session
        self._apology = apology
        self._report = report
        self._on_played = on_played
        self._answer: SpeechAnswer | None = None
        self._ending: set[asyncio.Task[None]] = set()
        equal = rate_hz == plane.play_rate_hz
        self._resampler = None if equal else Resampler(rate_hz, plane.play_rate_hz)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """All that still run."""
        return [*self._ending, *(self._answer.tasks if self._answer is not None else ())]

    def ask(self, action: act.StartReply, conversation: Conversation) -> None:
        """Let the model answer; what was said it has heard itself."""
        self._answer_for(action.turn).ask()

    def say(self, action: act.Speak) -> None:
        """Take a clause."""
        self._answer_for(action.turn).say(action)

    def cancel(self, action: act.CancelReply) -> None:
        """Stop the answer, or free what is left of it."""
        answer = self._answer
        if answer is None or answer.turn != action.turn:
            return
        self._answer = None
        answer.cancel()
        for task in answer.tasks:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def close(self) -> None:
        """Stop; nothing is told any more."""
        if self._answer is not None:
            self._answer.cancel()

    def _answer_for(self, turn: int) -> SpeechAnswer:
        if self._answer is None or self._answer.turn != turn:
            self._answer = SpeechAnswer(
                turn,
                self._plane,
                self._session,
                resampler=self._resampler,
                apology=self._apology,
                report=self._report,
                on_played=self._on_played,
            )
        return self._answer


AgentVoice = Voice | SpeechVoice


def voice_of(
    engines: CallEngines,
    plane: MediaPlane,
    *,
    apology: Callable[[int], NDArray[np.int16]],
    report: Callable[[ev.Event], None],
    on_played: Callable[[int, NDArray[np.int16]], None],
) -> AgentVoice:
    """What speaks in a call with these engines."""
    if engines.speech is None:
        return Voice(
            plane, engines.llm, engines.tts, apology=apology, report=report, on_played=on_played
        )
    return SpeechVoice(
        plane,
        engines.speech,
        engines.speech_rate_hz,
        apology=apology,
        report=report,
        on_played=on_played,
    )
