"""Sample arithmetic and G.711: loops in C per instruction set, and from Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import pytest

from kernels.compiled import SIMD, compiled
from kernels.conftest import Race
from voicecore._native import g711, pcm, simd

try:
    import audioop
except ImportError:  # gone from Python 3.13; the package audioop-lts brings it back
    audioop = None

RNG = np.random.default_rng(1)
A = RNG.integers(-8000, 8000, 320).astype(np.int16)
B = RNG.integers(-8000, 8000, 320).astype(np.int16)
OUT, FLOATS = np.empty(320, np.int16), np.empty(320, np.float32)
SAMPLES = pcm.to_float32(A)
ROUNDS = 200
GOALS_NS = {"to_float32": 25, "to_int16": 25, "mix": 50, "gain": 50, "meter": 50}


@cache
def _loops() -> ctypes.CDLL:
    return compiled("samples", *SIMD)


def _loop(isa: str, name: str, n: int, rounds: int) -> Callable[[], object]:
    run = _loops().samples_run
    arguments = (isa.encode(), name.encode(), n, rounds)
    assert run(*arguments) == 0
    return partial(run, *arguments)


@pytest.mark.parametrize("name", GOALS_NS)
@pytest.mark.parametrize("isa", simd.available())
def test_kernel(race: Race, isa: str, name: str) -> None:
    race(
        f"{name}, 320 samples, in C, {isa}",
        "ours",
        _loop(isa, name, 320, ROUNDS),
        per_call=ROUNDS,
        goal_ns=GOALS_NS[name] if isa == "avx2" else None,
        isa=isa,
    )


def _numpy_to_int16() -> object:
    return np.clip(np.rint(SAMPLES * 32768), -32768, 32767).astype(np.int16)


def _numpy_gain() -> object:
    ramp = np.linspace(1.0, 0.25, len(A), endpoint=False, dtype=np.float32)
    return np.clip(A * ramp, -32768, 32767).astype(np.int16)


def _numpy_mix() -> object:
    ramp = np.linspace(1.0, 0.25, len(A), endpoint=False, dtype=np.float32)
    return np.clip(A + B * ramp, -32768, 32767).astype(np.int16)


def _numpy_meter() -> object:
    wide = A.astype(np.int64)
    negative = A < 0
    crossings = np.count_nonzero(negative[1:] != negative[:-1])
    return int(np.abs(wide).max()), int(wide @ wide), int(crossings)


FROM_PYTHON = {
    "to_float32, 320 samples, fresh array": {
        "ours": partial(pcm.to_float32, A),
        "NumPy": lambda: A.astype(np.float32) / 32768,
    },
    "to_float32, 320 samples, own array": {
        "ours": partial(pcm.to_float32, A, FLOATS),
        "NumPy": lambda: np.multiply(A, np.float32(1 / 32768), out=FLOATS),
    },
    "to_int16, 320 samples, fresh array": {
        "ours": partial(pcm.to_int16, SAMPLES),
        "NumPy": _numpy_to_int16,
    },
    "gain ramp, 320 samples, fresh array": {
        "ours": partial(pcm.apply_gain, A, 1.0, 0.25),
        "NumPy": _numpy_gain,
    },
    "mix with gain ramp, 320 samples, fresh array": {
        "ours": partial(pcm.mix, A, B, 1.0, 0.25),
        "NumPy": _numpy_mix,
    },
    "mix with gain ramp, 320 samples, own array": {
        "ours": partial(pcm.mix, A, B, 1.0, 0.25, OUT),
        "NumPy": _numpy_mix,
    },
    "meter, 320 samples": {"ours": partial(pcm.meter, A), "NumPy": _numpy_meter},
}


@pytest.mark.parametrize(
    ("name", "who"), [(name, who) for name, runners in FROM_PYTHON.items() for who in runners]
)
def test_from_python(race: Race, name: str, who: str) -> None:
    race(name, who, FROM_PYTHON[name][who])


LAWS = ("ulaw_encode", "alaw_encode", "ulaw_decode", "alaw_decode")
WHO = ("ours", pytest.param("audioop", marks=pytest.mark.skipif(not audioop, reason="no audioop")))
SHORT = A[:160]
LONG = np.tile(A, 10)
"""3200 samples: what audioop takes for each, without what a call costs."""


def _ours(name: str, block: np.ndarray, out: np.ndarray | None = None) -> Callable[[], object]:
    function = getattr(g711, name)
    if name.endswith("encode"):
        return partial(function, block)
    codes = getattr(g711, f"{name[:4]}_encode")(block)
    return partial(function, codes) if out is None else partial(function, codes, out)


def _audioop(name: str, block: np.ndarray) -> Callable[[], object]:
    codes, pcm_bytes = getattr(g711, f"{name[:4]}_encode")(block), block.tobytes()
    if name.endswith("encode"):
        function = getattr(audioop, f"lin2{name[:4]}")
        return partial(function, pcm_bytes, 2)
    function = getattr(audioop, f"{name[:4]}2lin")
    return partial(function, codes, 2)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", LAWS)
def test_g711_from_python(race: Race, name: str, who: str) -> None:
    run = _ours(name, SHORT) if who == "ours" else _audioop(name, SHORT)
    race(f"G.711 {name}, 160 samples", who, run)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", LAWS[2:])
def test_g711_into_an_array(race: Race, name: str, who: str) -> None:
    run = _ours(name, SHORT, OUT[:160]) if who == "ours" else _audioop(name, SHORT)
    race(f"G.711 {name}, 160 samples, own array", who, run)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("isa", simd.available())
def test_g711_kernel(race: Race, name: str, isa: str, who: str) -> None:
    title = f"G.711 {name}, 160 samples, in C, {isa}"
    goal = 8.0 if isa != "sse2" else None
    if who == "ours":
        run, blocks = _loop(isa, name, 160, ROUNDS), ROUNDS
    else:
        run, blocks = _audioop(name, LONG), len(LONG) // 160
    race(title, who, run, per_call=blocks, goal_ratio=goal, isa=isa)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", LAWS)
def test_g711_of_a_long_block(race: Race, name: str, who: str) -> None:
    out = np.empty(len(LONG), np.int16)
    run = _ours(name, LONG, out) if who == "ours" else _audioop(name, LONG)
    title = f"G.711 {name}, per 160 of 3200 samples"
    race(title, who, run, per_call=len(LONG) // 160, goal_ratio=8.0)
