"""The seam's other half: private names by which somebody else's connection becomes ours.

The class of that one connection is exchanged for a subclass of it; nothing
global is changed. ``tests/transport/test_adoption.py`` fails when a name moves.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Protocol

from aiortc import (
    MediaStreamTrack,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.clock import current_ms
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtp import is_rtcp
from aiortc.stats import RTCStatsReport

from voicecore.errors import MisuseError

_NEEDED = (
    "configuration",
    "iceTransports",
    "createDtlsTransport",
    "createSctpTransport",
    "createTransceiver",
)


class ConnectionHooks(Protocol):
    """Who takes part in what an adopted connection does. All on the event loop."""

    def on_transport(self, transport: RTCDtlsTransport) -> None:
        """A transport was made, nothing was gathered yet."""

    def on_transceiver(self, transceiver: RTCRtpTransceiver) -> None:
        """A transceiver was made, nothing was negotiated yet."""

    def describe(self, made: RTCSessionDescription) -> RTCSessionDescription:
        """Complete our description."""
        ...

    def before_remote(self, theirs: RTCSessionDescription) -> RTCSessionDescription:
        """The far end's description as aiortc shall read it; what is raised refuses it."""
        ...

    def on_described(self) -> None:
        """A description was set."""

    async def before_close(self) -> None:
        """The connection is about to be closed. Called for each ``close()``."""

    def after_close(self) -> None:
        """It is closed. Called for each ``close()``."""


class _Adopted(RTCPeerConnection):
    """The methods of a connection that tell its hooks.

    Everything is on one transport from the beginning, and marked so
    (``_bundled``): what aiortc believes to be on another than the first section
    of a description it would move there, and stop the transport it was on,
    which is the same one. Candidates go to that one whatever section they name.
    """

    _voicecore: ConnectionHooks

    async def createOffer(self) -> RTCSessionDescription:
        return self._voicecore.describe(await super().createOffer())

    async def createAnswer(self) -> RTCSessionDescription:
        return self._voicecore.describe(await super().createAnswer())

    async def setLocalDescription(
        self, sessionDescription: RTCSessionDescription | None = None
    ) -> None:
        await super().setLocalDescription(sessionDescription)
        self._voicecore.on_described()

    async def setRemoteDescription(self, sessionDescription: RTCSessionDescription) -> None:
        theirs = self._voicecore.before_remote(sessionDescription)
        try:
            await super().setRemoteDescription(theirs)
        finally:
            self._voicecore.on_described()

    async def addIceCandidate(self, candidate: RTCIceCandidate | None) -> None:
        await super().addIceCandidate(candidate)
        above: Any = self
        for transport in above._RTCPeerConnection__iceTransports if candidate else ():
            await transport.addRemoteCandidate(candidate)

    async def close(self) -> None:
        await self._voicecore.before_close()
        try:
            await super().close()
        finally:
            self._voicecore.after_close()

    def _RTCPeerConnection__createDtlsTransport(self) -> RTCDtlsTransport:
        above: Any = super()
        made: RTCDtlsTransport = above._RTCPeerConnection__createDtlsTransport()
        self._voicecore.on_transport(made)
        return made

    def _RTCPeerConnection__createTransceiver(
        self, direction: str, kind: str, sender_track: MediaStreamTrack | None = None
    ) -> RTCRtpTransceiver:
        above: Any = super()
        made: RTCRtpTransceiver = above._RTCPeerConnection__createTransceiver(
            direction, kind, sender_track
        )
        made._bundled = True
        self._voicecore.on_transceiver(made)
        return made

    def _RTCPeerConnection__createSctpTransport(self) -> None:
        above: Any = super()
        above._RTCPeerConnection__createSctpTransport()
        insides: Any = self.sctp
        insides._bundled = True


@cache
def _adopted(kind: Any) -> type[RTCPeerConnection]:
    return type(kind.__name__, (_Adopted, kind), {"__doc__": kind.__doc__})


def adopt(connection: RTCPeerConnection, hooks: ConnectionHooks) -> RTCConfiguration:
    """Tell ``hooks`` what a fresh connection does, from now on; returns its configuration.

    One transport serves all its media from now on (the policy ``max-bundle``).

    Raises MisuseError, and changes nothing, for an aiortc without the names we need.
    """
    insides: Any = connection
    lacking = [name for name in _NEEDED if not hasattr(insides, f"_RTCPeerConnection__{name}")]
    if lacking:
        raise MisuseError(
            f"this release of aiortc can't be used, 1.16.0 can: it has no {lacking[0]}",
            code="unsupported_aiortc",
        )
    configuration: RTCConfiguration = insides._RTCPeerConnection__configuration
    insides._RTCPeerConnection__configuration = replace(
        configuration, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE
    )
    insides._voicecore = hooks
    kind: Any = type(connection)
    connection.__class__ = _adopted(kind)
    return configuration


def is_adopted(connection: RTCPeerConnection) -> bool:
    """Whether :func:`adopt` was called for it."""
    return isinstance(connection, _Adopted)


def exchange_halves(
    transceiver: RTCRtpTransceiver, sender: RTCRtpSender, receiver: RTCRtpReceiver
) -> None:
    """Put ``sender`` and ``receiver`` in place of a transceiver's, before negotiation."""
    insides: Any = transceiver
    sender._stream_id = transceiver.sender._stream_id
    insides._RTCRtpTransceiver__receiver = receiver
    insides._RTCRtpTransceiver__sender = sender


async def take_media(transport: RTCDtlsTransport, data: bytes) -> None:
    """Hand a decrypted RTP or RTCP packet to aiortc's receivers and senders."""
    insides: Any = transport
    if is_rtcp(data):
        await insides._handle_rtcp_data(data)
    else:
        await insides._handle_rtp_data(data, arrival_time_ms=current_ms())


def transport_stats(transport: RTCDtlsTransport) -> RTCStatsReport:
    """What aiortc counts of a transport: its own datagrams, not the media threads'."""
    return transport._get_stats()
