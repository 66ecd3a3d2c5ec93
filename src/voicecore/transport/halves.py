"""What stands in for aiortc's receiver and sender of audio."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.stats import RTCStatsReport
from aiortc.utils import random32


class NativeReceiver:
    """Stands in for ``RTCRtpReceiver``: no jitter buffer, no thread, no RTCP task."""

    def __init__(self, transport: RTCDtlsTransport, started: Callable[[Any], None]) -> None:
        self._transport = transport
        self._started = started
        self._track: Any = None
        self._enabled = True

    @property
    def track(self) -> Any:
        """The track aiortc made; nothing is ever put into it."""
        return self._track

    @property
    def transport(self) -> RTCDtlsTransport:
        """The DTLS transport in use."""
        return self._transport

    def setTransport(self, transport: RTCDtlsTransport) -> None:
        """Move to the transport that the bundle shares."""
        self._transport = transport

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        """Our reports are made by the media threads."""

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Note what was negotiated."""
        self._started(parameters)

    async def stop(self) -> None:
        """Let go of the track."""
        self._track = None

    async def getStats(self) -> RTCStatsReport:
        """Nothing: the plane counts."""
        return RTCStatsReport()


class NativeSender:
    """Stands in for ``RTCRtpSender``: packets come ready-made from the plane."""

    kind = "audio"
    track = None

    def __init__(
        self, transport: RTCDtlsTransport, started: Callable[[Any], None], stream_id: str
    ) -> None:
        self._transport = transport
        self._started = started
        self._ssrc = random32()
        self._rtx_ssrc = random32()
        self._stream_id = stream_id
        self._track_id = str(uuid.uuid4())
        self._enabled = True

    @property
    def ssrc(self) -> int:
        """The SSRC that our description promises."""
        return self._ssrc

    @property
    def transport(self) -> RTCDtlsTransport:
        """The DTLS transport in use."""
        return self._transport

    def setTransport(self, transport: RTCDtlsTransport) -> None:
        """Move to the transport that the bundle shares."""
        self._transport = transport

    def replaceTrack(self, track: object) -> None:
        """There is no track; the plane has the audio."""

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """Note what was negotiated; returns at once, aiortc awaits it before ``receive``."""
        self._started(parameters)

    async def stop(self) -> None:
        """Nothing runs that would have to stop."""

    async def getStats(self) -> RTCStatsReport:
        """Nothing: the plane counts."""
        return RTCStatsReport()
