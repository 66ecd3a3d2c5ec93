"""Silero: ours alone and in batches, hot and cold, against onnxruntime's own single calls.

The loops in C run made-up weights of the true shapes, the ones through the engine the true
ones; onnxruntime runs as the engine would run it (one thread, bound buffers).
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.compiled import SIMD, compiled
from kernels.conftest import Race
from voicecore._native import simd
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.silero import BackendChoice, SileroVad
from voicecore.engines.vad.silero_onnx import OnnxScorer, open_onnx

MACS = 354_000
"""Of one frame at 16 kHz, padding left out; the transform comes on top."""
COLD_NETWORKS = 16
"""Used in turn: 19 MB of weights, so each has left the second-level cache meanwhile."""
GOALS = {"avx512": (9.0, 15.0), "avx2": (6.0, 8.0)}
"""Times onnxruntime's single call: one stream, and a frame of a batch of 32."""
ISAS = [isa for isa in simd.available() if isa in GOALS]

Floats = NDArray[np.float32]


@functools.cache
def library() -> ctypes.CDLL:
    found = compiled("silero", *SIMD, "silero_pack.c")
    found.silero_make.restype = ctypes.c_void_p
    found.silero_make.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    found.silero_run.restype = ctypes.c_double
    found.silero_run.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    return found


def loop(isa: str, batch: int, rounds: int, *, rate_hz: int = 16_000, networks: int = 1) -> Any:
    nets = library().silero_make(isa.encode(), rate_hz, networks)
    assert nets
    run = library().silero_run
    return lambda: run(nets, batch, rounds)


def frames(count: int, rate_hz: int = 16_000) -> list[Floats]:
    random = np.random.default_rng(1)
    return [random.normal(0, 0.05, rate_hz * 36 // 1000).astype(np.float32) for _ in range(count)]


def states(count: int) -> list[Floats]:
    return [np.zeros((2, 1, 128), np.float32) for _ in range(count)]


@functools.cache
def onnx(rate_hz: int = 16_000, copy: int = 0) -> OnnxScorer:
    pytest.importorskip("onnxruntime")
    return open_onnx(find_model(), rate_hz)


def bound(scorer: OnnxScorer, size: int, rate_hz: int) -> Callable[[], object]:
    scorer.score(frames(size, rate_hz), states(size))
    run = scorer._runs[size]
    return lambda: run._session.run_with_iobinding(run._binding)


def onnx_run(size: int, rate_hz: int = 16_000) -> Callable[[], object]:
    """The run alone, without what Python does before and after."""
    return bound(onnx(rate_hz), size, rate_hz)


def onnx_cold() -> Callable[[], object]:
    copies = (onnx(copy=copy) for copy in range(1, COLD_NETWORKS + 1))
    turn = itertools.cycle([bound(copy, 1, 16_000) for copy in copies])
    return lambda: next(turn)()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("who", ["ours", "onnxruntime single"])
def test_one_stream(race: Race, isa: str, who: str) -> None:
    name, goal = f"silero: one stream, {isa}, C loop", GOALS[isa][0]
    if who == "ours":
        race(name, who, loop(isa, 1, 32), per_call=32, goal_ratio=goal, macs=MACS, isa=isa)
    else:
        race(name, who, onnx_run(1), isa=isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("who", ["ours", "onnxruntime single"])
def test_batch_of_32(race: Race, isa: str, who: str) -> None:
    name, goal = f"silero: batch of 32, a frame, {isa}, C loop", GOALS[isa][1]
    if who == "ours":
        race(name, who, loop(isa, 32, 2), per_call=64, goal_ratio=goal, macs=MACS, isa=isa)
    else:
        race(name, who, onnx_run(1), isa=isa)


@pytest.mark.parametrize("who", ["ours", "onnxruntime batched"])
def test_batches_of_both(race: Race, who: str) -> None:
    """For the record: what onnxruntime gains by batching the stock model."""
    name = "silero: batch of 32, a frame, both batched"
    if who == "ours":
        race(name, who, loop(simd.isa(), 32, 2), per_call=64, macs=MACS)
    else:
        race(name, who, onnx_run(32), per_call=32)


@pytest.mark.parametrize("batch", [1, 8, 32])
@pytest.mark.parametrize("who", ["ours", "onnxruntime single"])
def test_cold(race: Race, batch: int, who: str) -> None:
    """The weights lie in the third-level cache, as after a pause of 8 ms."""
    name = f"silero: weights cold, batch of {batch}, a frame"
    if who == "ours":
        rounds = COLD_NETWORKS
        ours = loop(simd.isa(), batch, rounds, networks=rounds)
        race(name, who, ours, per_call=batch * rounds)
    else:
        race(name, who, onnx_cold())


@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("who", ["ours", "onnxruntime single"])
def test_8_khz(race: Race, batch: int, who: str) -> None:
    name = f"silero: 8 kHz, batch of {batch}, a frame"
    if who == "ours":
        race(name, who, loop(simd.isa(), batch, 4, rate_hz=8000), per_call=batch * 4)
    else:
        race(name, who, onnx_run(1, 8000))


@functools.cache
def engine(choice: BackendChoice) -> SileroVad:
    vad = SileroVad(backend=choice)
    asyncio.run(vad.start())
    return vad


@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize(("who", "choice"), [("ours", "native"), ("onnxruntime", "onnxruntime")])
def test_engine(race: Race, size: int, who: str, choice: BackendChoice) -> None:
    """``SileroVad.score`` as the batcher calls it: lists, checks and all."""
    vad = engine(choice)
    batch = [(vad.stream(), frame) for frame in frames(size)]
    goal = GOALS.get(simd.isa(), (None, None))[size > 1] if who == "ours" and size == 1 else None
    name = f"silero: engine from Python, batch of {size}, a frame"
    race(name, who, lambda: vad.score(batch), per_call=size, goal_ratio=goal)


@pytest.mark.parametrize("who", ["ours", "webrtcvad"])
def test_webrtcvad(race: Race, who: str) -> None:
    """For reference: a detector of another kind (energy in bands), 30 ms at 16 kHz."""
    name = "silero: one frame, beside webrtcvad"
    if who == "ours":
        race(name, who, loop(simd.isa(), 1, 32), per_call=32)
        return
    webrtcvad = pytest.importorskip("webrtcvad")
    vad, pcm = webrtcvad.Vad(2), (frames(1)[0][:480] * 32768).astype(np.int16).tobytes()
    race(name, who, lambda: vad.is_speech(pcm, 16_000))
