"""One WebRTC peer: session descriptions, candidates, a data channel, an audio link.

Public aiortc only; what we need of its insides is in ``aiortc_seam``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCDataChannel,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp

from voicecore.errors import CapacityError, PeerError
from voicecore.transport import aiortc_seam as seam
from voicecore.transport import sdp as sdp_tools
from voicecore.transport.aioice_seam import IceCandidate
from voicecore.transport.ice_restart import IceRestarts
from voicecore.transport.media_path import MediaPath
from voicecore.transport.peer_config import PeerConfig, path_config
from voicecore.transport.remains import Remains, untie_receiving
from voicecore.transport.restart_sdp import Negotiated, read_offer, write_answer
from voicecore.transport.sctp_seam import DataSender
from voicecore.transport.sdp_audio import (
    AudioFormat,
    AudioSection,
    complete_answer,
    complete_offer,
    negotiated,
    read_audio,
)
from voicecore.transport.server_notes import ServerFault
from voicecore.transport.srtp_keys import SrtpKeys

_LOG = logging.getLogger(__name__)

CHANNEL_LABEL = "voicecore"
_MAX_MESSAGE_CHARS = 4096
_MAX_BUFFERED_BYTES = 64 * 1024
_MAX_CANDIDATES = 64
_RELAY_RETRY_AFTER_S = 15
"""A TURN server that was restarted is back by then; what is configured wrongly isn't."""


@dataclass(frozen=True, slots=True)
class AudioLink:
    """A connected audio path: what was negotiated, SRTP's keys, and the way of the packets."""

    format: AudioFormat
    ssrc: int
    keys: SrtpKeys
    path: MediaPath

    def selected_types(self) -> tuple[str, str]:
        """Types of the pair in use (``host``, ``srflx``, ``prflx``, ``relay``, ``none``)."""
        pair = self.path.pair
        return ("none", "none") if pair is None else (pair.local_type, pair.remote_type)


class PeerEvents(Protocol):
    """Who hears of a peer. All calls come on the event loop."""

    def on_audio_link(self, link: AudioLink) -> None:
        """DTLS is connected, audio may flow both ways."""

    def on_message(self, text: str) -> None:
        """The client sent a text on the data channel."""

    def on_channel_open(self) -> None:
        """Texts can be sent."""

    def on_peer_lost(self, reason: str) -> None:
        """The connection failed or was closed by the far end."""


class _Nobody:
    """Hears of a peer that is closed: its call is free to go."""

    def on_audio_link(self, link: AudioLink) -> None:
        """Too late."""

    def on_message(self, text: str) -> None:
        """Too late."""

    def on_channel_open(self) -> None:
        """Too late."""

    def on_peer_lost(self, reason: str) -> None:
        """It is known."""


class Peer:
    """One connection. Use exactly one of :meth:`offer` and :meth:`accept`, once."""

    def __init__(self, config: PeerConfig, events: PeerEvents) -> None:
        self._events: PeerEvents = events
        # An empty list, not None: aiortc's default is a public STUN server. The
        # servers are asked by the path, each in turn; aiortc takes the first alone.
        self._pc = seam.new_connection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._transceiver = self._pc.addTransceiver("audio", direction="sendrecv")
        self._transceiver.setCodecPreferences(_our_codecs())
        self._sender = seam.take_over_audio(self._transceiver, self._on_send, self._on_receive)
        self._connecting = seam.ConnectTasks(self._pc, self._on_connect_failed)
        self._config = config
        transport = self._transceiver.receiver.transport
        self._path = MediaPath(config.hub, seam.ice_of(transport), path_config(config))
        self._restarts = IceRestarts(self._path, config.on_restart)
        self._answers = 0  # to restarts
        seam.capture_keys(transport, self._on_keys)
        seam.forgive_late_data(transport)
        untie_receiving(transport)
        self._keys: SrtpKeys | None = None
        self._ours = AudioSection()
        self._theirs = AudioSection()
        self._our_sdp = self._their_sdp = ""
        self._bundle: frozenset[str] = frozenset()
        self._channel: RTCDataChannel | None = None
        self._data: DataSender | None = None
        self._candidates = 0
        self._described = False  # by the far end
        self._early: list[tuple[str, str | None, int | None]] = []
        self._link: AudioLink | None = None
        self._answered = False
        self._closing = False
        self.described_ns: int | None = None
        """When both sides had described themselves, on the configured clock; None: not yet."""
        self.ice_ns: int | None = None
        """When ICE had chosen its first pair; None: not yet."""
        self._state = ""  # of a connection that is no more
        self._pc.on("connectionstatechange", self._on_state)
        self._pc.on("iceconnectionstatechange", self._on_ice_state)
        self._pc.on("datachannel", self._take_channel)

    @property
    def state(self) -> str:
        """``new``, ``connecting``, ``connected``, ``failed`` or ``closed``."""
        return self._state or str(self._pc.connectionState)

    @property
    def link(self) -> AudioLink | None:
        """The audio link once it is there."""
        return self._link

    async def offer(self) -> str:
        """Our offer, with all our candidates in it.

        Raises CapacityError (``turn_refused``, ``turn_timeout``, ...) where a relay is
        required and no TURN server gives one.
        """
        self._take_channel(self._pc.createDataChannel(CHANNEL_LABEL))
        await self._pc.setLocalDescription(await self._pc.createOffer())
        _check_relay(self._config, self._path.no_relay)
        return self._describe(complete_offer(self._pc.localDescription.sdp, self._config.wants))

    async def answer(self, sdp: str) -> None:
        """Take the far end's answer to our offer, once.

        Raises PeerError: ``already_answered`` (409), or what is wrong with it;
        a refused answer may be followed by a better one.
        """
        if self._answered:
            raise PeerError("This session has its answer", code="already_answered", status=409)
        # Claimed before the first await: of two at once, one is taken.
        self._answered = True
        try:
            await self._set_remote(sdp, "answer")
        except PeerError:
            self._answered = False
            raise
        self.described_ns = self._config.now()

    async def accept(self, sdp: str) -> str:
        """Take the far end's offer; return our answer.

        Raises PeerError, and CapacityError as :meth:`offer`.
        """
        order = sdp_tools.audio_first(sdp)
        await self._set_remote(sdp_tools.in_order(sdp, order), "offer")
        seam.refuse_other_media(self._pc, self._transceiver)
        if sdp_tools.may_be_dtls_client(sdp):
            seam.be_dtls_server(self._transceiver.receiver.transport)
        with _as_peer_error("offer"):
            await self._pc.setLocalDescription(await self._pc.createAnswer())
        _check_relay(self._config, self._path.no_relay)
        self.described_ns = self._config.now()
        made = self._pc.localDescription.sdp
        answer = complete_answer(made, self._theirs, self._config.wants)
        return self._describe(sdp_tools.in_order(answer, order, back=True))

    async def restart(self, sdp: str, config: PeerConfig) -> str:
        """Take an offer that restarts ICE, as the caller's network changed; return our answer.

        ``config`` says how we are reached now. The call goes on by its old way until the
        new one has a pair, and stays there if there will be none. Raises PeerError, which
        changes nothing: ``not_connected`` or ``restart_under_way`` (409), or what an ICE
        restart can't be (``restart_sdp.read_offer``, ``no_ice_restart``); CapacityError
        as :meth:`offer`.
        """
        if self._link is None or self._closing:
            raise PeerError(
                "Only a connected session can restart ICE", code="not_connected", status=409
            )
        opened = seam.is_dtls_client(self._transceiver.receiver.transport)
        payload_type = self._link.format.payload_type
        agreed = Negotiated(self._our_sdp, self._their_sdp, payload_type, opened)
        with _as_peer_error("offer"):
            far = read_offer(sdp, agreed)
        way = await self._restarts.begin(
            far, path_config(config), lambda way: _check_relay(config, way.no_relay)
        )
        self._candidates = len(far.candidates)
        self._answers += 1
        connection = way.connection
        return write_answer(
            sdp,
            agreed,
            ufrag=connection.local_username,
            password=connection.local_password,
            candidates=connection.local_candidates,
            version=self._answers,
        )

    async def add_candidate(
        self, candidate: str, sdp_mid: str | None, sdp_mline_index: int | None
    ) -> None:
        """Take a trickled candidate. Those we can't reach are ignored; garbage raises.

        Those that overtake the description they belong to wait for it.
        A ``ufrag`` in it says which ICE restart it belongs to; without one, to the newest.
        """
        text = candidate.strip().removeprefix("a=").removeprefix("candidate:")
        if not text or self._closing:
            return
        self._candidates += 1
        if self._candidates > _MAX_CANDIDATES:
            raise PeerError("Too many candidates", code="too_many_candidates", status=422)
        try:
            parsed = candidate_from_sdp(text)
        except (ValueError, IndexError, AssertionError) as error:
            raise PeerError("The candidate can't be parsed", code="bad_candidate") from error
        if parsed.ip.lower().endswith(".local") or parsed.protocol.lower() != "udp":
            return
        if parsed.component != 1:  # RTCP's own, from who offers not to multiplex
            return
        if not self._described:
            self._early.append((candidate, sdp_mid, sdp_mline_index))
            return
        if self._restarts.any:
            known = IceCandidate.from_sdp(text)
            await self._restarts.add_candidate(known, sdp_tools.ufrag_of(text))
            return
        parsed.sdpMid = sdp_mid if sdp_mid is not None else self._transceiver.mid
        parsed.sdpMLineIndex = sdp_mline_index
        if {sdp_mid, self._transceiver.mid} <= self._bundle:
            # Named for another section of the one transport; the stack would pass it over.
            parsed.sdpMid, parsed.sdpMLineIndex = self._transceiver.mid, None
        with contextlib.suppress(ValueError):  # after end-of-candidates: too late to matter
            await self._pc.addIceCandidate(parsed)

    def send_texts(self, texts: Sequence[str]) -> bool:
        """Send on the data channel; False (dropped) when it isn't open or is congested."""
        channel, sender = self._channel, self._data
        if channel is None or sender is None or channel.readyState != "open":
            return False
        if channel.bufferedAmount > _MAX_BUFFERED_BYTES:
            return False
        sender.send(channel, texts)
        return True

    async def close(self) -> None:
        """Close sockets and free everything. No event comes afterwards."""
        self._closing = True
        if self._state:
            return
        self._pc.remove_all_listeners()
        await self._restarts.stop()
        await self._connecting.cancel()
        remains = Remains(self._pc)
        try:
            await self._pc.close()
        except Exception:  # a description that was refused half-way leaves it inconsistent
            _LOG.debug("closing a half-negotiated connection", exc_info=True)
            await seam.stop_ice(self._pc)
        finally:
            await self._restarts.close()
            self._path.close()
        self._state = "closed"
        self._channel = None
        if self._data is not None:
            self._data.close()
        self._events = _Nobody()
        await remains.dissolve()

    # -- private --------------------------------------------------------------

    def _describe(self, sdp: str) -> str:
        self._ours = read_audio(sdp)
        self._our_sdp = sdp
        return sdp

    async def _set_remote(self, sdp: str, kind: str) -> None:
        sdp_tools.require_audio(sdp)
        sdp_tools.require_names(sdp)
        sdp_tools.require_fingerprint(sdp)
        theirs = sdp_tools.for_stack(sdp)
        with _as_peer_error(kind):
            await self._pc.setRemoteDescription(RTCSessionDescription(sdp=theirs, type=kind))
        self._theirs = read_audio(sdp)
        self._their_sdp = sdp
        self._bundle = sdp_tools.bundled(sdp)
        self._described = True
        early, self._early = self._early, []
        self._candidates -= len(early)
        for candidate in early:
            await self.add_candidate(*candidate)

    def _on_keys(self, keys: SrtpKeys) -> None:
        self._keys = keys

    def _on_send(self, parameters: Any) -> None:
        # aiortc calls `receive` right after `send`, in one step, if the caller
        # sends at all: one turn of the loop later both are known.
        asyncio.get_running_loop().call_soon(self._connect_audio)

    def _on_receive(self, parameters: Any) -> None:
        asyncio.get_running_loop().call_soon(self._connect_audio)

    def _connect_audio(self) -> None:
        if self._link is not None or self._closing or self._keys is None:
            return
        wants = self._config.wants
        form = negotiated(self._ours, self._theirs, red_first=wants.red_first)
        if form is None:
            self._events.on_peer_lost("peer_failed")
            return
        self._link = AudioLink(form, self._sender.ssrc, self._keys, self._path)
        self._events.on_audio_link(self._link)

    def _on_connect_failed(self, error: Exception) -> None:
        _LOG.debug("connecting failed", exc_info=error)
        if not self._closing:
            self._events.on_peer_lost("peer_failed")

    def _on_state(self) -> None:
        if self.state in ("failed", "closed") and not self._closing:
            self._events.on_peer_lost(f"peer_{self.state}")

    def _on_ice_state(self) -> None:
        if self.ice_ns is None and self._pc.iceConnectionState == "completed":
            self.ice_ns = self._config.now()

    def _take_channel(self, channel: RTCDataChannel) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            return
        self._channel = channel
        if self._data is None:
            self._data = DataSender(channel.transport, self._path)
        channel.on("message", self._on_text)
        channel.on("open", self._events.on_channel_open)
        if channel.readyState == "open":
            self._events.on_channel_open()

    def _on_text(self, message: str | bytes) -> None:
        if isinstance(message, str) and len(message) <= _MAX_MESSAGE_CHARS:
            self._events.on_message(message)


def _check_relay(config: PeerConfig, fault: ServerFault | None) -> None:
    if config.relay_required and fault is not None:
        raise CapacityError(
            "Calls go through a TURN server here, and none gives a relay now:"
            f" {fault.words}. Try again later; what to mend is in the server's log",
            code=f"turn_{fault}",
            retry_after_s=_RELAY_RETRY_AFTER_S,
        )


@contextlib.contextmanager
def _as_peer_error(kind: str) -> Iterator[None]:
    """Whatever the far end's text leads aiortc to raise is the far end's fault."""
    try:
        yield
    except PeerError:
        raise
    except Exception as error:
        raise PeerError(
            f"The {kind} can't be used ({type(error).__name__})", code="bad_sdp"
        ) from error


@lru_cache(maxsize=1)
def _our_codecs() -> list[Any]:
    names = ("audio/opus", "audio/PCMU", "audio/PCMA")
    capabilities = RTCRtpReceiver.getCapabilities("audio")
    offered = capabilities.codecs if capabilities else []
    return [codec for name in names for codec in offered if codec.mimeType == name]
