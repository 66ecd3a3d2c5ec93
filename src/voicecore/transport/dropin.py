"""An existing aiortc connection on our media threads: what ``voicecore.aiortc`` promises.

aiortc keeps signaling, ICE's and DTLS's state, data channels and video. Its
audio sender and receiver are exchanged for ours when their transceiver is made,
its sockets for the hub's when their transport is; the session begins when DTLS
is through. Packets of other streams (video) come back decrypted and go to
aiortc's receivers in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

from aiortc import (
    RTCConfiguration,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcicetransport import RTCIceGatherer

from voicecore._native import plane as native
from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.outbound import Outbound
from voicecore._native.ring import AudioRing
from voicecore.core.send_policy import SendLimits
from voicecore.errors import MisuseError, PeerError
from voicecore.transport import adoption, ice_servers, shared_hub
from voicecore.transport import aiortc_seam as seam
from voicecore.transport.ice_way import PathConfig
from voicecore.transport.media_path import MediaPath, SelectedPair
from voicecore.transport.media_setup import MediaWants, open_session, rtp_clock_hz, send_limits
from voicecore.transport.routing import follow
from voicecore.transport.sdp import with_candidates_everywhere
from voicecore.transport.sdp_audio import (
    AudioFormat,
    AudioWants,
    complete_answer,
    complete_offer,
    is_audio,
    negotiated,
    read_audio,
    sections,
)
from voicecore.transport.send_control import SendControl
from voicecore.transport.srtp_keys import SrtpKeys
from voicecore.transport.track_in import AudioReceiver, FrameForm
from voicecore.transport.track_out import AudioSender

_LOG = logging.getLogger(__name__)

SEND_RATES_HZ = (16_000, 24_000, 48_000)
_PLAYOUT_MS = 1000
_MOST_WAITING = 256
"""Packets of other streams that wait for aiortc; the oldest are dropped, as on a lossy network."""

_NO_AUDIO = AudioFormat(codec="opus", payload_type=127, opus_pt=127)
"""Where the far end has no audio for us: nothing of it is ever heard or sent."""


class CallAudio:
    """The audio of one connection on the media threads; source and sink of its tracks."""

    def __init__(
        self, session: MediaSession, form: AudioFormat, stalled_s: Callable[[], float]
    ) -> None:
        self._session = session
        self.stalled_s = stalled_s
        self.inbound: Inbound = session.inbound
        self.outbound: Outbound = session.outbound
        self.clock_hz = rtp_clock_hz(form.codec)
        self._skipped = 0
        self._control: SendControl | None = None
        self._closed = False
        if form is not _NO_AUDIO:
            self._control = SendControl(
                session,
                self.outbound,
                send_limits(form, SendLimits()),
                overload=lambda: 0,
                now=time.monotonic_ns,
            )

    @property
    def ring(self) -> AudioRing:
        """The caller's audio."""
        return self.inbound.ring

    @property
    def remote_ssrc(self) -> int:
        """Whom we hear."""
        return self.inbound.ssrc

    def wake_at(self, position: int) -> None:
        """Ask for one event when the ring reaches ``position``."""
        if not self._closed:
            self._session.wake_at(position)

    def skipped(self) -> int:
        """Samples missing in the ring."""
        if not self._closed:
            self._skipped = self._session.skipped()
        return self._skipped

    def silence(self, silent: bool) -> None:
        """Whether RTP goes out."""
        if not self._closed:
            self._session.silence(silent)

    def adapt(self) -> None:
        """The far end reported."""
        if self._control is not None and not self._closed:
            self._control.look()

    def route(self, pair: SelectedPair | None) -> None:
        """The pair in use changed."""
        if not self._closed:
            follow(self._session, pair)

    def inject(self, data: bytes) -> None:
        """A packet came by a relay."""
        if not self._closed:
            self._session.inject(data)

    def share(self, types: frozenset[int] | None) -> None:
        """Whether other streams use the transport, and which payload types are ours."""
        if not self._closed:
            self._session.share(types)

    def stats(self) -> dict[str, Any]:
        """Of both directions; empty once closed."""
        return {} if self._closed else self._session.stats()

    def network(self) -> dict[str, float]:
        """The far end's word; empty once closed."""
        return {} if self._closed else self._session.network()

    def close(self) -> None:
        """Say BYE. Twice is fine; what is in the ring can still be read."""
        if not self._closed:
            self._closed = True
            self._session.close()
            self.inbound.close()
            self.outbound.close()


class DropIn:
    """Hooks of one connection. ``stats`` of its halves and tracks are the program's way in."""

    def __init__(self, connection: RTCPeerConnection, form: FrameForm, send_rate_hz: int) -> None:
        self._connection = connection
        self._form = form
        self._send_rate_hz = send_rate_hz
        self._shared = shared_hub.acquire()
        self._path: MediaPath | None = None
        self._transport: RTCDtlsTransport | None = None
        self._keys: SrtpKeys | None = None
        self._audio: CallAudio | None = None
        self._audio_format = _NO_AUDIO
        self._sender: AudioSender | None = None
        self._receiver: AudioReceiver | None = None
        self._theirs = ""
        self._reading = False
        self._wanted: set[str] = set()
        self._others: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._handing: asyncio.Task[None] | None = None
        self._closed = False
        self._released = False
        try:
            self._configuration: RTCConfiguration = adoption.adopt(connection, self)
        except MisuseError:
            shared_hub.release()
            raise

    # -- what aiortc makes --------------------------------------------------------------

    def on_transport(self, transport: RTCDtlsTransport) -> None:
        """See :class:`~voicecore.transport.adoption.ConnectionHooks`."""
        if self._path is not None:
            raise MisuseError("native audio has one transport for all media of a connection")
        configuration = self._configuration
        servers = configuration.iceServers
        if servers is None:
            servers = RTCIceGatherer.getDefaultIceServers()
        stun, turn = ice_servers.read(servers)
        relay_only = configuration.iceTransportPolicy == RTCIceTransportPolicy.RELAY
        self._path = MediaPath(
            self._shared.hub,
            seam.ice_of(transport),
            PathConfig(stun=tuple(stun), turn=tuple(turn), relay_only=relay_only),
        )
        self._transport = transport
        seam.capture_keys(transport, self._on_keys, beside=True)
        seam.forgive_late_data(transport)
        transport.on("statechange", self._on_state)

    def on_transceiver(self, transceiver: RTCRtpTransceiver) -> None:
        """See :class:`~voicecore.transport.adoption.ConnectionHooks`."""
        if transceiver.kind != "audio":
            return
        if self._sender is not None:
            if self._reading:
                return  # an inactive section of the far end's
            raise MisuseError("native audio has one audio track each way for a connection")
        transport = transceiver.receiver.transport
        track = transceiver.sender.track
        self._sender = AudioSender(track, transport, lambda: self._on_started("send"))
        self._receiver = AudioReceiver(transport, self._form, lambda: self._on_started("receive"))
        adoption.exchange_halves(transceiver, self._sender, self._receiver)
        transceiver.setCodecPreferences(_our_codecs())

    # -- descriptions -------------------------------------------------------------------

    def describe(self, made: RTCSessionDescription) -> RTCSessionDescription:
        """See :class:`~voicecore.transport.adoption.ConnectionHooks`."""
        wants = AudioWants(wideband=True)  # tracks have no more, whatever their rate
        if made.type == "offer":
            sdp = complete_offer(made.sdp, wants)
        else:
            sdp = complete_answer(made.sdp, read_audio(self._theirs), wants)
        return RTCSessionDescription(sdp=sdp, type=made.type)

    def before_remote(self, theirs: RTCSessionDescription) -> RTCSessionDescription:
        """See :class:`~voicecore.transport.adoption.ConnectionHooks`."""
        active = [part for part in sections(theirs.sdp)[1:] if part[0].split()[1:2] != ["0"]]
        if sum(is_audio(part) and "a=inactive" not in part for part in active) > 1:
            raise PeerError("There is more than one audio section", code="two_audio", status=422)
        if len(active) > 1 and "a=group:BUNDLE " not in theirs.sdp:
            raise PeerError(
                "The media sections must be bundled on one transport",
                code="not_bundled",
                status=422,
            )
        self._theirs = theirs.sdp
        self._reading = True
        return RTCSessionDescription(sdp=with_candidates_everywhere(theirs.sdp), type=theirs.type)

    def on_described(self) -> None:
        """See :class:`~voicecore.transport.adoption.ConnectionHooks`."""
        self._reading = False
        self._share()

    # -- the connection lives -------------------------------------------------------------

    def _on_keys(self, keys: SrtpKeys) -> None:
        self._keys = keys

    def _on_state(self) -> None:
        state = "closed" if self._transport is None else self._transport.state
        if state == "connected":
            self._begin()
        elif state in ("closed", "failed") and self._receiver is not None:
            self._receiver.finish()

    def _begin(self) -> None:
        if self._audio is not None or self._closed or self._keys is None:
            return
        ours = read_audio(self._connection.localDescription.sdp)
        form = negotiated(ours, read_audio(self._theirs), red_first=False)
        self._audio_format = form or _NO_AUDIO
        assert self._path is not None
        session = open_session(
            self._shared.threads,
            self._path.peer,
            self._audio_format,
            self._keys,
            ssrc=_ssrc(self._sender),
            wants=MediaWants(send_rate_hz=self._send_rate_hz, playout_ms=_PLAYOUT_MS),
        )
        self._audio = CallAudio(session, self._audio_format, self._shared.stalls.stalled_s)
        self._audio.silence(True)
        self._share()
        self._path.attach(self)

    def _on_started(self, half: str) -> None:
        if self._audio is None or self._audio_format is _NO_AUDIO:
            return
        if half == "send" and self._sender is not None:
            self._sender.feed(self._audio)
        elif half == "receive" and self._receiver is not None:
            self._receiver.feed(self._audio)

    def _share(self) -> None:
        if self._audio is None:
            return
        others = any(t.kind != "audio" for t in self._connection.getTransceivers())
        self._audio.share(_own_types(self._audio_format) if others else None)

    # -- the path ---------------------------------------------------------------------------

    def on_pair(self, pair: SelectedPair | None) -> None:
        """See :class:`~voicecore.transport.media_path.PathSink`."""
        if self._audio is not None:
            self._audio.route(pair)

    def on_packet(self, data: bytes) -> None:
        """See :class:`~voicecore.transport.media_path.PathSink`: it came by a relay."""
        if self._audio is not None:
            self._audio.inject(data)

    def on_media(self, kind: int, *details: Any) -> None:
        """See :class:`~voicecore.transport.media_path.PathSink`."""
        if kind == native.OTHER:
            self._hand_on(details[0])
        elif kind == native.PACKET and self._path is not None:
            self._path.send(details[0])
        elif kind == native.REPORT and self._audio is not None:
            self._audio.adapt()
        elif self._receiver is None:
            return
        elif kind in (native.AUDIO, native.LOST):
            self._receiver.on_audio()
        elif kind == native.BYE:
            self._receiver.finish()

    def _hand_on(self, data: bytes) -> None:
        self._others.append(data)
        if self._handing is None and not self._closed:
            self._handing = asyncio.get_running_loop().create_task(self._hand_all(), name="video")

    async def _hand_all(self) -> None:
        assert self._transport is not None
        try:
            while self._others:
                try:
                    await adoption.take_media(self._transport, self._others.popleft())
                except ConnectionError:
                    return
                except Exception:  # one packet's fault must not end the stream
                    _LOG.debug("a packet of another stream failed", exc_info=True)
        finally:
            self._handing = None

    # -- the end ------------------------------------------------------------------------------

    async def before_close(self) -> None:
        """See :class:`~voicecore.transport.adoption.ConnectionHooks`."""
        if self._closed:
            return
        self._closed = True
        if self._receiver is not None:
            self._receiver.finish()
        if self._sender is not None:
            await self._sender.stop()
        self._others.clear()
        if self._handing is not None:
            self._handing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._handing
        if self._audio is not None:
            self._audio.close()  # while there is still a way for its BYE

    def after_close(self) -> None:
        """See :class:`~voicecore.transport.adoption.ConnectionHooks`."""
        if self._released:
            return
        self._released = True
        if self._path is not None:
            self._path.close()
        shared_hub.release()


@cache
def _our_codecs() -> list[Any]:
    """Those of aiortc's that our receive path decodes (not G.722), in its order."""
    capabilities = RTCRtpReceiver.getCapabilities("audio")
    return [
        codec
        for codec in (capabilities.codecs if capabilities else [])
        if codec.mimeType in ("audio/opus", "audio/PCMU", "audio/PCMA")
    ]


def _own_types(form: AudioFormat) -> frozenset[int]:
    if form is _NO_AUDIO:
        return frozenset()
    codecs = (form.opus_pt, form.pcmu_pt, form.pcma_pt, form.red_pt, form.cn_pt)
    return frozenset(pt for pt in (*codecs, *form.dtmf_pts) if pt >= 0)


def _ssrc(sender: AudioSender | None) -> int:
    return random.getrandbits(32) if sender is None else sender.ssrc
