"""The load tool's own reading of redundancy, against libopus."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from load.opus_packet import carries_red, has_redundancy
from voicecore._native.libs import find_libopus
from voicecore._native.opus import Encoder

RATE_HZ = 16_000


@pytest.mark.parametrize("frame_ms", [10, 20, 40, 60])
@pytest.mark.parametrize("expected_loss", [0, 10])
def test_redundancy_is_seen_where_libopus_sees_it(frame_ms: int, expected_loss: int) -> None:
    oracle = ctypes.CDLL(str(find_libopus()))
    if not hasattr(oracle, "opus_packet_has_lbrr"):
        pytest.skip("this libopus can't tell")
    encoder = Encoder(
        RATE_HZ,
        application="voip",
        bitrate_bps=24_000,
        complexity=5,
        fec=expected_loss > 0,
        expected_loss_percent=expected_loss,
    )
    samples = RATE_HZ * frame_ms // 1000
    at = np.arange(samples * 40) / RATE_HZ
    voice = 6000 * (1 + np.sin(2 * np.pi * 3 * at)) * np.sin(2 * np.pi * 150 * at)
    seen = []
    for frame in voice.astype(np.int16).reshape(-1, samples):
        packet = encoder.encode(frame)
        theirs = oracle.opus_packet_has_lbrr(packet, len(packet)) == 1
        assert has_redundancy(packet) == theirs
        seen.append(theirs)
    if frame_ms >= 20:
        assert any(seen) == (expected_loss > 0)


def test_red_counts_only_with_something_in_it() -> None:
    header = bytes([0x80 | 111, 3, 0xC0 & 0xFC, 2])
    assert carries_red(header + bytes([111]) + b"xy" + b"primary")
    assert not carries_red(bytes([111]) + b"primary")
    assert not carries_red(bytes([0x80 | 111, 3, 0xC0, 0]) + bytes([111]) + b"primary")
    assert not carries_red(b"")
