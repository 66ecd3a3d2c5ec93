"""Opus on real speech: 20 ms at a time, against the bare C call, opuslib and PyAV.

Every runner but FFmpeg's own calls the same libopus.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import fractions
import functools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest import mock

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from caller.speech import recordings
from kernels.compiled import compiled
from kernels.conftest import Enter, Race
from report import load, quick
from voicecore._native.libs import find_libopus
from voicecore._native.opus import Decoder, Encoder
from voicecore._native.resample import Resampler

Pcm = NDArray[np.int16]
Step = Callable[[], object]

FRAMES = 50
AT_MOST_5_PERCENT_OVER = 1 / 1.05
APPLICATIONS = {"voip": 2048, "audio": 2049}
SETTINGS: dict[str, tuple[str, int, int, int]] = {
    "CELT 24k 64 kb/s c0": ("audio", 24_000, 64_000, 0),
    "SILK 16k 32 kb/s c0": ("voip", 16_000, 32_000, 0),
    "SILK 16k 32 kb/s c5": ("voip", 16_000, 32_000, 5),
    "hybrid 24k 32 kb/s c5": ("voip", 24_000, 32_000, 5),
}


@functools.cache
def speech(rate_hz: int) -> list[Pcm]:
    """The loudest second of a recording, in frames of 20 ms."""
    _, pcm = recordings(1)[0]
    starts = range(0, max(1, len(pcm) - 48_000), 4800)
    start = max(starts, key=lambda at: float(np.square(pcm[at : at + 48_000], dtype=float).sum()))
    second = np.resize(pcm[start : start + 48_000], 48_000)
    if rate_hz != 48_000:
        second = Resampler(48_000, rate_hz).process(second)
    return list(np.split(second, FRAMES))


@functools.cache
def packets() -> list[bytes]:
    """What a browser sends."""
    encoder = Encoder(48_000, application="voip", bitrate_bps=32_000, complexity=9)
    return [encoder.encode(frame) for frame in speech(48_000)]


@functools.cache
def _c() -> ctypes.CDLL:
    library = compiled("opus", "functions.c", "opus_library.c")
    why = ctypes.create_string_buffer(500)
    assert library.opus_open(str(find_libopus()).encode(), why, len(why)) == 0, why.value
    library.opus_decoder.restype = library.opus_encoder.restype = ctypes.c_void_p
    return library


@functools.cache
def _opuslib() -> ModuleType:
    """The package on the same libopus; its import asks for the system's."""
    with mock.patch.object(ctypes.util, "find_library", return_value=str(find_libopus())):
        return pytest.importorskip("opuslib", exc_type=ImportError)


def _in_turns(enter: Enter, name: str, ours: Step, bare: Step) -> None:
    """Ours and the C loop by turns, since five per cent is less than the machine's own changes
    between one second and the next."""
    best = {ours: float("inf"), bare: float("inf")}
    for _ in range(8 if quick() else 300):
        for step in best:
            start_ns = time.thread_time_ns()
            step()
            best[step] = min(best[step], time.thread_time_ns() - start_ns)
    enter(name, "ours", best[ours] / FRAMES, goal_ratio=AT_MOST_5_PERCENT_OVER)
    enter(name, "libopus from C", best[bare] / FRAMES)


# -- decoding ----------------------------------------------------------------------------


def _ours_decode(rate_hz: int) -> Step:
    decode = Decoder(rate_hz).decode

    def step() -> None:
        for packet in packets():
            decode(packet)

    return step


def _c_decode(rate_hz: int) -> Step:
    decoder = ctypes.c_void_p(_c().opus_decoder(rate_hz))
    data = b"".join(packets())
    ends = (ctypes.c_int32 * FRAMES)(*np.cumsum([len(packet) for packet in packets()]))
    samples = rate_hz // 50
    assert _c().opus_decode_all(decoder, data, ends, FRAMES, samples) == samples
    return lambda: _c().opus_decode_all(decoder, data, ends, FRAMES, samples)


def _opuslib_decode(rate_hz: int) -> Step:
    decode = _opuslib().Decoder(rate_hz, 1).decode
    samples = rate_hz // 50

    def step() -> None:
        for packet in packets():
            np.frombuffer(decode(packet, samples), np.int16)

    return step


def _av_decode(name: str) -> Callable[[int], Step]:
    def make(rate_hz: int) -> Step:
        codec = av.CodecContext.create(name, "r")
        codec.layout, codec.sample_rate = "mono", 48_000
        if name == "libopus":
            codec.format = "s16"
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate_hz)

        def step() -> None:
            for packet in packets():
                for frame in codec.decode(av.Packet(packet)):
                    frame.pts = None
                    for part in resampler.resample(frame):
                        part.to_ndarray()

        return step

    return make


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_decode_over_the_c_call(enter: Enter, rate_hz: int) -> None:
    name = f"Opus decode {rate_hz // 1000}k, at most 5% over the C call"
    _in_turns(enter, name, _ours_decode(rate_hz), _c_decode(rate_hz))


@pytest.mark.parametrize(("who", "make"), [("ours", _ours_decode), ("opuslib", _opuslib_decode)])
def test_decode_against_opuslib(race: Race, who: str, make: Callable[[int], Step]) -> None:
    race("Opus decode to 16 kHz, opuslib", who, make(16_000), per_call=FRAMES)


@pytest.mark.parametrize(
    ("who", "make"),
    [
        ("ours", _ours_decode),
        ("PyAV libopus+resampler", _av_decode("libopus")),
        ("PyAV FFmpeg+resampler", _av_decode("opus")),
    ],
)
def test_decode_against_pyav(race: Race, who: str, make: Callable[[int], Step]) -> None:
    race("Opus decode to 16 kHz, PyAV", who, make(16_000), per_call=FRAMES, goal_ratio=1.4)


# -- encoding ----------------------------------------------------------------------------


def _ours_encode(setting: str) -> Step:
    application, rate_hz, bitrate_bps, complexity = SETTINGS[setting]
    encode = Encoder(
        rate_hz, application=application, bitrate_bps=bitrate_bps, complexity=complexity
    ).encode
    frames = speech(rate_hz)

    def step() -> None:
        for frame in frames:
            encode(frame)

    return step


def _c_encode(setting: str) -> Step:
    application, rate_hz, bitrate_bps, complexity = SETTINGS[setting]
    encoder = ctypes.c_void_p(
        _c().opus_encoder(rate_hz, APPLICATIONS[application], bitrate_bps, complexity)
    )
    pcm = np.concatenate(speech(rate_hz))
    return lambda: _c().opus_encode_all(
        encoder, pcm.ctypes.data_as(ctypes.c_void_p), FRAMES, rate_hz // 50
    )


def _opuslib_encode(setting: str) -> Step:
    application, rate_hz, bitrate_bps, complexity = SETTINGS[setting]
    encoder = _opuslib().Encoder(rate_hz, 1, APPLICATIONS[application])
    encoder.bitrate, encoder.complexity = bitrate_bps, complexity
    frames, samples = speech(rate_hz), rate_hz // 50

    def step() -> None:
        for frame in frames:
            encoder.encode(frame.tobytes(), samples)

    return step


def _av_encode(setting: str) -> Step:
    """The same settings as far as FFmpeg's wrapper offers them."""
    application, rate_hz, bitrate_bps, complexity = SETTINGS[setting]
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.layout = bitrate_bps, "s16", "mono"
    codec.sample_rate = rate_hz
    codec.options = {"application": application, "compression_level": str(complexity), "fec": "1"}
    codec.time_base = fractions.Fraction(1, rate_hz)
    frames = [frame.reshape(1, -1) for frame in speech(rate_hz)]

    def step() -> None:
        for samples in frames:
            frame = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            frame.sample_rate = rate_hz
            for packet in codec.encode(frame):
                bytes(packet)

    return step


def _aiortc_encode(setting: str) -> Step:
    """The one setting of aiortc: 48 kHz stereo, 96 kb/s, complexity 10."""
    codec = av.CodecContext.create("libopus", "w")
    codec.bit_rate, codec.format, codec.layout = 96_000, "s16", "stereo"
    codec.sample_rate, codec.options = 48_000, {"application": "voip"}
    codec.time_base = fractions.Fraction(1, 48_000)
    frames = [np.repeat(frame, 2).reshape(1, -1) for frame in speech(48_000)]

    def step() -> None:
        for samples in frames:
            frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
            frame.sample_rate = 48_000
            for packet in codec.encode(frame):
                bytes(packet)

    return step


@pytest.mark.parametrize("setting", SETTINGS)
def test_encode_over_the_c_call(enter: Enter, setting: str) -> None:
    name = f"Opus encode {setting}, at most 5% over C"
    _in_turns(enter, name, _ours_encode(setting), _c_encode(setting))


@pytest.mark.parametrize("setting", ["CELT 24k 64 kb/s c0", "SILK 16k 32 kb/s c5"])
@pytest.mark.parametrize(
    ("who", "make"),
    [("ours", _ours_encode), ("opuslib", _opuslib_encode), ("PyAV", _av_encode)],
)
def test_encode(race: Race, who: str, make: Callable[[str], Step], setting: str) -> None:
    race(f"Opus encode {setting}", who, make(setting), per_call=FRAMES)


@pytest.mark.parametrize(("who", "make"), [("ours", _ours_encode), ("aiortc's", _aiortc_encode)])
def test_encode_at_the_default_settings(race: Race, who: str, make: Callable[[str], Step]) -> None:
    name = "Opus encode, each at its default settings"
    race(name, who, make("CELT 24k 64 kb/s c0"), per_call=FRAMES, goal_ratio=4.0)


# -- two threads -------------------------------------------------------------------------


def _busy_percent(seconds: float) -> str:
    """How busy each core is with other things, while this process sleeps."""

    def ticks() -> list[tuple[int, int]]:
        lines = Path("/proc/stat").read_text().splitlines()
        cores = [line.split()[1:9] for line in lines if line[:3] == "cpu" and line[3:4].isdigit()]
        return [(int(core[3]) + int(core[4]), sum(map(int, core))) for core in cores]

    before = ticks()
    time.sleep(seconds)
    shares = []
    for (idle, total), (idle_then, total_then) in zip(ticks(), before, strict=True):
        shares.append(100 - 100 * (idle - idle_then) / max(1, total - total_then))
    return "/".join(f"{share:.0f}" for share in shares)


def _packets_per_s(make: Callable[[int], Step], threads: int, seconds: float) -> float:
    """Packets decoded per second of wall-clock time, each thread with its own decoder."""
    together = threading.Barrier(threads)
    rates = []

    def work() -> None:
        step, done = make(16_000), 0
        step()
        # Before others, where that is allowed: it is two free cores that are asked about.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_RR, os.sched_param(1))
        together.wait()
        start_s = time.perf_counter()
        while time.perf_counter() - start_s < seconds:
            step()
            done += FRAMES
        rates.append(done / (time.perf_counter() - start_s))

    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(rates)


def test_two_threads_decode_beside_each_other(enter: Enter) -> None:
    """By the wall clock: the best of many short attempts, since other work takes cores away.

    A loop in C that holds no lock at all shows what the machine gives two threads just then.
    """
    makers = {"Opus decode": _ours_decode, "libopus from C": _c_decode}
    packets()
    busy = _busy_percent(0.5)
    best = dict.fromkeys(((name, threads) for name in makers for threads in (1, 2)), 0.0)
    for _ in range(3 if quick() else 25):
        for (name, threads), rate in best.items():
            best[name, threads] = max(rate, _packets_per_s(makers[name], threads, 0.08))
    for name, goal in (("Opus decode", 1.8), ("libopus from C", None)):
        row = f"{name}, 2 threads, wall (cores {busy}% busy)"
        enter(row, "ours", 1e9 / best[name, 2], goal_ratio=goal)
        enter(row, f"1 thread, {load()}", 1e9 / best[name, 1])
