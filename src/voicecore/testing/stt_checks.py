"""What :class:`~voicecore.engines.protocols.SttEngine` promises, a function each."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from voicecore.core.transcript import Transcript
from voicecore.engines.protocols import (
    EncodedSttStream,
    Pcm,
    RemoteSttStream,
    SttEngine,
    SttSession,
    SttStream,
    SttWithSessions,
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
from voicecore.testing.material import chunks_of, made_voice
from voicecore.testing.watch import loop_stays_free

_LATE_S: Final = 0.3  # in which a partial that must not come would
_SLACK_MS: Final = 1000  # what a recogniser's clock may run ahead of the audio


class Partials:
    """Takes partial texts; each must be a ``str`` and come on the event loop's thread."""

    def __init__(self) -> None:
        self.texts: list[object] = []
        self.wrong = ""
        self._thread = threading.get_ident()

    def __call__(self, text: object) -> None:
        """``on_partial``."""
        if not isinstance(text, str):
            self.wrong = f"a partial is a {type(text).__name__}, not a str"
        if threading.get_ident() != self._thread:
            self.wrong = "a partial came on another thread than the event loop's"
        self.texts.append(text)


def _audio(bench: Bench, engine: Any) -> Pcm:
    return made_voice(engine.rate_hz) if bench.audio is None else bench.audio


async def _open(bench: Bench, engine: Any, partials: Callable[[str], None]) -> SttStream:
    stream: SttStream = await bench.within(engine.open(partials), "open()")
    expect(isinstance(stream, SttStream), "open() gives no SttStream (push, finish, cancel)")
    return stream


def _look_at(bench: Bench, text: object) -> None:
    """A final text must be a ``str`` and, where it is known, have what was said."""
    expect(isinstance(text, str), f"finish() gives a {type(text).__name__}, not a str")
    heard = set(re.findall(r"\w+", str(text).lower()))
    lacking = set(re.findall(r"\w+", bench.said.lower())) - heard
    expect(not lacking, f"{len(lacking)} of the words that were said are not in the text")


async def _hear(bench: Bench, engine: Any, pcm: Pcm | None = None) -> str:
    """A whole utterance."""
    partials = Partials()
    stream = await _open(bench, engine, partials)
    for chunk in chunks_of(_audio(bench, engine) if pcm is None else pcm, engine.rate_hz):
        stream.push(chunk)
        await asyncio.sleep(0)
    text = await bench.within(stream.finish(), "finish()")
    _look_at(bench, text)
    expect(not partials.wrong, partials.wrong)
    return text


async def has_the_protocol(bench: Bench) -> None:
    """It has the members of SttEngine, a name and a rate."""
    has_members(bench, SttEngine, "rate_hz")


async def hears_an_utterance(bench: Bench) -> None:
    """Audio in pieces of 50 ms gives a text, partials come on the event loop."""
    async with bench.started() as engine:
        await _hear(bench, engine)


async def hears_nothing_in_nothing(bench: Bench) -> None:
    """finish() without audio, and with audio of no sample, gives a text soon."""
    async with bench.started() as engine:
        nothing = replace(bench, said="")
        await _hear(nothing, engine, np.zeros(0, np.int16))
        stream = await _open(bench, engine, Partials())
        stream.push(np.zeros(0, np.int16))
        _look_at(nothing, await bench.within(stream.finish(), "finish() of nothing"))


async def tells_words_in_order(bench: Bench) -> None:
    """Words of a Transcript rise in time and lie within the audio."""
    async with bench.started() as engine:
        text = await _hear(bench, engine)
        if not isinstance(text, Transcript) or not text.words:
            raise NotApplicable("no times of words for this audio")
        end_ms = len(_audio(bench, engine)) * 1000 // engine.rate_hz + _SLACK_MS
        last_ms = 0
        for number, word in enumerate(text.words):
            expect(
                last_ms <= word.start_ms <= word.end_ms <= end_ms,
                f"word {number} lies at {word.start_ms}..{word.end_ms} ms, after {last_ms} "
                f"and before {end_ms}",
            )
            sure = word.confidence
            expect(sure is None or 0.0 <= sure <= 1.0, f"word {number} has confidence {sure}")
            last_ms = word.start_ms


async def takes_any_cut(bench: Bench) -> None:
    """Pieces of any size are taken: a sample, an odd number, seconds at once."""
    async with bench.started() as engine:
        pcm = _audio(bench, engine)
        stream = await _open(bench, engine, Partials())
        at = 0
        for size in (1, 0, 7, 333, engine.rate_hz // 50, len(pcm)):
            stream.push(pcm[at : at + size])
            at += size
        _look_at(bench, await bench.within(stream.finish(), "finish()"))


async def leaves_the_audio_alone(bench: Bench) -> None:
    """What is pushed is never written to."""
    async with bench.started() as engine:
        pcm = _audio(bench, engine).copy()
        kept = pcm.copy()
        pcm.setflags(write=False)
        await _hear(bench, engine, pcm)
        expect(bool(np.array_equal(pcm, kept)), "pushed audio was changed")


async def can_be_cancelled(bench: Bench) -> None:
    """cancel() mid-way, twice, and after the end is harmless; the engine goes on."""
    async with bench.started() as engine:
        stream = await _open(bench, engine, Partials())
        stream.push(_audio(bench, engine))
        await asyncio.sleep(0)
        await bench.within(stream.cancel(), "cancel()")
        await bench.within(stream.cancel(), "a second cancel()")
        stream.push(_audio(bench, engine)[:160])
        ended = bench.within(stream.finish(), "finish() after cancel()")
        await refused_or_works(ended, "finish() after cancel()", EngineError)
        done = await _open(bench, engine, Partials())
        await bench.within(done.finish(), "finish()")
        await bench.within(done.cancel(), "cancel() after finish()")
        await _hear(bench, engine)


async def piles_up_nothing(bench: Bench) -> None:
    """Utterances that were cancelled leave no task."""
    async with bench.started() as engine:

        async def cancelled() -> None:
            stream = await _open(bench, engine, Partials())
            stream.push(_audio(bench, engine)[: engine.rate_hz // 10])
            await asyncio.sleep(0)
            await bench.within(stream.cancel(), "cancel()")

        await piles_nothing_up(bench, cancelled)


async def is_silent_when_over(bench: Bench) -> None:
    """No partial comes after cancel(), nor after finish()."""
    async with bench.started() as engine:
        for ending in ("cancel", "finish"):
            partials = Partials()
            stream = await _open(bench, engine, partials)
            for chunk in chunks_of(_audio(bench, engine), engine.rate_hz):
                stream.push(chunk)
                await asyncio.sleep(0)
            await bench.within(getattr(stream, ending)(), f"{ending}()")
            told = len(partials.texts)
            await asyncio.sleep(_LATE_S)
            expect(len(partials.texts) == told, f"a partial came after {ending}()")


async def survives_a_cancelled_finish(bench: Bench) -> None:
    """A task that is cancelled in finish() ends at once; the engine goes on."""
    async with bench.started() as engine:
        stream = await _open(bench, engine, Partials())
        stream.push(_audio(bench, engine))
        task = asyncio.ensure_future(stream.finish())
        await asyncio.sleep(0)
        task.cancel()
        await bench.within(asyncio.wait([task]), "a cancelled finish()")
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
        await _hear(bench, engine)


async def serves_two_at_once(bench: Bench) -> None:
    """Two utterances side by side both end; or the second is refused by EngineError."""
    async with bench.started() as engine:
        pcm = _audio(bench, engine)
        first = await _open(bench, engine, Partials())
        try:
            second = await _open(bench, engine, Partials())
        except EngineError:
            await bench.within(first.finish(), "finish()")
            return
        for chunk in chunks_of(pcm, engine.rate_hz):
            first.push(chunk)
            second.push(chunk)
            await asyncio.sleep(0)
        for text in await bench.within(asyncio.gather(first.finish(), second.finish()), "finish()"):
            _look_at(bench, text)


async def keeps_the_loop_free(bench: Bench) -> None:
    """The event loop never stands still while it hears."""
    async with bench.started() as engine:
        await loop_stays_free(bench, lambda: _hear(bench, engine))


async def keeps_sessions(bench: Bench) -> None:
    """A session warms, hears twice and closes twice; closed cold it is fine, too."""
    async with bench.started() as engine:
        await bench.within(_session(engine).close(), "close() of a fresh session")
        session = _session(engine)
        try:
            await bench.within(session.warm(), "warm()")
            for _ in range(2):
                await _hear(bench, _Rated(session, engine.rate_hz))
        finally:
            await bench.within(session.close(), "the session's close()")
        await bench.within(session.close(), "a second close() of the session")


async def ends_streams_with_their_session(bench: Bench) -> None:
    """A stream whose session was closed comes to an end; the engine goes on."""
    async with bench.started() as engine:
        session = _session(engine)
        stream = await bench.within(session.open(Partials()), "open()")
        stream.push(_audio(bench, engine))
        await bench.within(session.close(), "the session's close()")
        ended = bench.within(stream.finish(), "finish() after the session's close()")
        await refused_or_works(ended, "finish() after the session's close()", EngineError)
        await bench.within(stream.cancel(), "cancel()")
        await _hear(bench, engine)


async def tells_which_sessions_are_encoded(bench: Bench) -> None:
    """``encoded`` says whether the session's streams take packets."""
    async with bench.started() as engine:
        for codec in ("", "opus", "pcmu", "pcma"):
            session = _session(engine, codec)
            try:
                expect(isinstance(session.encoded, bool), "encoded must be a bool")
                expect(bool(codec) or not session.encoded, "encoded without a codec")
                stream = await bench.within(session.open(Partials()), "open()")
                fits = isinstance(stream, EncodedSttStream) or not session.encoded
                await bench.within(stream.cancel(), "cancel()")
                expect(fits, "an encoded session's stream lacks push_encoded")
            finally:
                await bench.within(session.close(), "the session's close()")


async def tells_what_is_settled(bench: Bench) -> None:
    """A remote stream's settled samples and progress rise, and it hasn't failed."""
    async with bench.started() as engine:
        stream = await _open(bench, engine, Partials())
        if not isinstance(stream, RemoteSttStream):
            await stream.cancel()
            raise NotApplicable("its streams are not remote ones")
        pcm = _audio(bench, engine)
        pushed = samples = progress = 0
        for chunk in chunks_of(pcm, engine.rate_hz):
            stream.push(chunk)
            pushed += len(chunk)
            await asyncio.sleep(0)
            expect(
                samples <= stream.settled_samples <= pushed and progress <= stream.progress,
                f"settled_samples {samples} -> {stream.settled_samples} of {pushed}, "
                f"progress {progress} -> {stream.progress}",
            )
            samples, progress = stream.settled_samples, stream.progress
        expect(isinstance(stream.settled, Transcript), "settled must be a Transcript")
        expect(not stream.failure.done(), "failure is done, though nothing failed")
        await bench.within(stream.finish(), "finish()")


class _Rated:
    """A session in an engine's clothes."""

    def __init__(self, session: SttSession, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.open: Callable[..., Awaitable[SttStream]] = session.open


def _session(engine: Any, codec: str = "") -> SttSession:
    if not isinstance(engine, SttWithSessions):
        raise NotApplicable("it has no sessions")
    session = engine.session(codec)
    expect(isinstance(session, SttSession), "session() gives no SttSession")
    return session


CHECKS: Final[tuple[Check, ...]] = (
    *lifecycle_checks("stt", has_the_protocol, _hear),
    *checks_of(
        "stt",
        hears_an_utterance,
        hears_nothing_in_nothing,
        tells_words_in_order,
        takes_any_cut,
        leaves_the_audio_alone,
        can_be_cancelled,
        piles_up_nothing,
        is_silent_when_over,
        survives_a_cancelled_finish,
        serves_two_at_once,
        keeps_the_loop_free,
        keeps_sessions,
        ends_streams_with_their_session,
        tells_which_sessions_are_encoded,
        tells_what_is_settled,
    ),
)
