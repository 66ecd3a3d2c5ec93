"""One utterance, on as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Protocol

from voicecore.core.transcript import Transcript
from voicecore.engines.protocols import (
    EncodedPacket,
    EncodedSttStream,
    Pcm,
    RemoteSttStream,
    SttEngine,
    SttStream,
)
from voicecore.engines.resilience.chain import Chain
from voicecore.engines.resilience.mute_watch import MuteWatch
from voicecore.engines.resilience.policy import HearingPolicy
from voicecore.engines.resilience.provider import Provider, raised
from voicecore.engines.resilience.replay import Piece, ReplayRing
from voicecore.engines.resilience.seeker import Opener, Seeker, timed_out
from voicecore.errors import EngineError, MisuseError

_RATE_HZ = 16_000
_SAMPLES_PER_MS = _RATE_HZ // 1000
_CATCH_UP = 0.5
"""A recogniser that is given the past at once needs less than this of its length for it."""
_MOST_MUTES = 2
"""Then it is the sound that nobody understands, not the connection."""
_WORDS_SAMPLES = 16_000
"""In so much sound there are words, or it is not the caller's."""
_UNHEARD_SAMPLES = 4_800
"""So much speech may go without a sign at the end: a short word, a breath."""


class _Closable(Protocol):
    async def close(self) -> None: ...


class HeardUtterance:
    """An :class:`SttStream` over streams that may break. Event-loop thread only.

    ``finish`` and ``cancel`` end it; what it owns is gone when they return. With
    ``keeps_audio`` all audio that no final text covers is kept for another stream.
    """

    def __init__(
        self,
        chain: Chain[SttEngine],
        opener: Opener,
        on_partial: Callable[[str], None],
        policy: HearingPolicy,
        random: Random,
        *,
        keeps_audio: bool,
        on_over: Callable[[HeardUtterance], None],
    ) -> None:
        """Made by :meth:`ResilientSttSession.open`."""
        loop = asyncio.get_running_loop()
        self._chain = chain
        self._tell = on_partial
        self._policy = policy
        self._on_over = on_over
        self._seeker = Seeker(
            chain, opener, policy, random, self._take_partial, patient=keeps_audio
        )
        self._loop = loop
        self._ring = ReplayRing(round(policy.replay_s * _RATE_HZ)) if keeps_audio else None
        self._watch = MuteWatch(round(policy.stall_s * _RATE_HZ))
        self._settled = self._partial = Transcript("")
        self._covered = 0
        self._inner: SttStream | None = None
        self._remote: RemoteSttStream | None = None
        self._encoded: EncodedSttStream | None = None
        self._from_sample = 0
        self._mutes = 0
        self._doubted = False
        self._heard_something = False
        self._answered_by = ""
        self._trouble: asyncio.Future[EngineError] = loop.create_future()
        self._task: asyncio.Task[str] | None = None
        self._guest_of: _Closable | None = None

    def when_over(self, session: _Closable) -> None:
        """Close ``session``, made for this utterance alone, at its end."""
        self._guest_of = session

    async def begin(self) -> None:
        """Open the first stream: in the background where the audio is kept, else now."""
        if self._ring is None:
            try:
                provider, inner = await self._seeker.connect()
            except BaseException:
                self._on_over(self)
                raise
            self._take_up(inner)
            self._task = self._loop.create_task(self._listen(provider, inner), name="hearing")
        else:
            self._task = self._loop.create_task(self._listen(), name="hearing")
        self._task.add_done_callback(_look_at_error)

    # -- the stream ---------------------------------------------------------------------

    def push(self, pcm: Pcm) -> None:
        """Take samples at 16 kHz."""
        self._push(Piece(pcm))

    def push_encoded(self, pcm: Pcm, packets: Sequence[EncodedPacket]) -> None:
        """Take samples and the packets they came in."""
        self._push(Piece(pcm, packets))

    async def finish(self) -> str:
        """End the utterance; its text, or the EngineError of the last engine that was asked.

        EngineError ``stt_closed``, too, where it is given up by somebody else.
        """
        if self._task is None:
            raise MisuseError("the utterance was not begun")
        self._seeker.end()
        began_s = self._loop.time()
        try:
            text = await asyncio.shield(self._task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if self._task.cancelled() and waiter is not None and not waiter.cancelling():
                raise _given_up(self._chain.name) from None
            await self.cancel()
            raise
        finally:
            await self._over()
        self._chain.meter.finalised("stt", self._answered_by, self._loop.time() - began_s)
        return text

    async def cancel(self) -> None:
        """Give it up; no partial is told afterwards. Harmless when it is over."""
        self._tell = _tell_nobody
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._inner is not None:
            # Cancelled before its first step, the task has left nothing.
            await self._let_go(self._inner)
        await self._over()

    async def _over(self) -> None:
        self._on_over(self)
        session, self._guest_of = self._guest_of, None
        if session is not None:
            await session.close()

    def _push(self, piece: Piece) -> None:
        if self._seeker.ended.done():
            return
        inner, remote, ring = self._inner, self._remote, self._ring
        if ring is not None and not ring.add(piece):
            ring.make_room(self._covered_by_now())
        if inner is None:
            return
        self._hand_on(inner, piece)
        pcm = piece.pcm
        if remote is None or not len(pcm) or not self._watch.listen(pcm, remote.progress):
            return
        if self._mutes < _MOST_MUTES and not self._trouble.done():
            self._mutes += 1
            self._trouble.set_result(_mute(self._chain.name, self._policy.stall_s))

    def _hand_on(self, inner: SttStream, piece: Piece) -> None:
        if self._encoded is not None:
            self._encoded.push_encoded(piece.pcm, piece.packets)
        elif len(piece.pcm):
            inner.push(piece.pcm)

    # -- one connection after another -----------------------------------------------------

    async def _listen(
        self, provider: Provider[SttEngine] | None = None, inner: SttStream | None = None
    ) -> str:
        """The final text, from the first provider that gives one."""
        while True:
            if provider is None or inner is None:
                provider, inner = await self._seeker.connect()
                self._take_up(inner)
            try:
                text = await self._hear(provider, inner)
            except EngineError as error:
                self._seeker.lost(provider, error, excused=self._is_excused(error))
                await self._let_go(inner, error)
                if self._ring is None:
                    raise
                provider = inner = None
            except BaseException:
                await self._let_go(inner)
                raise
            else:
                self._inner = self._remote = None
                provider.succeeded()
                self._answered_by = provider.name
                return self._settled.followed_by(_later(text, self._from_sample))

    async def _hear(self, provider: Provider[SttEngine], inner: SttStream) -> str:
        """Wait for the end of the utterance, then for the text."""
        troubles = [self._trouble]
        if self._remote is not None:
            troubles.append(self._remote.failure)
        what: list[asyncio.Future[Any]] = [self._seeker.ended, *troubles]
        await asyncio.wait(what, return_when=asyncio.FIRST_COMPLETED)
        for trouble in troubles:
            if trouble.done():
                raise trouble.result()
        limit_s = self._policy.final_s if self._remote else self._policy.batch_final_s
        limit_s += _CATCH_UP * self._replayed_s
        try:
            async with asyncio.timeout(limit_s):
                text = await inner.finish()
        except TimeoutError:
            raise timed_out(provider, limit_s) from None
        except EngineError:
            raise
        except Exception as error:
            raise raised("stt", provider.name, error) from None
        if self._remote is not None and not self._remote.confirmed and not self._doubted:
            unheard = self._speech_after(self._from_sample + self._remote.heard_samples)
            if unheard > _UNHEARD_SAMPLES:
                # Nothing came of the utterance's end: once, it is asked for elsewhere.
                self._doubted = True
                raise _mute(provider.name, unheard / _RATE_HZ)
        return text

    def _speech_after(self, sample: int) -> int:
        """How many samples of speech were said from ``sample`` on."""
        if self._ring is None:
            return 0
        at, speech = self._ring.start, 0
        for piece in self._ring:
            if at >= sample and len(piece.pcm) and self._watch.is_speech(piece.pcm):
                speech += len(piece.pcm)
            at += len(piece.pcm)
        return speech

    def _take_up(self, inner: SttStream) -> None:
        """Give ``inner`` what is not covered yet; what comes goes straight to it."""
        self._trouble = self._loop.create_future()
        self._watch.reset()
        self._inner = inner
        self._remote = inner if isinstance(inner, RemoteSttStream) else None
        self._encoded = inner if isinstance(inner, EncodedSttStream) else None
        if self._ring is not None:
            # While the connection was made the ring has gone on.
            self._settle_what_is_gone()
            self._ring.release(self._covered)
            self._from_sample = self._ring.start
            for piece in self._ring:
                self._hand_on(inner, piece)

    async def _let_go(self, inner: SttStream, error: EngineError | None = None) -> None:
        """Keep what is settled; leave the stream."""
        if self._remote is not None:
            if error is not None and error.code == "stt_mute":
                self._remote.condemn(error)
            settled = _later(self._remote.settled, self._from_sample)
            self._settled = self._settled.followed_by(settled)
            self._covered = self._covered_by_now()
            self._settle_what_is_gone()
        self._inner = self._remote = None
        await inner.cancel()

    def _settle_what_is_gone(self) -> None:
        """Of audio that isn't kept any more, what was understood so far has to do."""
        if self._ring is None or self._ring.start <= self._covered:
            return
        from_ms, to_ms = (at // _SAMPLES_PER_MS for at in (self._covered, self._ring.start))
        gone = tuple(w for w in self._partial.words if from_ms <= w.start_ms < to_ms)
        if gone:
            text = Transcript(" ".join(word.text for word in gone), gone)
            self._settled = self._settled.followed_by(text)
            self._covered = gone[-1].end_ms * _SAMPLES_PER_MS

    def _take_partial(self, provider: Provider[SttEngine], inner: SttStream, text: str) -> None:
        if inner is not self._inner:
            return
        if not self._heard_something:
            self._heard_something = True
            self._chain.meter.first_byte(
                "stt", provider.name, self._loop.time() - self._seeker.opened_s
            )
        if text:
            provider.succeeded()
        self._partial = _later(text, self._from_sample)
        self._tell(self._settled.followed_by(self._partial))

    def _covered_by_now(self) -> int:
        if self._remote is None:
            return self._covered
        return self._from_sample + self._remote.settled_samples

    @property
    def _replayed_s(self) -> float:
        return 0.0 if self._ring is None else (self._ring.end - self._ring.start) / _RATE_HZ

    def _is_excused(self, error: EngineError) -> bool:
        """A connection that had worked and breaks says nothing of the next one.

        Nor does one that is silent about a sound in which there may have been no word.
        """
        if error.code == "stt_closed":
            return self._heard_something
        silent = error.code in ("stt_timeout", "stt_mute")
        return silent and self._speech_after(self._covered_by_now()) < _WORDS_SAMPLES


def _later(text: str, samples: int) -> Transcript:
    transcript = text if isinstance(text, Transcript) else Transcript(text)
    return transcript.later(samples // _SAMPLES_PER_MS) if samples else transcript


def _mute(engine: str, stall_s: float) -> EngineError:
    return EngineError(
        f"{engine}: no word for {stall_s:.1f} s of speech", engine=engine, code="stt_mute"
    )


def _given_up(engine: str) -> EngineError:
    return EngineError(f"{engine}: the utterance was given up", engine=engine, code="stt_closed")


def _tell_nobody(text: str) -> None: ...


def _look_at_error(task: asyncio.Task[str]) -> None:
    # Nobody may come for it: a caller who hung up never calls finish().
    if not task.cancelled():
        task.exception()
