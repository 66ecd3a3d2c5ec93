"""One answer of a speech-to-speech model on its way: text to the session, audio to the playout.

Neither waits for the other: audio is played as it comes, text is told as it comes, both
as one segment that grows. Which words were heard is the ledger's estimate, as it is of
a synthesiser that gives no word times; what the model is told was heard is none: its own
audio, to the millisecond.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.core import events as ev
from voicecore.core.actions import Speak
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.resilience.patience import Patience
from voicecore.engines.s2s.protocol import UNKNOWN_WORDS, SpeechReply, SpeechSession
from voicecore.errors import EngineError
from voicecore.service.answer_work import AnswerWork
from voicecore.service.speech_energy import EnergyMeter
from voicecore.transport.plane import MediaPlane

_LOG = logging.getLogger(__name__)

_FULL_RING_WAIT_S = 0.1
_PATIENCE_S = 60.0
"""Longer than any engine's own: whoever knows more speaks first. It covers tools, too."""

_AHEAD_S = 60.0
"""The engine is not read further while so much audio waits for the playout."""


class SpeechAnswer(AnswerWork):
    """Of a speech-to-speech model.

    Audio is played in the plane's generation at construction. ``resampler`` takes the model's
    rate to the plane's (None: they are equal). ``kept(text, rate_hz)`` is the audio of what
    needs no model. ``on_played(position, pcm)`` is told of all audio that the plane takes.
    """

    def __init__(
        self,
        turn: int,
        plane: MediaPlane,
        session: SpeechSession,
        *,
        resampler: Resampler | None,
        kept: Callable[[str, int], NDArray[np.int16]],
        report: Callable[[ev.Event], None],
        on_played: Callable[[int, NDArray[np.int16]], None],
    ) -> None:
        super().__init__(turn, report)
        self._plane = plane
        self._generation = plane.generation
        self._session = session
        self._resampler = resampler
        self._kept = kept
        self._on_played = on_played
        self._wishes: deque[Speak] = deque()
        self._spoken: list[_Spoken] = []
        self._granting = False

    def ask(self) -> None:
        """Let the model answer."""
        self._start(self._answer(), "s2s-answer")

    def say(self, speak: Speak) -> None:
        """Speak a given text, or one that is kept, behind what is spoken already."""
        self._wishes.append(speak)
        if not self._granting:
            self._granting = True
            self._start(self._grant(), "s2s-say")

    def cancel(self) -> None:
        """Stop; the model remembers what was played by now. The owner awaits :attr:`tasks`."""
        for spoken in self._spoken:
            spoken.end(self._plane.played)
        super().cancel()

    async def _answer(self) -> None:
        await self._speak(self._session.answer(), 0, told=True)

    async def _grant(self) -> None:
        """Speak what was wished for, in order, each clause for itself: so its end is known."""
        while self._wishes:
            speak = self._wishes.popleft()
            if speak.canned:
                await self._say_kept(speak)
            elif not await self._speak(self._session.say(speak.text), speak.segment, told=False):
                return
        self._granting = False

    async def _say_kept(self, speak: Speak) -> None:
        spoken = _Spoken(None, speak.segment, self._plane.play_rate_hz)
        await self._place(spoken, self._kept(speak.text, self._plane.play_rate_hz))
        self._tell(ev.SegmentEnd(self.turn, speak.segment))

    # -- one reply of the model's ------------------------------------------------------------

    async def _speak(self, reply: SpeechReply, segment: int, *, told: bool) -> bool:
        """Read and play it; False: it failed. ``told``: its text goes to the session."""
        spoken = _Spoken(reply, segment, self._plane.play_rate_hz)
        self._spoken.append(spoken)
        # A text that is given is known to the session already.
        spoken.texts = int(not told)
        self._start(self._play(spoken), "s2s-voice")
        try:
            await self._read(spoken, reply, told)
        except EngineError as error:
            self._fail(spoken, error.code)
        except Exception:
            _LOG.exception("the speech-to-speech engine raised")
            self._fail(spoken, "s2s_raised")
        else:
            spoken.put(self._resampler.flush() if self._resampler is not None else None)
            spoken.put(None)
            if not spoken.texts:
                self._tell_text(spoken, UNKNOWN_WORDS)
            if told:
                self._tell(ev.ReplyEnd(self.turn))
            await spoken.all_played.wait()
            self._tell(ev.SegmentEnd(self.turn, segment))
            return True
        return False

    async def _read(self, spoken: _Spoken, reply: SpeechReply, told: bool) -> None:
        resampler = self._resampler
        if resampler is not None:
            resampler.reset()
        pieces = aiter(reply)
        async with Patience(_PATIENCE_S, "s2s", "s2s_timeout") as patience:
            while (piece := await patience.next(pieces)) is not None:
                if isinstance(piece, str):
                    if told and piece:
                        self._tell_text(spoken, piece)
                elif isinstance(piece, ToolExchange):
                    self._tell(ev.ToolsUsed(self.turn, piece))
                else:
                    spoken.put(piece if resampler is None else resampler.process(piece))
                await spoken.room()

    def _tell_text(self, spoken: _Spoken, text: str) -> None:
        spoken.texts += bool(text)
        spoken.has_segment = True
        self._tell(ev.ReplyText(self.turn, text, voiced=True))

    async def _play(self, spoken: _Spoken) -> None:
        while (pcm := await spoken.next()) is not None:
            if not spoken.texts and not spoken.has_segment:
                # Audio waits for no text, but it needs a place.
                self._tell_text(spoken, "")
            await self._place(spoken, pcm)
        spoken.all_played.set()

    async def _place(self, spoken: _Spoken, pcm: NDArray[np.int16]) -> None:
        """Put ``pcm`` into the playout as it has room."""
        energy = spoken.meter.push(pcm)
        while len(pcm):
            placed = self._plane.play(pcm, self._generation)
            if placed.accepted < 0:
                # The caller took the floor: whoever flushed also cancels us.
                raise asyncio.CancelledError
            if placed.accepted:
                position, samples = placed
                self._on_played(position, pcm[:samples])
                spoken.placed(position, samples)
                self._tell(
                    ev.SpeechQueued(self.turn, spoken.segment, position, samples, (), energy)
                )
                pcm, energy = pcm[samples:], b""
            if len(pcm):
                await asyncio.sleep(_FULL_RING_WAIT_S)

    def _fail(self, spoken: _Spoken, code: str) -> None:
        spoken.failed = True
        self._tell(ev.EngineFailed(self.turn, "s2s", code))


class _Spoken:
    """Audio of one segment: how much of it is in the playout, and what waits to go there.

    ``reply``: the model's; None for what is kept. ``texts``: pieces of its text so far.
    """

    def __init__(self, reply: SpeechReply | None, segment: int, rate_hz: int) -> None:
        self.segment = segment
        self.meter = EnergyMeter(rate_hz)
        self.texts = 0
        self.has_segment = False
        self.all_played = asyncio.Event()
        self.failed = False
        self._reply = reply
        self._rate_hz = rate_hz
        self._begin: int | None = None
        self._samples = 0
        # Bounded by `room`: beyond it the engine is not read further.
        self._queue: deque[NDArray[np.int16] | None] = deque()
        self._waiting = 0
        self._wake = asyncio.Event()
        self._taken = asyncio.Event()

    def put(self, pcm: NDArray[np.int16] | None) -> None:
        """Queue for the playout; None: that was all."""
        if pcm is None or len(pcm):
            self._queue.append(pcm)
            self._waiting += 0 if pcm is None else len(pcm)
            self._wake.set()

    async def room(self) -> None:
        """Let what was put be played; wait while there is too much of it."""
        await asyncio.sleep(0)
        while self._waiting > _AHEAD_S * self._rate_hz:
            self._taken.clear()
            await self._taken.wait()

    async def next(self) -> NDArray[np.int16] | None:
        """The next to be played."""
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        pcm = self._queue.popleft()
        self._waiting -= 0 if pcm is None else len(pcm)
        self._taken.set()
        return pcm

    def placed(self, position: int, samples: int) -> None:
        """So much went into the playout."""
        if self._begin is None:
            self._begin = position
        self._samples += samples

    def end(self, played: int) -> None:
        """It is over, the playout being at ``played``.

        What went in before a failure will be heard still.
        """
        heard = 0 if self._begin is None else min(max(played - self._begin, 0), self._samples)
        if self.failed:
            heard = self._samples
        complete = self.all_played.is_set() and heard == self._samples
        if self._reply is not None:
            self._reply.end(None if complete else 1000 * heard / self._rate_hz)
