"""One answer on its way: model -> clauses -> synthesiser -> playout, overlapped.

The model's task and the voice's task run side by side: while the first clause
is spoken the model still writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from voicecore._native.resample import Resampler
from voicecore.core import events as ev
from voicecore.core.actions import Speak
from voicecore.core.conversation import Conversation
from voicecore.core.protected import Protected
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.word_times import Word
from voicecore.engines.protocols import LlmEngine, WordMark
from voicecore.engines.resilience.patience import Patience
from voicecore.errors import EngineError
from voicecore.service.answer_work import AnswerWork, Report
from voicecore.service.call_engines import CallVoice
from voicecore.service.speech_energy import EnergyMeter
from voicecore.transport.plane import MediaPlane

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)

_CLAUSES_AHEAD = 32
"""The model waits while this many clauses have not been synthesised."""

_FULL_RING_WAIT_S = 0.1
_CHUNK_TIMEOUT_S = 10.0
_TOKEN_TIMEOUT_S = 60.0


class Answer(AnswerWork):
    """Of a language model and a synthesiser.

    Audio is played in the plane's generation at construction, so what
    comes after a flush is refused by the plane itself. ``resampler`` takes the
    synthesiser's rate to the plane's (None: they are equal); the next answer
    may use it once this one is cancelled or over. ``kept(text, rate_hz)`` is the audio
    of what needs no synthesiser. ``on_played(position, pcm)`` is told of all audio that
    the plane takes.
    """

    def __init__(
        self,
        turn: int,
        plane: MediaPlane,
        tts: CallVoice,
        *,
        resampler: Resampler | None,
        kept: Callable[[str, int], NDArray[np.int16]],
        report: Report,
        on_played: Callable[[int, NDArray[np.int16]], None] = lambda position, pcm: None,
    ) -> None:
        super().__init__(turn, report)
        self._plane = plane
        self._generation = plane.generation
        self._tts = tts
        self._resampler = resampler
        if resampler is not None:
            resampler.reset()
        self._kept = kept
        self._on_played = on_played
        self._clauses: asyncio.Queue[Speak] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._voice_started = False

    def ask(self, llm: LlmEngine, conversation: Conversation) -> None:
        """Start the model."""
        self._start(self._write(llm, conversation), "answer-llm")

    def say(self, speak: Speak) -> None:
        """Queue a clause for synthesis, in order."""
        if not self._voice_started:
            self._voice_started = True
            self._start(self._voice(), "answer-tts")
        self._clauses.put_nowait(speak)
        if self._clauses.qsize() >= _CLAUSES_AHEAD:
            self._room.clear()

    # -- the model ----------------------------------------------------------------

    async def _write(self, llm: LlmEngine, conversation: Conversation) -> None:
        try:
            async with (
                _closing(llm.reply(conversation)) as pieces,
                Patience(_TOKEN_TIMEOUT_S, llm.name, "llm_timeout") as patience,
            ):
                while (piece := await patience.next(pieces)) is not None:
                    if isinstance(piece, ToolExchange):
                        self._tell(ev.ToolsUsed(self.turn, piece))
                    elif piece:
                        protected = isinstance(piece, Protected)
                        self._tell(ev.ReplyText(self.turn, str(piece), protected))
                    await self._room.wait()
        except EngineError as error:
            self._fail("llm", error.code)
        except Exception:
            _LOG.exception("the agent's code raised")
            self._fail("llm", "llm_raised")
        else:
            self._tell(ev.ReplyEnd(self.turn))

    # -- the voice ------------------------------------------------------------------

    async def _voice(self) -> None:
        while True:
            speak = await self._clauses.get()
            if self._clauses.qsize() < _CLAUSES_AHEAD:
                self._room.set()
            try:
                await (self._play_kept(speak) if speak.canned else self._synthesise(speak))
            except EngineError as error:
                self._fail("tts", error.code)
                return
            except Exception:
                _LOG.exception("the synthesiser raised")
                self._fail("tts", "tts_raised")
                return
            self._tell(ev.SegmentEnd(self.turn, speak.segment))

    async def _synthesise(self, speak: Speak) -> None:
        engine_hz, play_hz = self._tts.rate_hz, self._plane.play_rate_hz
        resampler = self._resampler
        meter = EnergyMeter(play_hz)
        async with (
            _closing(self._tts.speak(speak.text, self.turn)) as chunks,
            Patience(_CHUNK_TIMEOUT_S, self._tts.name, "tts_timeout") as patience,
        ):
            while (chunk := await patience.next(chunks)) is not None:
                pcm = chunk.pcm if resampler is None else resampler.process(chunk.pcm)
                words = tuple(_at_rate(mark, engine_hz, play_hz) for mark in chunk.words)
                await self._play(speak.segment, pcm, words, meter)
        if resampler is not None:
            await self._play(speak.segment, resampler.flush(), (), meter)

    async def _play_kept(self, speak: Speak) -> None:
        rate_hz = self._plane.play_rate_hz
        pcm = self._kept(speak.text, rate_hz)
        await self._play(speak.segment, pcm, (), EnergyMeter(rate_hz))

    async def _play(
        self,
        segment: int,
        pcm: NDArray[np.int16],
        words: tuple[Word, ...],
        meter: EnergyMeter,
    ) -> None:
        energy = meter.push(pcm)
        while len(pcm) or words:
            placed = self._plane.play(pcm, self._generation)
            if placed.accepted < 0:
                # The caller took the floor: whoever flushed also cancels us.
                raise asyncio.CancelledError
            if placed.accepted:
                self._on_played(placed.position, pcm[: placed.accepted])
            if placed.accepted or words:
                self._tell(
                    ev.SpeechQueued(
                        self.turn, segment, placed.position, placed.accepted, words, energy
                    )
                )
                energy = b""
            words, pcm = (), pcm[placed.accepted :]
            if len(pcm):
                await asyncio.sleep(_FULL_RING_WAIT_S)

    def _fail(self, stage: str, code: str) -> None:
        self._tell(ev.EngineFailed(self.turn, stage, code))


def _at_rate(mark: WordMark, from_hz: int, to_hz: int) -> Word:
    end = None if mark.end is None else mark.end * to_hz // from_hz
    return Word(mark.char_start, mark.char_end, mark.sample * to_hz // from_hz, end)


def _closing(source: AsyncIterator[_T]) -> aclosing[Any]:
    """``source``, closed on the way out; a plain iterator gets an ``aclose``."""
    return aclosing(source if hasattr(source, "aclose") else _generator(source))


async def _generator(source: AsyncIterator[_T]) -> AsyncIterator[_T]:
    async for item in source:
        yield item
