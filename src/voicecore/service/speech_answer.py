"""One answer of a speech-to-speech model on its way: text to the session, audio to the playout.

Audio waits for nothing: it is played as it comes. The session cuts the text into
clauses as ever; they are not synthesised here but name stretches of the audio
(:mod:`~voicecore.service.speech_shares`), so that what was heard of an answer is
known as of any other. It is an estimate; what the model is told was heard is not: its
own audio, to the millisecond.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.core import events as ev
from voicecore.core.actions import Speak
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.word_times import Pace
from voicecore.engines.resilience.patience import Patience
from voicecore.engines.s2s.protocol import UNKNOWN_WORDS, SpeechReply, SpeechSession
from voicecore.errors import EngineError
from voicecore.service.speech_energy import EnergyMeter
from voicecore.service.speech_shares import Share, SpeechShares
from voicecore.transport.plane import MediaPlane
from voicecore.transport.tasks import let_go

_LOG = logging.getLogger(__name__)

_FULL_RING_WAIT_S = 0.1
_PATIENCE_S = 60.0
"""Longer than any engine's own: whoever knows more speaks first. It covers tools, too."""

_AHEAD_S = 60.0
"""The engine is not read further while so much audio waits for the playout."""

_UNNAMED_MS = 250.0
"""So much of the answer may be played before its text is cut into a clause wherever it is."""


class SpeechAnswer:
    """The work for one turn's reply. Belongs to the event loop and to one call.

    Everything that happens is told to ``report``; after :meth:`cancel` nothing is. Audio
    is played in the plane's generation at construction. ``resampler`` takes the model's
    rate to the plane's (None: they are equal). ``on_played(position, pcm)`` is told of
    all audio that the plane takes.
    """

    def __init__(
        self,
        turn: int,
        plane: MediaPlane,
        session: SpeechSession,
        *,
        resampler: Resampler | None,
        pace: Pace,
        apology: Callable[[int], NDArray[np.int16]],
        report: Callable[[ev.Event], None],
        on_played: Callable[[int, NDArray[np.int16]], None],
    ) -> None:
        self.turn = turn
        self.tasks: list[asyncio.Task[None]] = []
        self._plane = plane
        self._generation = plane.generation
        self._session = session
        self._resampler = resampler
        self._pace = pace
        self._apology = apology
        self._report = report
        self._on_played = on_played
        self._wishes: deque[Speak] = deque()
        self._spoken: list[_Spoken] = []
        self._asked = self._granting = self._cancelled = False

    def ask(self) -> None:
        """Let the model answer."""
        self._asked = True
        self._start(self._answer(), "s2s-answer")

    def say(self, speak: Speak) -> None:
        """Take a clause of the answer that is being spoken; without one, speak it."""
        if self._asked and not speak.canned:
            if self._spoken:
                self._tell_shares(self._spoken[-1].shares.name(speak.segment, speak.text))
            return
        self._wishes.append(speak)
        if not self._granting:
            self._granting = True
            self._start(self._grant(), "s2s-say")

    def cancel(self) -> None:
        """Stop; the model remembers what was played by now. The owner awaits :attr:`tasks`."""
        self._cancelled = True
        for spoken in self._spoken:
            spoken.end(self._plane.played)
        for task in self.tasks:
            task.cancel()

    def _start(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(let_go)
        self.tasks.append(task)

    def _tell(self, event: ev.Event) -> None:
        if not self._cancelled:
            self._report(event)

    async def _answer(self) -> None:
        if await self._speak(self._session.answer(), told=True):
            self._tell_shares(self._spoken[-1].shares.finish())

    async def _grant(self) -> None:
        """Speak what was wished for, in order; clauses that follow each other in one go."""
        while self._wishes:
            if self._wishes[0].canned:
                await self._apologise(self._wishes.popleft())
                continue
            clauses: list[Speak] = []
            while self._wishes and not self._wishes[0].canned:
                clauses.append(self._wishes.popleft())
            reply = self._session.say(" ".join(clause.text for clause in clauses))
            if not await self._speak(reply, *clauses, told=False):
                return
            self._tell_shares(self._spoken[-1].shares.finish())
        self._granting = False

    async def _apologise(self, speak: Speak) -> None:
        pcm = self._apology(self._plane.play_rate_hz)
        meter = EnergyMeter(self._plane.play_rate_hz)
        async for position, piece in self._played(pcm):
            energy = meter.push(piece)
            self._tell(ev.SpeechQueued(self.turn, speak.segment, position, len(piece), (), energy))
        self._tell(ev.SegmentEnd(self.turn, speak.segment))

    # -- one reply of the model's ------------------------------------------------------------

    async def _speak(self, reply: SpeechReply, *clauses: Speak, told: bool) -> bool:
        """Read and play it; False: it failed. ``told``: its text goes to the session."""
        spoken = _Spoken(reply, self._plane.play_rate_hz, self._pace)
        self._spoken.append(spoken)
        for clause in clauses:
            spoken.shares.name(clause.segment, clause.text)
        if not told:
            spoken.shares.complete()
        self._start(self._play(spoken), "s2s-voice")
        try:
            await self._read(spoken, told)
        except EngineError as error:
            self._fail(spoken, error.code)
        except Exception:
            _LOG.exception("the speech-to-speech engine raised")
            self._fail(spoken, "s2s_raised")
        else:
            spoken.put(self._resampler.flush() if self._resampler is not None else None)
            spoken.put(None)
            if told:
                self._end_text(spoken)
            await spoken.all_played.wait()
            return True
        return False

    def _end_text(self, spoken: _Spoken) -> None:
        rest = spoken.words.rest()
        if rest or not spoken.words.told:
            self._tell(ev.ReplyText(self.turn, rest or UNKNOWN_WORDS))
        self._tell(ev.ReplyEnd(self.turn))
        self._tell_shares(spoken.shares.complete())

    async def _read(self, spoken: _Spoken, told: bool) -> None:
        resampler = self._resampler
        if resampler is not None:
            resampler.reset()
        pieces = aiter(spoken.reply)
        async with Patience(_PATIENCE_S, "s2s", "s2s_timeout") as patience:
            while (piece := await patience.next(pieces)) is not None:
                if isinstance(piece, str):
                    if told and (text := spoken.words.push(piece)):
                        self._tell(ev.ReplyText(self.turn, text))
                        self._name_what_is_heard(spoken)
                elif isinstance(piece, ToolExchange):
                    self._tell(ev.ToolsUsed(self.turn, piece))
                else:
                    spoken.put(piece if resampler is None else resampler.process(piece))
                await spoken.room()

    def _name_what_is_heard(self, spoken: _Spoken) -> None:
        """Have the text that is there cut, if audio waits for it that is being heard."""
        if spoken.words.fresh and spoken.shares.unnamed_ms >= _UNNAMED_MS:
            spoken.words.fresh = False
            self._tell(ev.ReplyText(self.turn, "", whole=True))

    async def _play(self, spoken: _Spoken) -> None:
        while (pcm := await spoken.next()) is not None:
            async for position, piece in self._played(pcm):
                spoken.placed(position, len(piece))
                self._tell_shares(spoken.shares.push(position, piece))
                self._name_what_is_heard(spoken)
        spoken.all_played.set()

    async def _played(self, pcm: NDArray[np.int16]) -> AsyncIterator[tuple[int, NDArray[np.int16]]]:
        """Put ``pcm`` into the playout as it has room; yields what went in, and where."""
        while len(pcm):
            placed = self._plane.play(pcm, self._generation)
            if placed.accepted < 0:
                # The caller took the floor: whoever flushed also cancels us.
                raise asyncio.CancelledError
            if placed.accepted:
                self._on_played(placed.position, pcm[: placed.accepted])
                yield placed.position, pcm[: placed.accepted]
                pcm = pcm[placed.accepted :]
            if len(pcm):
                await asyncio.sleep(_FULL_RING_WAIT_S)

    def _tell_shares(self, shares: list[Share]) -> None:
        for share in shares:
            if share.samples or share.energy:
                self._tell(
                    ev.SpeechQueued(
                        self.turn, share.segment, share.position, share.samples, (), share.energy
                    )
                )
            if share.last:
                self._tell(ev.SegmentEnd(self.turn, share.segment))

    def _fail(self, spoken: _Spoken, code: str) -> None:
        spoken.failed = True
        self._tell(ev.EngineFailed(self.turn, "s2s", code))


class _Words:
    """Text by whole words: the last may still grow.

    ``told``: there were some; ``fresh``: since the last cut.
    """

    def __init__(self) -> None:
        self.told = self.fresh = False
        self._held = ""

    def push(self, text: str) -> str:
        """Add ``text``; return what is complete, with the white space behind it."""
        held = self._held + text
        cut = len(held) - len(held.split(" ")[-1])
        self._held = held[cut:]
        if held[:cut].strip():
            self.told = self.fresh = True
        return held[:cut]

    def rest(self) -> str:
        """What is left at the end."""
        held, self._held = self._held, ""
        return held


class _Spoken:
    """A reply of the model's, how much of it is in the playout, and what waits to go there."""

    def __init__(self, reply: SpeechReply, rate_hz: int, pace: Pace) -> None:
        self.reply = reply
        self.words = _Words()
        self.shares = SpeechShares(rate_hz, pace)
        self.all_played = asyncio.Event()
        self.failed = False
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
        self.reply.end(None if complete else 1000 * heard / self._rate_hz)
