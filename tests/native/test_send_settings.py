"""What the send policy asks for, done by the send path: copies that are really in the packets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from native.test_outbound import path, speech
from voicecore._native import opus, rtp
from voicecore._native.inbound import Inbound
from voicecore.core.send_policy import NetworkReport, SendLimits, SendSettings, SendState, decide
from voicecore.core.units import NS_PER_MS, NS_PER_S

Speech = Callable[[int, float], NDArray[np.int16]]


def settings_for(loss: float, limits: SendLimits, overload: int = 0) -> SendSettings:
    report = NetworkReport(loss=loss, packets=50, overload=overload)
    return decide(SendState(), report, limits, NS_PER_S)[1]


def send(settings: SendSettings, pcm: NDArray[np.int16]) -> list[bytes]:
    out = path(red_pt=63)
    out.write(pcm, 0)
    out.configure(
        bitrate_bps=settings.bitrate_bps,
        complexity=settings.complexity,
        fec=settings.fec,
        expected_loss_percent=settings.expected_loss_percent,
        red=settings.red,
        max_bandwidth_hz=settings.max_bandwidth_hz,
    )
    return [out.next_packet() for _ in range(len(pcm) // 480)]


@pytest.mark.parametrize("loss", [0.04, 0.08, 0.2])
@pytest.mark.parametrize("bitrate_bps", [28_000, 40_000, 64_000])
def test_fec_settings_really_carry_copies(loss: float, bitrate_bps: int) -> None:
    """libopus says nothing when it leaves them out; at 24 kb/s and complexity 0 it does.

    Nor does it copy frames that it doesn't take for speech.
    """
    limits = SendLimits(bitrate_bps=bitrate_bps, max_bitrate_bps=bitrate_bps)
    settings = settings_for(loss, limits)
    assert settings.fec
    assert not settings.red
    pcm = speech(24000)[: 480 * 70]
    loud = [i for i in range(2, 70) if np.abs(pcm[i * 480 : (i + 1) * 480]).max() > 500]
    packets = send(settings, pcm)
    copies = [opus.packet_has_fec(packets[i][12:]) for i in loud]
    assert np.mean(copies) >= 0.8


def test_clean_settings_keep_celt(speech_like: Speech) -> None:
    packets = send(settings_for(0.0, SendLimits()), speech_like(24000, 0.4))
    infos = [opus.packet_info(p[12:]) for p in packets]
    assert {info.mode for info in infos if info} == {"celt"}


@pytest.mark.parametrize("burst", [1, 2])
def test_heavy_settings_mend_bursts_of_two(burst: int) -> None:
    """RED mends one of two, and the copy inside its block the other where there is one."""
    settings = settings_for(0.12, SendLimits(red=True))
    assert settings.red
    assert settings.fec
    far = Inbound(opus_pt=111, red_pt=63)
    packets = send(settings, speech(24000)[: 480 * 60])
    bursts = range(10, 60, 10)
    lost = {i + k for i in bursts for k in range(burst)}
    for i in sorted(set(range(60)) - lost):
        far.push(packets[i], i * 20 * NS_PER_MS)
        far.poll(i * 20 * NS_PER_MS)
    far.poll(10 * NS_PER_S)
    stats = far.stats()
    assert stats["red"] == len(bursts)
    assert stats["concealed_ms"] + 20 * stats["fec"] == 20 * (len(lost) - len(bursts))
    if burst == 2:
        assert stats["fec"] >= len(bursts) - 1


def test_a_receiver_without_red_hears_every_plain_packet(speech_like: Speech) -> None:
    settings = settings_for(0.02, SendLimits(red=True))
    packets = send(settings, speech_like(24000, 0.2))
    header = rtp.parse(packets[0])
    assert header is not None
    assert header.payload_type == 111, "nothing before the first to repeat"
    assert {p[1] & 127 for p in packets[1:]} == {63}
