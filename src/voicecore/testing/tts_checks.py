"""What :class:`~voicecore.engines.protocols.TtsEngine` promises, a function each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import numpy as np

from voicecore.engines.protocols import (
    SpeechChunk,
    TtsEngine,
    TtsSession,
    TtsWithSessions,
    WordMark,
)
from voicecore.errors import EngineError
from voicecore.testing.checking import (
    Bench,
    Check,
    NotApplicable,
    checks_of,
    expect,
    piles_nothing_up,
    refused_or_works,
)
from voicecore.testing.lifecycle import has_members, lifecycle_checks
from voicecore.testing.material import ODD_TEXTS
from voicecore.testing.watch import loop_stays_free

# A mark should come with its sound or before; but some providers tell a word only when
# the next one begins.
_LATEST_MARK_MS: Final = 1000


async def _speak(bench: Bench, speech: AsyncIterator[SpeechChunk]) -> list[SpeechChunk]:
    """All of a text's speech, each chunk looked at as it comes."""
    chunks: list[SpeechChunk] = []
    while True:
        chunk = await bench.within(anext(speech, None), "the next chunk")
        if chunk is None:
            return chunks
        pcm: Any = chunk.pcm
        expect(isinstance(chunk, SpeechChunk), "speak() yields something else than SpeechChunk")
        expect(
            isinstance(pcm, np.ndarray) and pcm.dtype == np.int16 and pcm.ndim == 1,
            "pcm must be int16 of one axis",
        )
        expect(pcm.flags.c_contiguous, "pcm must be C-contiguous")
        chunks.append(chunk)


async def _say(bench: Bench, engine: Any, text: str = "") -> list[SpeechChunk]:
    return await _speak(bench, engine.speak(text or bench.texts[-1]))


async def _begin(bench: Bench, engine: Any) -> AsyncIterator[SpeechChunk]:
    """A speech of which the first chunk has come."""
    speech: AsyncIterator[SpeechChunk] = engine.speak(bench.texts[-1])
    await bench.within(anext(speech, None), "the first chunk")
    return speech


async def has_the_protocol(bench: Bench) -> None:
    """It has the members of TtsEngine, a name and, once started, a rate."""
    engine = has_members(bench, TtsEngine)
    await bench.within(engine.start(), "start()")
    try:
        rate_hz = engine.rate_hz
        expect(8_000 <= rate_hz <= 48_000, f"rate_hz must be 8000..48000; is {rate_hz!r}")
    finally:
        await bench.within(engine.close(), "close()")


async def speaks(bench: Bench) -> None:
    """A text gives sound: int16, one axis, C-contiguous."""
    async with bench.started() as engine:
        for text in bench.texts:
            chunks = await _say(bench, engine, text)
            expect(sum(len(chunk.pcm) for chunk in chunks) > 0, "a text gave no sound")


async def marks_words_in_order(bench: Bench) -> None:
    """Marks rise in text and time, lie within both, and come within a second of their sound."""
    async with bench.started() as engine:
        for text in bench.texts:
            chunks = await _say(bench, engine, text)
            if not any(chunk.words for chunk in chunks):
                raise NotApplicable("it gives no marks")
            samples = sum(len(chunk.pcm) for chunk in chunks)
            late = engine.rate_hz * _LATEST_MARK_MS // 1000
            began = 0
            before: WordMark | None = None
            for chunk in chunks:
                for mark in chunk.words:
                    _look_at(mark, before, text, began - late, samples)
                    before = mark
                began += len(chunk.pcm)


def _look_at(
    mark: WordMark, before: WordMark | None, text: str, earliest: int, samples: int
) -> None:
    where = f"mark {tuple(mark)} of a text of {len(text)} characters and {samples} samples"
    expect(0 <= mark.char_start < mark.char_end <= len(text), f"{where}: not within the text")
    expect(mark.sample <= samples, f"{where}: begins behind the end")
    expect(earliest <= mark.sample, f"{where}: comes more than {_LATEST_MARK_MS} ms too late")
    if mark.end is not None:
        expect(mark.sample <= mark.end <= samples, f"{where}: ends before it begins, or too late")
    if before is not None:
        expect(
            before.char_end <= mark.char_start and before.sample <= mark.sample,
            f"{where}: does not rise after {tuple(before)}",
        )


async def gives_its_chunks_away(bench: Bench) -> None:
    """A chunk is never written to again: who gets it may keep it."""
    async with bench.started() as engine:
        kept = []
        speech = engine.speak(bench.texts[-1])
        while (chunk := await bench.within(anext(speech, None), "the next chunk")) is not None:
            kept.append((chunk.pcm, chunk.pcm.copy()))
        await _say(bench, engine)
        same = all(np.array_equal(pcm, copy) for pcm, copy in kept)
        expect(same, "a chunk changed after it was given away")


async def speaks_odd_texts(bench: Bench) -> None:
    """Nothing, blanks, signs, emoji, markup: each is spoken or passed over."""
    async with bench.started() as engine:
        for number, text in enumerate(ODD_TEXTS):
            try:
                await _speak(bench, engine.speak(text))
            except EngineError as error:
                expect(False, f"odd text {number} ({text!r}): EngineError {error.code}")


async def refuses_too_much_by_engine_error(bench: Bench) -> None:
    """A text of 20,000 characters is begun, or refused by EngineError."""
    async with bench.started() as engine:
        speech = engine.speak("Well, well. " * 1667)
        first = bench.within(anext(speech, None), "the first chunk")
        await refused_or_works(first, "a long text", EngineError)
        await bench.within(_aclose(speech), "closing the iterator")


async def can_be_closed_early(bench: Bench) -> None:
    """Closing the iterator after a chunk stops the work; the engine goes on."""
    async with bench.started() as engine:
        speech = await _begin(bench, engine)
        await bench.within(_aclose(speech), "closing the iterator")
        await _say(bench, engine)


async def can_be_cancelled(bench: Bench) -> None:
    """Cancelling the task that listens stops the work; the engine goes on."""
    async with bench.started() as engine:
        task = asyncio.ensure_future(_say(bench, engine))
        await asyncio.sleep(0)
        task.cancel()
        await bench.within(asyncio.wait([task]), "a cancelled speech")
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        await _say(bench, engine)


async def piles_up_nothing(bench: Bench) -> None:
    """Speeches that were closed early leave no task."""
    async with bench.started() as engine:

        async def closed_early() -> None:
            await bench.within(_aclose(await _begin(bench, engine)), "closing the iterator")

        await piles_nothing_up(bench, closed_early)


async def serves_two_at_once(bench: Bench) -> None:
    """Two texts side by side are both spoken whole."""
    async with bench.started() as engine:
        alone = sum(len(chunk.pcm) for chunk in await _say(bench, engine))
        both = await asyncio.gather(_say(bench, engine), _say(bench, engine))
        for chunks in both:
            samples = sum(len(chunk.pcm) for chunk in chunks)
            expect(samples > alone / 2, f"{samples} samples side by side, {alone} alone")


async def keeps_the_loop_free(bench: Bench) -> None:
    """The event loop never stands still while it speaks."""
    async with bench.started() as engine:
        await loop_stays_free(bench, lambda: _say(bench, engine))


async def keeps_sessions(bench: Bench) -> None:
    """A session warms, speaks an answer in two texts, closes twice; closed cold it is fine."""
    async with bench.started() as engine:
        await bench.within(_session(engine).close(), "close() of a fresh session")
        session = _session(engine)
        try:
            await bench.within(session.warm(), "warm()")
            for answer in (1, 1, 2):
                chunks = await _speak(bench, session.speak(bench.texts[-1], answer=answer))
                expect(bool(chunks), f"nothing was said in answer {answer}")
            cut_off = session.speak(bench.texts[-1], answer=3)
            await bench.within(anext(cut_off, None), "the first chunk")
            await bench.within(_aclose(cut_off), "closing the iterator")
            after = await _speak(bench, session.speak(bench.texts[-1], answer=4))
            expect(bool(after), "nothing was said after an answer that was cut off")
        finally:
            await bench.within(session.close(), "the session's close()")
        await bench.within(session.close(), "a second close() of the session")


async def ends_speech_with_its_session(bench: Bench) -> None:
    """A speech whose session was closed comes to an end; the engine goes on."""
    async with bench.started() as engine:
        session = _session(engine)
        speech = session.speak(bench.texts[-1], answer=1)
        await bench.within(anext(speech, None), "the first chunk")
        await bench.within(session.close(), "the session's close()")
        rest = _speak(bench, speech)
        await refused_or_works(rest, "speech after the session's close()", EngineError)
        await _say(bench, engine)


def _session(engine: Any) -> TtsSession:
    if not isinstance(engine, TtsWithSessions):
        raise NotApplicable("it has no sessions")
    session = engine.session()
    expect(isinstance(session, TtsSession), "session() gives no TtsSession")
    return session


async def _aclose(speech: AsyncIterator[SpeechChunk]) -> None:
    close = getattr(speech, "aclose", None)
    expect(close is not None, "speak() gives an iterator without aclose()")
    if close is not None:
        await close()


CHECKS: Final[tuple[Check, ...]] = (
    *lifecycle_checks("tts", has_the_protocol, _say),
    *checks_of(
        "tts",
        speaks,
        marks_words_in_order,
        gives_its_chunks_away,
        speaks_odd_texts,
        refuses_too_much_by_engine_error,
        can_be_closed_early,
        can_be_cancelled,
        piles_up_nothing,
        serves_two_at_once,
        keeps_the_loop_free,
        keeps_sessions,
        ends_speech_with_its_session,
    ),
)
