"""The agent's voice in one call: the answer that is being made, and those that end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation
from voicecore.engines.protocols import LlmEngine
from voicecore.service.answering import Answer
from voicecore.service.call_engines import CallVoice
from voicecore.transport.plane import MediaPlane


class Voice:
    """Belongs to the event loop and to one call, which awaits :attr:`tasks` at its end."""

    def __init__(
        self,
        plane: MediaPlane,
        llm: LlmEngine,
        tts: CallVoice,
        *,
        apology: Callable[[int], NDArray[np.int16]],
        report: Callable[[ev.Event], None],
        on_played: Callable[[int, NDArray[np.int16]], None],
    ) -> None:
        self._plane = plane
        self._llm = llm
        self._tts = tts
        self._apology = apology
        self._report = report
        self._on_played = on_played
        self._answer: Answer | None = None
        self._ending: set[asyncio.Task[None]] = set()
        # One for the whole call: making its coefficients takes a millisecond.
        equal = tts.rate_hz == plane.play_rate_hz
        self._resampler = None if equal else Resampler(tts.rate_hz, plane.play_rate_hz)

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """All that still run."""
        return [*self._ending, *(self._answer.tasks if self._answer is not None else ())]

    def ask(self, action: act.StartReply, conversation: Conversation) -> None:
        """Start the model."""
        asked = conversation.with_draft(action.draft) if action.draft else conversation
        self._answer_for(action.turn).ask(self._llm, asked)

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

    def _answer_for(self, turn: int) -> Answer:
        if self._answer is None or self._answer.turn != turn:
            self._answer = Answer(
                turn,
                self._plane,
                self._tts,
                resampler=self._resampler,
                apology=self._apology,
                report=self._report,
                on_played=self._on_played,
            )
        return self._answer
