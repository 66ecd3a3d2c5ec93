"""Opus: a frame of 20 ms from Python, against the ways others take."""

from __future__ import annotations

import fractions
from collections.abc import Callable

import av
import numpy as np
import pytest
from aiortc.codecs.opus import OpusDecoder
from aiortc.jitterbuffer import JitterFrame

from kernels.conftest import Race
from voicecore._native.opus import Decoder, Encoder

TONE = (8000 * np.sin(np.arange(960) / 20)).astype(np.int16)
PACKET = Encoder(48_000, application="voip", bitrate_bps=32_000, complexity=9).encode(TONE)


def _aiortc_decode() -> Callable[[], object]:
    decoder = OpusDecoder()
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)

    def decode() -> object:
        (frame,) = decoder.decode(JitterFrame(data=PACKET, timestamp=0))
        frame.pts = None
        return resampler.resample(frame)

    return decode


def _ours_decode() -> Callable[[], object]:
    decoder = Decoder(16_000)
    return lambda: decoder.decode(PACKET)


@pytest.mark.parametrize(("who", "make"), [("ours", _ours_decode), ("PyAV", _aiortc_decode)])
def test_opus_decode_to_16_khz(race: Race, who: str, make: Callable) -> None:
    race("Opus decode to 16 kHz", who, make(), goal_ratio=1.4)


def _ours_encode() -> Callable[[], object]:
    encoder = Encoder(24_000, bitrate_bps=64_000, complexity=0)
    return lambda: encoder.encode(TONE[:480])


def _av_encode() -> Callable[[], object]:
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.layout = 96_000, "s16", "stereo"
    codec.sample_rate, codec.options = 48_000, {"application": "voip"}
    codec.time_base = fractions.Fraction(1, 48_000)
    stereo = np.repeat(TONE, 2).reshape(1, -1)

    def encode() -> object:
        frame = av.AudioFrame.from_ndarray(stereo, "s16", "stereo")
        frame.sample_rate = 48_000
        return codec.encode(frame)

    return encode


@pytest.mark.parametrize(("who", "make"), [("ours", _ours_encode), ("aiortc's", _av_encode)])
def test_opus_encode_at_the_default_settings(race: Race, who: str, make: Callable) -> None:
    race("Opus encode, default settings", who, make(), goal_ratio=4.0)
