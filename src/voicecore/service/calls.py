"""All calls of a process: opens, finds, bounds and ends them."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Sequence

from voicecore.core.overload import OverloadLevel
from voicecore.core.turns import farewell
from voicecore.core.units import NS_PER_S
from voicecore.errors import CapacityError, PeerError
from voicecore.service.call import Call, CallContext
from voicecore.service.call_scope import within
from voicecore.service.config import Settings
from voicecore.service.directory import Alone, Directory
from voicecore.service.engine_factory import Engines
from voicecore.service.kept_speech import KeptSpeech
from voicecore.service.logs import tell
from voicecore.service.manager import Opened
from voicecore.service.media import Media, play_rates
from voicecore.service.metrics import Metrics
from voicecore.service.overload import OverloadMonitor
from voicecore.service.recording import Recordings
from voicecore.service.session_ids import SessionIds
from voicecore.service.tracing import make_tracer
from voicecore.transport.server_notes import TurnState

_LOG = logging.getLogger(__name__)

_RETRY_AFTER_S = 5
_RECORD_PERIOD_S = 10.0

GOODBYES_S = 10.0
"""For the last words to calls that a drain leaves; each ends by itself a little earlier
(``core/turns/farewell.py``)."""


class Calls:
    """The :class:`~voicecore.service.manager.CallManager` of the service.

    Belongs to the event loop it is made on. Every call has an owner here: it
    is closed and awaited, whatever ended it. ``cpus`` are the processors that are this
    process's; None: all that it may use.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Engines,
        metrics: Metrics,
        overload: OverloadMonitor | None = None,
        directory: Directory | None = None,
        session_ids: SessionIds | None = None,
        cpus: float | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.draining = False
        self._settings = settings
        self._engines = engines
        self._metrics = metrics
        self._loop = loop
        self._directory = directory or Alone()
        self._session_ids = session_ids or SessionIds(settings.instance)
        self._reserving = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._tracer = make_tracer(settings)
        metrics.watch_tasks(loop)
        self._calls: dict[str, Call] = {}
        self._tokens: dict[str, str] = {}
        self._timers: dict[str, list[asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._context: CallContext | None = None
        self._media: Media | None = None
        self._media_timer: asyncio.TimerHandle | None = None
        self._recordings: Recordings | None = None
        self._overload = overload or OverloadMonitor(
            metrics, active=lambda: self.active, enabled=settings.overload == "auto", cpus=cpus
        )

    @property
    def active(self) -> int:
        """Calls that hold a place now."""
        return len(self._calls)

    @property
    def limit(self) -> int:
        """The most calls at once."""
        return self._settings.call_limit

    @property
    def overload_level(self) -> OverloadLevel:
        """See :class:`CallManager`."""
        return self._overload.level

    def turn(self) -> Sequence[TurnState]:
        """See :class:`CallManager`."""
        return [] if self._media is None else self._media.turn()

    async def start(self) -> None:
        """Open the sockets, synthesise what is kept. Runs once, after the engines have started."""
        settings = self._settings
        tts = self._engines.tts
        turns = settings.turn_settings(
            greeting=self._engines.greeting,
            speculative=self._engines.speculative,
            trust_words=self._engines.trust_words,
        )
        # First, since it is what may fail and be tried again.
        texts = filter(None, (turns.apology.strip(), settings.drain_goodbye.strip()))
        kept = await KeptSpeech.synthesise(tts, texts, play_rates(tts.rate_hz))
        self._check_goodbye(kept)
        if settings.record_dir is not None:
            recordings = Recordings(settings.record_dir, settings.record_consent)
            self._recordings = recordings
            self._metrics.watch_recordings(lambda: recordings.counts)
        media = self._media = Media(
            settings, self._engines, self._metrics.no_relay, self._metrics.ice_restart
        )
        self._context = CallContext(
            engines=self._engines,
            metrics=self._metrics,
            turns=turns,
            stt_chunk_ms=settings.stt_chunk_ms,
            kept=kept,
            peers=media.peer_config,
            make_plane=media.make_plane,
            recordings=self._recordings,
            stt_bridge=settings.stt_bridge,
            tracer=self._tracer,
        )
        self._metrics.watch_media(media.counters)
        self._overload.media = media.load
        self._overload.on_level = media.set_level
        self._record_media()
        self._overload.start()

    async def open(self) -> Opened:
        """See :class:`CallManager`."""
        call = await self._admit("server_offers")
        sdp = await self._described(call, call.peer.offer(), "offer_failed")
        return Opened(call.session_id, self._tokens[call.session_id], sdp, "offer")

    async def answer(self, session_id: str, sdp: str) -> None:
        """See :class:`CallManager`."""
        call = self._find(session_id)
        with within(call.scope):
            await call.peer.answer(sdp)

    async def accept(self, offer_sdp: str) -> Opened:
        """See :class:`CallManager`."""
        call = await self._admit("client_offers")
        sdp = await self._described(call, call.peer.accept(offer_sdp), "offer_refused")
        return Opened(call.session_id, self._tokens[call.session_id], sdp, "answer")

    async def restart(self, session_id: str, offer_sdp: str) -> str:
        """See :class:`CallManager`."""
        call = self._find(session_id)
        with within(call.scope):
            return await call.restart(offer_sdp)

    async def add_candidate(
        self, session_id: str, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None
    ) -> None:
        """See :class:`CallManager`."""
        call = self._find(session_id)
        with within(call.scope):
            await call.peer.add_candidate(candidate, sdp_mid, sdp_mline_index)

    def authorize(self, session_id: str, token: str) -> None:
        """See :class:`CallManager`."""
        self._find(session_id)
        # A header's bytes that are no UTF-8 come as lone surrogates.
        shown = token.encode(errors="surrogatepass")
        if not hmac.compare_digest(self._tokens[session_id].encode(), shown):
            raise PeerError("The token is not this session's", code="wrong_token", status=403)

    def describe_all(self) -> list[dict[str, object]]:
        """See :class:`CallManager`."""
        return [call.describe() for call in self._calls.values()]

    def describe(self, session_id: str) -> dict[str, object]:
        """See :class:`CallManager`."""
        return self._find(session_id).describe()

    async def hang_up(self, session_id: str) -> None:
        """See :class:`CallManager`."""
        self._find(session_id).hang_up("hung_up")

    async def drain(self, timeout_s: float) -> None:
        """See :class:`CallManager`."""
        self.draining = True
        self._directory.drain()
        if await self._over_within(timeout_s):
            return
        for call in list(self._calls.values()):
            call.part(self._settings.drain_goodbye.strip())
        await self._over_within(GOODBYES_S)

    async def close(self) -> None:
        """See :class:`CallManager`."""
        self.draining = True
        if self._media_timer is not None:
            self._media_timer.cancel()
        for call in list(self._calls.values()):
            call.hang_up("server_stopped")
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        await self._tracer.close()
        await self._overload.close()
        if self._media is not None:
            await self._media.close()
        if self._recordings is not None:
            await asyncio.to_thread(self._recordings.close)

    # -- private --------------------------------------------------------------------

    async def _admit(self, flow: str) -> Call:
        session_id = self._session_ids.new()
        try:
            context = self._check_admission()
            # Counted while the directory is asked: another request mustn't get the same place.
            self._reserving += 1
            try:
                await self._directory.reserve(session_id)
            finally:
                self._reserving -= 1
            if self.draining:
                self._directory.release(session_id)
                raise _stopping()
        except CapacityError as error:
            self._metrics.call_refused(error.code)
            raise
        try:
            call = Call(session_id, context, self._on_over)
            with within(call.scope):
                tell(_LOG, "call opened", flow=flow, active=self.active + 1, limit=self.limit)
        except BaseException:
            self._directory.release(session_id)
            raise
        self._calls[session_id] = call
        self._nobody.clear()
        self._tokens[session_id] = secrets.token_urlsafe(24)
        later = self._loop.call_later
        self._timers[session_id] = [
            later(self._settings.answer_timeout_s, self._on_setup_timeout, call),
            later(self._settings.max_call_s, call.hang_up, "too_long"),
        ]
        self._metrics.call_opened(flow)
        return call

    async def _described(self, call: Call, work: Awaitable[str], reason: str) -> str:
        """Our first description; if there is none the call ends for ``reason``.

        CapacityError if it was ended meanwhile: what aiortc says of that is of no use.
        """
        try:
            with within(call.scope):
                sdp = await work
        except BaseException as error:
            if call.end_reason and isinstance(error, Exception):
                raise self._ended_early() from error
            self._abandon(call, error, reason)
            raise
        if call.end_reason:
            raise self._ended_early()
        return sdp

    def _ended_early(self) -> CapacityError:
        if self.draining:
            return _stopping()
        return CapacityError(
            "The call was ended while it was being opened; try again",
            retry_after_s=_RETRY_AFTER_S,
            code="not_ready",
        )

    def _check_admission(self) -> CallContext:
        if self.draining:
            raise _stopping()
        if self._context is None:
            raise _not_now()
        if self.active + self._reserving >= self.limit:
            raise CapacityError(
                f"All {self.limit} places are taken; try again soon",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._overload.check()
        return self._context

    def _check_goodbye(self, kept: KeptSpeech) -> None:
        lasts_s = kept.seconds(self._settings.drain_goodbye.strip())
        if lasts_s > farewell.SAFE_S:
            _LOG.warning(
                "drain_goodbye lasts %.1f s; whoever has to be waited for may hear no more than"
                " its first %.1f s",
                lasts_s,
                farewell.SAFE_S,
            )

    async def _over_within(self, timeout_s: float) -> bool:
        """Whether the last call ends in that time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._nobody.wait()
        except TimeoutError:
            return False
        return True

    def _abandon(self, call: Call, error: BaseException, reason: str) -> None:
        if isinstance(error, CapacityError):  # no relay, where nothing else will do
            self._metrics.call_refused(error.code)
            reason = "no_relay"
        call.hang_up(reason)

    def _record_media(self) -> None:
        for call in self._calls.values():
            call.record_media()
        self._media_timer = self._loop.call_later(_RECORD_PERIOD_S, self._record_media)

    def _on_setup_timeout(self, call: Call) -> None:
        if call.connected_ns is None:
            call.hang_up("not_connected_in_time")

    def _find(self, session_id: str) -> Call:
        call = self._calls.get(session_id)
        if call is None:
            raise PeerError("There is no such session", code="unknown_session", status=404)
        return call

    def _on_over(self, call: Call) -> None:
        self._calls.pop(call.session_id, None)
        if not self._calls:
            self._nobody.set()
        self._tokens.pop(call.session_id, None)
        for timer in self._timers.pop(call.session_id, []):
            timer.cancel()
        self._directory.release(call.session_id)
        self._metrics.call_ended(call.end_reason, call.age_ns / NS_PER_S)
        task = self._loop.create_task(call.close(), name=f"close-{call.session_id}")
        self._closing.add(task)
        task.add_done_callback(self._on_closed)

    def _on_closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("closing a call failed", exc_info=error)


def _not_now() -> CapacityError:
    return CapacityError(
        "The server takes no calls now", retry_after_s=_RETRY_AFTER_S, code="not_ready"
    )


def _stopping() -> CapacityError:
    return CapacityError(
        "The server is about to stop and takes no more calls; try again soon",
        retry_after_s=_RETRY_AFTER_S,
        code="draining",
    )


def build_manager(
    settings: Settings, engines: Engines, metrics: Metrics, directory: Directory | None = None
) -> Calls:
    """The manager of a process, for ``service.__main__``. Needs a running loop."""
    return Calls(settings, engines, metrics, directory=directory)
