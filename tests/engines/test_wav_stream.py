"""Samples out of a stream that may have a WAV header."""

from __future__ import annotations

import pytest

from fakes.openai_speech_server import wav_header
from voicecore.engines.tts.wav_stream import WavFormat, WavStream

DATA = bytes(range(200))


def through(stream: bytes, step: int) -> tuple[bytes, WavFormat | None]:
    wav = WavStream()
    taken = b"".join(wav.push(stream[at : at + step]) for at in range(0, len(stream), step))
    return taken + wav.finish(), wav.format


@pytest.mark.parametrize("step", [1, 2, 3, 7, 44, 1000])
@pytest.mark.parametrize("size", [0, 200, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_header_is_taken_off_however_it_is_split(step: int, size: int) -> None:
    stream = wav_header(22_050, size=size) + DATA
    assert through(stream, step) == (DATA, WavFormat(22_050, 1, 16))


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_what_lies_behind_the_samples_is_left_out(step: int) -> None:
    stream = wav_header(8_000, channels=2, bits=8, size=200) + DATA + b"LIST\4\0\0\0more"
    assert through(stream, step) == (DATA, WavFormat(8_000, 2, 8))


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize("raw", [b"", b"R", b"RIFX" + DATA, b"RIFF\0\0\0\0AVI " + DATA, DATA])
def test_raw_samples_stay(step: int, raw: bytes) -> None:
    assert through(raw, step) == (raw, None)


def test_a_header_without_samples_is_nothing() -> None:
    assert through(wav_header(24_000)[:-8], 10) == (b"", WavFormat(24_000, 1, 16))


def test_a_header_that_never_ends_is_bounded() -> None:
    wav = WavStream()
    taken = wav.push(b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f")
    while not taken:
        taken = wav.push(bytes(1000))
    assert len(taken) < 70_000
