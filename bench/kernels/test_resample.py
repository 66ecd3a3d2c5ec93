"""Resampling in blocks of 20 ms: in C against libsoxr HQ, from Python against what there is.

The rates of a call in both profiles and with AVX-512 and AVX2, whatever the machine prefers;
at the end the quality of all is measured, printed and drawn (``responses.py``).
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from kernels import responses
from kernels.compiled import SIMD, compiled
from kernels.conftest import Race
from voicecore._native import simd
from voicecore._native.resample import Resampler

BLOCKS = 50
PROFILES = ["voice", "hq"]
# (avx512, avx2) by rates and profile: how many times as fast as libsoxr HQ in C.
GOALS = {
    (48_000, 16_000, "voice"): (2.5, 1.3),
    (48_000, 16_000, "hq"): (1.4, 0.75),
    (24_000, 48_000, "voice"): (1.6, 1.0),
    (24_000, 48_000, "hq"): (1.6, 1.0),
    (8_000, 16_000, "voice"): (1.6, 1.0),
    (8_000, 16_000, "hq"): (1.6, 1.0),
    (48_000, 8_000, "voice"): (1.6, 1.0),
    (48_000, 8_000, "hq"): (1.6, 1.0),
}
OTHERS = [
    (rates[0], rates[1], profile)
    for rates in [(16_000, 48_000), (16_000, 24_000), (22_050, 24_000), (44_100, 16_000)]
    for profile in PROFILES
]
FROM_PYTHON = {"voice": {"avx512": 4.0, "avx2": 2.5}, "hq": {"avx512": 2.5, "avx2": 1.3}}
RNG = np.random.default_rng(1)
ISAS = [isa for isa in ("avx512", "avx2") if isa in simd.available()] or [simd.isa()]


def _noise(from_hz: int, dtype: str) -> np.ndarray:
    noise = RNG.normal(0, 0.1, from_hz // 50 * BLOCKS)
    return (noise * 32768).astype(np.int16) if dtype == "int16" else noise.astype(np.float32)


@functools.cache
def _library() -> ctypes.CDLL:
    library = compiled(
        "resample", *SIMD, "resample_prototype.c", "resample_design.c", "resample_fir.c"
    )
    for make in (library.ours_make, library.soxr_make_hq, library.speex_make):
        make.restype = ctypes.c_void_p
    return library


def _soxr_path() -> Path | None:
    # The wheel's extension carries libsoxr and exports it.
    spec = importlib.util.find_spec("soxr")
    folders = (spec.submodule_search_locations or []) if spec else []
    found = [path for folder in folders for path in Path(folder).glob("soxr_ext*.so")]
    return found[0] if found else None


def _runner(
    who: str, isa: str, from_hz: int, to_hz: int, profile: str, dtype: str
) -> Callable[[], object]:
    library, block = _library(), from_hz // 50
    common = math.gcd(from_hz, to_hz)
    if who == "ours":
        handle = library.ours_make(
            isa.encode(), from_hz, to_hz // common, from_hz // common, PROFILES.index(profile)
        )
    elif who == "libsoxr HQ":
        path = _soxr_path()
        if path is None or not library.soxr_load(str(path).encode()):
            pytest.skip("no python-soxr with libsoxr in it")
        handle = library.soxr_make_hq(from_hz, to_hz, dtype == "int16")
    else:
        if not library.speex_load(b"libspeexdsp.so.1"):
            pytest.skip("no libspeexdsp")
        handle = library.speex_make(from_hz, to_hz, 5)
    name = {"ours": "ours", "libsoxr HQ": "soxr"}.get(who, "speex")
    run, pcm = getattr(library, f"{name}_run_{dtype}"), _noise(from_hz, dtype)
    state, samples = ctypes.c_void_p(handle), pcm.ctypes.data_as(ctypes.c_void_p)

    def step(_alive: object = pcm) -> None:
        run(state, samples, block, BLOCKS)

    return step


def _macs(from_hz: int, to_hz: int, profile: str) -> int | None:
    """Multiply-adds of a block that aren't with a zero; None for two stages."""
    if max(from_hz, to_hz) == 6 * min(from_hz, to_hz):
        return None
    held = Resampler(from_hz, to_hz, profile=profile).delay_ms * from_hz / 1000
    return round(to_hz // 50 * (2 * held + 1))


def _cases() -> list[tuple[str, str, int, int, str, str]]:
    cases = []
    for rates, _ in [*GOALS.items(), *((other, None) for other in OTHERS)]:
        for isa in ISAS:
            cases += [(who, isa, *rates, "float32") for who in ("ours", "libsoxr HQ")]
        if rates[:2] == (48_000, 16_000):
            cases.append(("speexdsp q5", ISAS[0], *rates, "float32"))
            cases += [(who, ISAS[0], *rates, "int16") for who in ("ours", "libsoxr HQ")]
    return cases


@pytest.mark.parametrize(("who", "isa", "from_hz", "to_hz", "profile", "dtype"), _cases())
def test_in_c(
    race: Race, who: str, isa: str, from_hz: int, to_hz: int, profile: str, dtype: str
) -> None:
    goals = dict(zip(("avx512", "avx2"), GOALS.get((from_hz, to_hz, profile), ()), strict=False))
    race(
        f"resample {from_hz} to {to_hz} {profile}, {dtype}, {isa}",
        who,
        _runner(who, isa, from_hz, to_hz, profile, dtype),
        per_call=BLOCKS,
        goal_ratio=goals.get(isa),
        macs=_macs(from_hz, to_hz, profile),
        isa=isa,
    )


# -- from Python: bytes in, bytes out ------------------------------------------------------


def _ours(from_hz: int, to_hz: int, profile: str) -> Callable[[bytes], bytes]:
    resampler = Resampler(from_hz, to_hz, profile=profile)
    return lambda data: resampler.process(np.frombuffer(data, np.int16)).tobytes()


def _soxr(from_hz: int, to_hz: int, _profile: str) -> Callable[[bytes], bytes]:
    soxr = pytest.importorskip("soxr")
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="int16", quality="HQ")
    return lambda data: stream.resample_chunk(np.frombuffer(data, np.int16)).tobytes()


def _av(from_hz: int, to_hz: int, _profile: str) -> Callable[[bytes], bytes]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=to_hz)

    def step(data: bytes) -> bytes:
        frame = av.AudioFrame.from_ndarray(np.frombuffer(data, np.int16)[None], "s16", "mono")
        frame.sample_rate = from_hz
        return b"".join(part.to_ndarray().tobytes() for part in resampler.resample(frame))

    return step


def _scipy(from_hz: int, to_hz: int, _profile: str) -> Callable[[bytes], bytes]:
    signal = pytest.importorskip("scipy.signal")
    common = math.gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common

    def step(data: bytes) -> bytes:
        block = np.frombuffer(data, np.int16).astype(np.float32)
        return signal.resample_poly(block, up, down).astype(np.int16).tobytes()

    return step


def _audioop(from_hz: int, to_hz: int, _profile: str) -> Callable[[bytes], bytes]:
    audioop = pytest.importorskip("audioop")
    state = [None]

    def step(data: bytes) -> bytes:
        made, state[0] = audioop.ratecv(data, 2, 1, from_hz, to_hz, state[0])
        return made

    return step


PEERS = {
    "ours": _ours,
    "python-soxr HQ": _soxr,
    "PyAV": _av,
    "scipy by blocks": _scipy,
    "audioop": _audioop,
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rates", [(48_000, 16_000), (8_000, 16_000)], ids=str)
@pytest.mark.parametrize("who", PEERS)
def test_from_python(race: Race, who: str, rates: tuple[int, int], profile: str) -> None:
    blocks = [part.tobytes() for part in np.split(_noise(rates[0], "int16"), BLOCKS)]
    convert = PEERS[who](*rates, profile)

    def step() -> None:
        for block in blocks:
            convert(block)

    race(
        f"resample {rates[0]} to {rates[1]} {profile}, bytes to bytes",
        who,
        step,
        per_call=BLOCKS,
        goal_ratio=FROM_PYTHON[profile].get(simd.isa()) if rates[0] == 48_000 else None,
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_into_an_array(race: Race, profile: str) -> None:
    resampler, out = Resampler(48_000, 16_000, profile=profile), np.empty(320, np.int16)
    block = _noise(48_000, "int16")[:960]
    name = f"resample 48000 to 16000 {profile}, array to given array"
    race(name, "ours", lambda: resampler.process(block, out))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("rates", [(48_000, 16_000), (44_100, 16_000)], ids=str)
def test_construction(race: Race, rates: tuple[int, int], profile: str) -> None:
    """Without one of the same parameters to share coefficients with."""
    race(
        f"resampler {rates[0]} to {rates[1]} {profile}, made",
        "ours",
        lambda: Resampler(*rates, profile=profile),
        goal_ns=1e6,
    )


def test_quality_measured_and_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        responses.show()
