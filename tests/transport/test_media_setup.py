"""A call's media as negotiated: what the far end takes bounds what its owner wants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from voicecore._native import echo_canceller
from voicecore._native.plane import MediaThreads
from voicecore._native.silero import SileroWeights, shapes
from voicecore.core.send_policy import SendLimits
from voicecore.errors import MissingLibraryError
from voicecore.transport.media_setup import (
    MediaWants,
    open_session,
    play_rate_hz,
    rtp_clock_hz,
    send_limits,
)
from voicecore.transport.sdp_audio import AudioFormat
from voicecore.transport.srtp_keys import SrtpKeys

KEYS = SrtpKeys("SRTP_AEAD_AES_128_GCM", b"a" * 28, b"b" * 28)
WANTED = SendLimits(bitrate_bps=40_000, max_bitrate_bps=90_000, complexity=3)


@pytest.fixture
def threads() -> Iterator[MediaThreads]:
    made = MediaThreads()
    yield made
    made.close()


def opus(**more: Any) -> AudioFormat:
    return AudioFormat("opus", 111, 111, **more)


@pytest.mark.parametrize(
    ("form", "rates_bps", "red", "fec"),
    [
        (opus(), (40_000, 28_000, 90_000), False, False),
        (opus(red_pt=63, far_fec=True), (40_000, 28_000, 90_000), True, True),
        (opus(far_max_bitrate_bps=200_000), (40_000, 28_000, 90_000), False, False),
        (opus(far_max_bitrate_bps=32_000), (32_000, 28_000, 32_000), False, False),
        (opus(far_max_bitrate_bps=16_000), (16_000, 16_000, 16_000), False, False),
        (AudioFormat("pcmu", 0, pcmu_pt=0, red_pt=63, far_fec=True), (40_000, 28_000, 90_000),
         False, False),
    ],
)  # fmt: skip
def test_the_far_end_bounds_what_is_sent(
    form: AudioFormat, rates_bps: tuple[int, int, int], red: bool, fec: bool
) -> None:
    made = send_limits(form, WANTED)
    assert (made.bitrate_bps, made.min_bitrate_bps, made.max_bitrate_bps) == rates_bps
    assert (made.red, made.fec, made.complexity) == (red, fec, 3)


@pytest.mark.parametrize(
    ("codec", "payload_type", "rate_hz", "clock_hz"),
    [("opus", 111, 16_000, 48_000), ("pcmu", 0, 8000, 8000), ("pcma", 8, 8000, 8000)],
)
def test_a_session_of_each_codec(
    threads: MediaThreads, codec: Any, payload_type: int, rate_hz: int, clock_hz: int
) -> None:
    form = AudioFormat(codec, payload_type, 111, 0, 8)
    wants = MediaWants(send_rate_hz=16_000, playout_ms=500, ring_ms=2000, limits=WANTED)
    peer = threads.add_peer("one")
    session = open_session(threads, peer, form, KEYS, ssrc=7, wants=wants)
    outbound = session.outbound
    assert outbound.rate_hz == rate_hz == play_rate_hz(codec, 16_000)
    assert rtp_clock_hz(codec) == clock_hz
    assert (outbound.ssrc, outbound.space) == (7, rate_hz // 2)
    settings = outbound.settings
    assert (settings["bitrate_bps"], settings["complexity"]) == (40_000, 3)
    assert session.inbound.ring.capacity >= 32_000
    session.close()


@pytest.mark.parametrize(("vad", "guard"), [(True, True), (True, False), (False, True)])
def test_an_echo_guard_is_the_owners_wish(vad: bool, guard: bool) -> None:
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes(16_000).items()}
    threads = MediaThreads(vad=SileroWeights(16_000, weights))
    for form in (opus(), AudioFormat("pcmu", 0, pcmu_pt=0)):
        wants = MediaWants(send_rate_hz=48_000, playout_ms=500, vad=vad, echo_guard=guard)
        peer = threads.add_peer(form.codec)
        session = open_session(threads, peer, form, KEYS, ssrc=7, wants=wants)
        assert session.echo_guard is (vad and guard)
        session.close()
    threads.close()


def test_an_echo_canceller_is_too() -> None:
    try:
        echo_canceller.library()
    except MissingLibraryError as error:
        pytest.skip(str(error))
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes(16_000).items()}
    threads = MediaThreads(vad=SileroWeights(16_000, weights))
    for form in (opus(), AudioFormat("pcmu", 0, pcmu_pt=0)):
        wants = MediaWants(
            24_000, 500, vad=True, echo_guard=True, echo_canceller=form.codec == "opus"
        )
        peer = threads.add_peer(form.codec)
        session = open_session(threads, peer, form, KEYS, ssrc=7, wants=wants)
        assert session.echo_canceller is (form.codec == "opus")
        session.close()
    threads.close()


def test_sequences_begin_far_from_their_wrap(threads: MediaThreads) -> None:
    wants = MediaWants(send_rate_hz=24_000, playout_ms=100)
    first = set()
    for number in range(40):
        peer = threads.add_peer(f"peer{number}")
        session = open_session(threads, peer, opus(), KEYS, ssrc=7, wants=wants)
        first.add(session.outbound.sequence)
        session.close()
    assert max(first) < 2**15 + 50
    assert len(first) > 30
