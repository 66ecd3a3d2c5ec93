"""Our audio path for any aiortc program, by one line.

::

    from aiortc import RTCPeerConnection
    from voicecore.aiortc import native_audio

    pc = RTCPeerConnection()
    native_audio(pc)  # the line

The program stays as it is. See ``docs/aiortc.md`` for what changes, what it
brings and where it ends. Needs aiortc 1.16.0 and aioice 0.13.0 (libsrtp and
libopus come with what they install), and nothing of the service.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc import RTCPeerConnection

from voicecore.errors import MisuseError
from voicecore.transport.adoption import is_adopted
from voicecore.transport.dropin import SEND_RATES_HZ, DropIn
from voicecore.transport.track_in import FRAME_RATES_HZ, FrameForm

__all__ = ["NativePeerConnection", "native_audio"]


def native_audio(
    pc: RTCPeerConnection,
    *,
    frame_rate_hz: int = 48_000,
    stereo: bool = True,
    send_rate_hz: int = 24_000,
) -> None:
    """Give ``pc`` native audio both ways: jitter buffer, concealment, FEC, encoder, RTP clock.

    Call it on the event loop right after ``pc`` was made: before any track,
    transceiver or data channel is added and before any description is set. It
    is undone by ``await pc.close()``. All connections of an event loop share
    the media threads and their sockets, made here for the first connection and
    closed with the last.

    Remote audio tracks yield ``av.AudioFrame``: 20 ms, s16, at
    ``frame_rate_hz`` (16,000, 24,000 or 48,000; audio is decoded at 16 kHz
    whatever this says), two equal channels or, not ``stereo``, one. Tracks that
    are sent may yield frames of any rate and format; they are encoded in mono
    at ``send_rate_hz`` (likewise).

    Raises:
        MisuseError: ``pc`` is in use, closed or has native audio; no event loop
            runs; a rate that isn't one of those; an aiortc whose insides are others.
        MissingLibraryError: no usable libsrtp or libopus.
    """
    if frame_rate_hz not in FRAME_RATES_HZ:
        raise MisuseError(f"frame_rate_hz must be one of {FRAME_RATES_HZ}, got {frame_rate_hz}")
    if send_rate_hz not in SEND_RATES_HZ:
        raise MisuseError(f"send_rate_hz must be one of {SEND_RATES_HZ}, got {send_rate_hz}")
    try:
        asyncio.get_running_loop()
    except RuntimeError as error:
        raise MisuseError("native_audio() needs a running event loop") from error
    if is_adopted(pc):
        raise MisuseError("this connection has native audio", code="in_use")
    untouched: tuple[Any, ...] = (pc.sctp, pc.localDescription, pc.remoteDescription)
    if pc.getTransceivers() or untouched != (None,) * 3 or pc.signalingState != "stable":
        raise MisuseError(
            "call native_audio(pc) right after RTCPeerConnection(), before anything is added to it",
            code="too_late",
        )
    DropIn(pc, FrameForm(frame_rate_hz, stereo), send_rate_hz)


class NativePeerConnection(RTCPeerConnection):
    """An ``RTCPeerConnection`` made with native audio, for frameworks that make their own.

    One line before the first connection::

        some_framework.connection.RTCPeerConnection = NativePeerConnection

    Raises what :func:`native_audio` does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        native_audio(self)
