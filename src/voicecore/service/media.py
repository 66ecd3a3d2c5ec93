"""The audio of all calls of a process: media threads, sockets, and a plane for each call."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiortc import RTCIceServer

from voicecore._native import echo_canceller
from voicecore._native.plane import MediaThreads
from voicecore._native.silero import SileroWeights
from voicecore._native.speech_gate import SpeechGate
from voicecore.core.overload import OverloadLevel
from voicecore.core.send_policy import SendLimits
from voicecore.engines.vad.batch import VadBatcher
from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.engine_factory import Engines
from voicecore.service.ice import ice_servers
from voicecore.service.lateness import Lateness
from voicecore.service.overload import MediaLoad
from voicecore.transport import ice_servers as ice_server_urls
from voicecore.transport.hub import MediaHub, is_ipv6
from voicecore.transport.ice_servers import TurnServer
from voicecore.transport.media_setup import (
    CODECS,
    MediaWants,
    open_session,
    play_rate_hz,
    send_limits,
)
from voicecore.transport.native_plane import NativePlane
from voicecore.transport.peer import AudioLink
from voicecore.transport.peer_config import PeerConfig
from voicecore.transport.reflexive import Reflexive
from voicecore.transport.scored_vad import ScoredHearing
from voicecore.transport.sdp_audio import AudioWants
from voicecore.transport.send_control import SendControl
from voicecore.transport.server_notes import ServerFault, ServerNotes, TurnState
from voicecore.transport.turn_watch import TurnWatch

_OPUS_RATES_HZ = (8000, 12000, 16000, 24000, 48000)
_OPUS_FALLBACK_HZ = 24000
_PLAYOUT_MS = 1500
"""A synthesiser runs ahead of the voice by this; 72 KB at 24 kHz."""

_RING_MS = 2048
"""Of the caller's audio, 64 KB: what a recogniser needs from before it is ready is read out."""

_JUDGED_RING_MS = 8192 + _RING_MS
"""Of it, where a turn-detection model hears the last eight seconds of a turn."""

_MANY_CALLS = 5
_GATHER_S = 0.008
"""With many calls a VAD frame waits for others: a shared batch costs less than half."""


def play_rates(tts_hz: int) -> set[int]:
    """Every rate at which a call may take the synthesiser's audio."""
    return {play_rate_hz(codec, _opus_rate_hz(tts_hz)) for codec in CODECS}


class Media:
    """Belongs to the event loop; made when the engines have started, closed after the calls.

    ``on_no_relay`` is told of each call that came while no TURN server gave relays, and why;
    ``on_restart`` how each ICE restart went. Raises :class:`ConfigError` for an echo canceller
    without a native VAD, :class:`~voicecore.errors.MissingLibraryError` without its library.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Engines,
        on_no_relay: Callable[[ServerFault], None] = lambda fault: None,
        on_restart: Callable[[str], None] = lambda result: None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._settings = settings
        self._engines = engines
        self._on_no_relay = on_no_relay
        self._on_restart = on_restart
        self._loop = loop
        weights: SileroWeights | None = getattr(engines.vad, "native_weights", None)
        if settings.echo_canceller != "off":
            _check_canceller(settings, native_vad=weights is not None)
        self._threads = MediaThreads(
            rx_threads=settings.media_rx_threads,
            tx_threads=settings.media_tx_threads,
            vad=weights,
        )
        self._hub = MediaHub(self._threads, udp_port=settings.udp_port)
        stun, _ = ice_server_urls.read(settings.ice_servers)
        self._reflexive = Reflexive(self._hub, stun)
        self._notes = ServerNotes()
        self._turn_ca = str(settings.turn_ca) if settings.turn_ca else None
        self._turn_watch = TurnWatch(self._turn_servers, self._notes, ca_file=self._turn_ca)
        self._next_port = _port_source(settings.udp_port_min, settings.udp_port_max)
        self._scorer = VadBatcher(engines.vad, loop.call_soon, gather=self._gather)
        self._native_vad = weights is not None
        self._level = OverloadLevel.NORMAL
        self._tx_late, self._rx_late = Lateness(), Lateness()
        self._dropped = 0
        self._counters: dict[str, Any] = self._threads.counters()
        if not settings.udp_port_min:
            self._open_ports()
            if all(is_ipv6(address) for address in settings.public_ip):
                self._reflexive.start()
        self._turn_watch.start()

    @property
    def hub(self) -> MediaHub:
        """The owner of the sockets."""
        return self._hub

    def peer_config(self) -> PeerConfig:
        """How the next call is reached."""
        settings = self._settings
        policy = settings.ice_transport_policy
        relayed = policy == "relay_both"
        stun = [RTCIceServer(server.urls) for server in settings.ice_servers]
        return PeerConfig(
            self._hub,
            ice_servers=tuple(self._minted() if relayed else stun),
            port_min=settings.udp_port_min,
            port_max=settings.udp_port_max,
            next_port=self._next_port,
            reflexive=self._reflexive,
            public_addresses=tuple(settings.public_ip),
            hide_private=settings.public_ip_only,
            wants=AudioWants(
                red_first=settings.ask_for_red,
                dtx=settings.ask_for_dtx,
                wideband=settings.ask_for_wideband,
            ),
            turn_watch=None if relayed else self._turn_watch,
            on_no_relay=self._relay_not_given if relayed else self._on_no_relay,
            on_restart=self._on_restart,
            relay_required=policy != "all",
            relay_only=relayed,
            turn_ca=self._turn_ca,
            notes=self._notes,
        )

    def make_plane(self, link: AudioLink) -> NativePlane:
        """The audio of a call whose DTLS is connected."""
        wants = self._wants()
        session = open_session(
            self._threads, link.path.peer, link.format, link.keys, ssrc=link.ssrc, wants=wants
        )
        control = SendControl(
            session,
            session.outbound,
            send_limits(link.format, wants.limits),
            overload=lambda: self._level,
            now=time.monotonic_ns,
        )
        return NativePlane(
            session,
            link.path,
            adapt=control.look if self._settings.adaptive else None,
            hearing=None if self._native_vad else self._hearing,
        )

    def load(self) -> MediaLoad:
        """How the threads kept up since this was last asked."""
        counters = self._counters = self._threads.counters()
        dropped = counters["kernel_drops"] + counters["datagrams_lost"] + counters["events_lost"]
        since_dropped, self._dropped = dropped - self._dropped, dropped
        return MediaLoad(
            tx_late_p99_ms=self._tx_late.p99_ms(counters["tx_late_ms"]),
            tx_late_max_ms=counters["tx_late_max_ms"],
            rx_late_p99_ms=self._rx_late.p99_ms(counters["rx_late_ms"]),
            rx_dropped=since_dropped,
        )

    def turn(self) -> Sequence[TurnState]:
        """How each TURN server is, in the order they are tried."""
        return self._turn_watch.states()

    def counters(self) -> dict[str, Any]:
        """Counters of the threads, at most a second old, for ``/metrics``."""
        return self._counters

    def set_level(self, level: OverloadLevel) -> None:
        """Give up what ``level`` says."""
        self._level = level
        self._threads.set_sparing(level >= OverloadLevel.SPARING)

    async def close(self) -> None:
        """Stop the threads and close the sockets; every call is over."""
        self._scorer.close()
        await self._turn_watch.close()
        await self._reflexive.close()
        self._hub.close()

    # -- private --------------------------------------------------------------------

    def _minted(self) -> list[RTCIceServer]:
        """The servers for ourselves: with credentials made anew, since they expire.

        For a user of its own each time: coturn counts allocations by the user (user-quota).
        """
        user = f"server-{secrets.token_hex(4)}"
        return [RTCIceServer(**each) for each in ice_servers(self._settings, user, time.time())]

    def _turn_servers(self) -> Sequence[TurnServer]:
        return ice_server_urls.read(self._minted())[1]

    def _relay_not_given(self, fault: ServerFault) -> None:
        self._turn_watch.doubt()
        self._on_no_relay(fault)

    def _wants(self) -> MediaWants:
        settings = self._settings
        return MediaWants(
            send_rate_hz=_opus_rate_hz(self._engines.tts.rate_hz),
            playout_ms=_PLAYOUT_MS,
            ring_ms=_RING_MS if self._engines.turn is None else _JUDGED_RING_MS,
            limits=SendLimits(
                bitrate_bps=settings.opus_bitrate_bps,
                min_bitrate_bps=settings.opus_min_bitrate_bps,
                max_bitrate_bps=settings.opus_max_bitrate_bps,
                complexity=settings.opus_complexity,
            ),
            vad=self._native_vad,
            threshold=settings.threshold,
            start_ms=settings.start_ms,
            echo_guard=settings.echo_guard,
            echo_canceller=settings.echo_canceller != "off",
        )

    def _hearing(self, plane: NativePlane) -> ScoredHearing:
        settings = self._settings
        gate = SpeechGate(threshold=settings.threshold, start_ms=settings.start_ms)
        stream = self._engines.vad.stream()
        return ScoredHearing(plane, self._scorer, stream, gate)

    def _gather(self, score: Callable[[], None]) -> None:
        if self._hub.peers < _MANY_CALLS:
            self._loop.call_soon(score)
        else:
            self._loop.call_later(_GATHER_S, score)

    def _open_ports(self) -> None:
        try:
            self._hub.ports()
        except OSError as error:
            self._hub.close()
            number = self._settings.udp_port
            raise ConfigError(
                [f"can't open UDP port {number}: {error.strerror}; choose another with --udp-port"]
            ) from error


def _check_canceller(settings: Settings, *, native_vad: bool) -> None:
    if not native_vad:
        raise ConfigError(
            [
                f"echo_canceller = {settings.echo_canceller} goes by the delay that the echo guard"
                " finds, and that needs vad = silero on our own kernels"
            ]
        )
    echo_canceller.library()


def _opus_rate_hz(tts_hz: int) -> int:
    """The encoder works at the synthesiser's own rate where Opus has it."""
    return tts_hz if tts_hz in _OPUS_RATES_HZ else _OPUS_FALLBACK_HZ


def _port_source(low: int, high: int) -> Callable[[], int]:
    """Ports in turn, so that a port just freed rests before it is used again."""
    if not low:
        return lambda: 0
    ports = itertools.cycle(range(low, high + 1))
    return lambda: next(ports)
