"""All calls of a process: opens, finds, bounds and ends them."""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
import random
import secrets
import time
from collections.abc import Callable
from typing import Any

from aiortc import RTCIceServer

from voicecore._native.inbound import Inbound
from voicecore._native.outbound import Outbound
from voicecore._native.speech_gate import SpeechGate
from voicecore.core.overload import OverloadLevel
from voicecore.core.session import TurnSettings
from voicecore.core.units import NS_PER_S
from voicecore.engines.vad.batch import VadBatcher
from voicecore.errors import CapacityError, PeerError
from voicecore.service.apology import Apology
from voicecore.service.call import Call, CallContext
from voicecore.service.config import Settings
from voicecore.service.engine_factory import Engines
from voicecore.service.ice import ice_servers
from voicecore.service.manager import Opened
from voicecore.service.metrics import Metrics
from voicecore.service.overload import OverloadMonitor
from voicecore.transport.peer import AudioLink, PeerConfig
from voicecore.transport.rtcp import Reporter
from voicecore.transport.rtp_plane import RtpPlane
from voicecore.transport.tick import TickClock

_LOG = logging.getLogger(__name__)

_OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
_OPUS_FALLBACK_HZ = 24000
_G711_HZ = 8000
_RTP_CLOCK_HZ = {"opus": 48000, "pcmu": 8000, "pcma": 8000}
_RETRY_AFTER_S = 5
_RECORD_PERIOD_S = 5.0

_MANY_CALLS = 5
_GATHER_S = 0.008
"""With many calls a VAD frame waits for others: a shared batch costs less than half."""


class Calls:
    """The :class:`~voicecore.service.manager.CallManager` of the service.

    Belongs to the event loop it is made on. Every call has an owner here: it
    is closed and awaited, whatever ended it.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Engines,
        metrics: Metrics,
        overload: OverloadMonitor | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.draining = False
        self._settings = settings
        self._engines = engines
        self._metrics = metrics
        self._loop = loop
        metrics.watch_tasks(loop)
        self._clock = TickClock(loop)
        self._scorer = VadBatcher(engines.vad, loop.call_soon, gather=self._gather)
        self._calls: dict[str, Call] = {}
        self._tokens: dict[str, str] = {}
        self._timers: dict[str, list[asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._context: CallContext | None = None
        self._next_port = _port_source(settings.udp_port_min, settings.udp_port_max)
        self._recorder: asyncio.TimerHandle | None = None
        self._overload = overload or OverloadMonitor(
            metrics, active=lambda: self.active, enabled=settings.overload == "auto"
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

    async def start(self) -> None:
        """Synthesise the apology. Runs once, after the engines have started."""
        settings = self._settings
        tts = self._engines.tts
        play_rates = {_play_rate(codec, tts.rate_hz) for codec in _RTP_CLOCK_HZ}
        turns = TurnSettings(
            silence_ms=settings.silence_ms,
            preroll_ms=settings.preroll_ms,
            greeting=self._engines.greeting,
        )
        self._context = CallContext(
            engines=self._engines,
            metrics=self._metrics,
            turns=turns,
            stt_chunk_ms=settings.stt_chunk_ms,
            apology=await Apology.synthesise(tts, turns.apology, play_rates),
            peers=self._peer_config,
            make_plane=self._make_plane,
        )
        self._record_media()
        self._overload.start()

    async def open(self) -> Opened:
        """See :class:`CallManager`."""
        call = self._admit("server_offers")
        try:
            sdp = await call.peer.offer()
        except BaseException:
            call.hang_up("offer_failed")
            raise
        return Opened(call.session_id, self._tokens[call.session_id], sdp, "offer")

    async def answer(self, session_id: str, sdp: str) -> None:
        """See :class:`CallManager`."""
        await self._find(session_id).peer.answer(sdp)

    async def accept(self, offer_sdp: str) -> Opened:
        """See :class:`CallManager`."""
        call = self._admit("client_offers")
        try:
            sdp = await call.peer.accept(offer_sdp)
        except BaseException:
            call.hang_up("offer_refused")
            raise
        return Opened(call.session_id, self._tokens[call.session_id], sdp, "answer")

    async def add_candidate(
        self, session_id: str, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None
    ) -> None:
        """See :class:`CallManager`."""
        await self._find(session_id).peer.add_candidate(candidate, sdp_mid, sdp_mline_index)

    def authorize(self, session_id: str, token: str) -> None:
        """See :class:`CallManager`."""
        self._find(session_id)
        if not hmac.compare_digest(self._tokens[session_id].encode(), token.encode()):
            raise PeerError("The token is not this session's", code="wrong_token", status=403)

    def describe(self, session_id: str) -> dict[str, object]:
        """See :class:`CallManager`."""
        return self._find(session_id).describe()

    async def hang_up(self, session_id: str) -> None:
        """See :class:`CallManager`."""
        self._find(session_id).hang_up("hung_up")

    async def close(self) -> None:
        """See :class:`CallManager`."""
        self.draining = True
        if self._recorder is not None:
            self._recorder.cancel()
        for call in list(self._calls.values()):
            call.hang_up("server_stopped")
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        self._scorer.close()
        await self._overload.close()

    # -- private --------------------------------------------------------------------

    def _admit(self, flow: str) -> Call:
        try:
            context = self._check_admission()
        except CapacityError as error:
            self._metrics.call_refused(error.code)
            raise
        session_id = secrets.token_hex(8)
        call = Call(session_id, context, self._on_over)
        self._calls[session_id] = call
        self._tokens[session_id] = secrets.token_urlsafe(24)
        later = self._loop.call_later
        self._timers[session_id] = [
            later(self._settings.answer_timeout_s, self._on_setup_timeout, call),
            later(self._settings.max_call_s, call.hang_up, "too_long"),
        ]
        self._metrics.call_opened(flow)
        return call

    def _check_admission(self) -> CallContext:
        if self._context is None or self.draining:
            raise CapacityError(
                "The server takes no calls now", retry_after_s=_RETRY_AFTER_S, code="not_ready"
            )
        if self.active >= self.limit:
            raise CapacityError(
                f"All {self.limit} places are taken; try again soon",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._overload.check()
        return self._context

    def _peer_config(self) -> PeerConfig:
        settings = self._settings
        # Our own way to the relay; credentials are made anew, since they expire.
        known: list[dict[str, Any]] = ice_servers(settings, "server", time.time())
        servers = tuple(RTCIceServer(**server) for server in known)
        return PeerConfig(servers, settings.udp_port_min, settings.udp_port_max, self._next_port)

    def _gather(self, score: Callable[[], None]) -> None:
        if self.active < _MANY_CALLS:
            self._loop.call_soon(score)
        else:
            self._loop.call_later(_GATHER_S, score)

    def _record_media(self) -> None:
        for call in self._calls.values():
            call.record_media()
        self._recorder = self._loop.call_later(_RECORD_PERIOD_S, self._record_media)

    def _on_setup_timeout(self, call: Call) -> None:
        if call.connected_ns is None:
            self._metrics.ice_result("timeout", "none", "none")
            call.hang_up("not_connected_in_time")

    def _find(self, session_id: str) -> Call:
        call = self._calls.get(session_id)
        if call is None:
            raise PeerError("There is no such session", code="unknown_session", status=404)
        return call

    def _on_over(self, call: Call) -> None:
        self._calls.pop(call.session_id, None)
        self._tokens.pop(call.session_id, None)
        for timer in self._timers.pop(call.session_id, []):
            timer.cancel()
        self._metrics.call_ended(call.end_reason, call.age_ns / NS_PER_S)
        task = self._loop.create_task(call.close(), name=f"close-{call.session_id}")
        self._closing.add(task)
        task.add_done_callback(self._on_closed)

    def _on_closed(self, task: asyncio.Task[None]) -> None:
        self._closing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("closing a call failed", exc_info=error)

    def _make_plane(self, link: AudioLink) -> RtpPlane:
        form, settings = link.format, self._settings
        clock_hz = _RTP_CLOCK_HZ[form.codec]
        outbound = Outbound(
            codec=form.codec,
            payload_type=form.payload_type,
            ssrc=link.ssrc,
            sequence=random.getrandbits(16),
            timestamp=random.getrandbits(32),
            rate_hz=_play_rate(form.codec, self._engines.tts.rate_hz),
            bitrate_bps=settings.opus_bitrate_bps,
            complexity=settings.opus_complexity if not self.overload_level else 0,
        )
        inbound = Inbound(opus_pt=form.opus_pt, pcmu_pt=form.pcmu_pt, pcma_pt=form.pcma_pt)
        tap = link.tap
        return RtpPlane(
            inbound,
            outbound,
            clock=self._clock,
            send=tap.send,
            rejected=lambda: tap.rejected,
            reports=Reporter(
                link.ssrc, secrets.token_hex(8), clock_hz, lambda p: tap.send(p, rtcp=True)
            ),
            gate=SpeechGate(threshold=settings.threshold, start_ms=settings.start_ms),
            scorer=self._scorer,
            vad_stream=self._engines.vad.stream(),
        )


def build_manager(settings: Settings, engines: Engines, metrics: Metrics) -> Calls:
    """The manager of a process, for ``service.__main__``. Needs a running loop."""
    return Calls(settings, engines, metrics)


def _play_rate(codec: str, tts_hz: int) -> int:
    """The encoder works at the synthesiser's own rate where the codec has it."""
    if codec != "opus":
        return _G711_HZ
    return tts_hz if tts_hz in _OPUS_RATES_HZ else _OPUS_FALLBACK_HZ


def _port_source(low: int, high: int) -> Callable[[], int]:
    """Ports in turn, so that a port just freed rests before it is used again."""
    if not low:
        return lambda: 0
    ports = itertools.cycle(range(low, high + 1))
    return lambda: next(ports)
