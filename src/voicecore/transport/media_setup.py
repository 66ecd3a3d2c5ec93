"""A call's media on the media threads, as its far end and its owner want it."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass, field, replace

from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.outbound import Outbound
from voicecore._native.plane import MediaThreads
from voicecore.core.send_policy import SendLimits
from voicecore.transport.sdp_audio import AudioFormat
from voicecore.transport.srtp_keys import SrtpKeys

_RTP_CLOCK_HZ = {"opus": 48_000, "pcmu": 8000, "pcma": 8000}
_G711_HZ = 8000

CODECS = tuple(_RTP_CLOCK_HZ)
"""Those that an :class:`~voicecore.transport.sdp_audio.AudioFormat` may name."""


@dataclass(frozen=True, slots=True)
class MediaWants:
    """What the owner of a call wants of its media, whatever is negotiated.

    ``send_rate_hz`` is that of the PCM for Opus; G.711 has one rate alone.
    ``playout_ms`` of it can be queued, ``ring_ms`` of the caller's audio are
    kept. ``limits`` are narrowed to what the far end takes. With ``vad`` the
    threads tell speech edges, by ``threshold`` and ``start_ms``; with
    ``echo_guard`` our own voice, come back, is no speech; with ``echo_canceller``
    it is taken out of what is heard, too, which needs both.
    """

    send_rate_hz: int
    playout_ms: int
    ring_ms: int = 4096
    limits: SendLimits = field(default_factory=SendLimits)
    vad: bool = False
    threshold: float = 0.5
    start_ms: int = 64
    echo_guard: bool = False
    echo_canceller: bool = False


def rtp_clock_hz(codec: str) -> int:
    """The RTP clock of what is sent."""
    return _RTP_CLOCK_HZ[codec]


def play_rate_hz(codec: str, opus_hz: int) -> int:
    """The rate of PCM to send by ``codec``, with Opus at ``opus_hz``."""
    return opus_hz if codec == "opus" else _G711_HZ


def send_limits(form: AudioFormat, wanted: SendLimits) -> SendLimits:
    """``wanted``, but no more than the far end takes."""
    opus = form.codec == "opus"
    most = min(wanted.max_bitrate_bps, form.far_max_bitrate_bps or wanted.max_bitrate_bps)
    return replace(
        wanted,
        bitrate_bps=min(wanted.bitrate_bps, most),
        min_bitrate_bps=min(wanted.min_bitrate_bps, most),
        max_bitrate_bps=most,
        red=opus and form.red_pt >= 0,
        fec=opus and form.far_fec,
    )


def open_session(
    threads: MediaThreads,
    peer: int,
    form: AudioFormat,
    keys: SrtpKeys,
    *,
    ssrc: int,
    wants: MediaWants,
) -> MediaSession:
    """Begin the media of ``peer``; nothing is sent before the session has a route.

    The caller owns the session and its ``inbound`` and ``outbound``, and closes them in
    that order. Raises :class:`~voicecore.errors.MisuseError` for what they refuse,
    :class:`~voicecore.errors.MissingLibraryError` for a library that isn't there.
    """
    return MediaSession(
        threads,
        peer,
        inbound=_inbound(form, wants),
        outbound=_outbound(form, wants, ssrc),
        srtp_profile=keys.profile,
        receive_key=keys.receive,
        send_key=keys.transmit,
        vad=wants.vad,
        threshold=wants.threshold,
        start_ms=wants.start_ms,
        echo_guard=wants.echo_guard,
        echo_canceller=wants.echo_canceller,
        cname=secrets.token_hex(8),
        clock_hz=rtp_clock_hz(form.codec),
        transport_cc=form.transport_cc_id > 0,
        nack=form.nack,
    )


def _inbound(form: AudioFormat, wants: MediaWants) -> Inbound:
    return Inbound(
        opus_pt=form.opus_pt,
        pcmu_pt=form.pcmu_pt,
        pcma_pt=form.pcma_pt,
        red_pt=form.red_pt,
        dtmf_pts=form.dtmf_pts,
        transport_cc_id=form.transport_cc_id,
        ring_ms=wants.ring_ms,
    )


def _outbound(form: AudioFormat, wants: MediaWants, ssrc: int) -> Outbound:
    limits = send_limits(form, wants.limits)
    return Outbound(
        codec=form.codec,
        payload_type=form.payload_type,
        ssrc=ssrc,
        # RFC 3711, section 3.3.1: no wrap before the far end has heard a packet.
        sequence=random.getrandbits(15),
        timestamp=random.getrandbits(32),
        rate_hz=play_rate_hz(form.codec, wants.send_rate_hz),
        capacity_ms=wants.playout_ms,
        bitrate_bps=limits.bitrate_bps,
        complexity=limits.complexity,
        red_pt=form.red_pt if form.codec == "opus" else -1,
        transport_cc_id=form.transport_cc_id,
    )
