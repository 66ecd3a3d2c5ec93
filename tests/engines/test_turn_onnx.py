"""Turn models in ONNX files, small ones written here and run by onnxruntime."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines import onnx_bytes as b
from native.mel_oracle import scaled, whole_clip
from voicecore.engines.protocols import TurnEngine
from voicecore.engines.turn.onnx import MAX_WAITING, OnnxTurn
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

pytest.importorskip("onnxruntime")

FLOAT, INT64 = 1, 7
RATE_HZ = 16_000
SEED = 404

Pcm = NDArray[np.int16]
WriteModel = Callable[..., Path]


def ints(name: str, *values: int) -> bytes:
    return b.attribute(name, b"".join(b.number(8, v) for v in values) + b.number(20, 7))


def int1(name: str, value: int) -> bytes:
    return b.attribute(name, b.number(3, value) + b.number(20, 2))


def mean_of(source: str, *axes: int, out: str = "mean") -> bytes:
    return b.node("ReduceMean", [source], [out], ints("axes", *axes), int1("keepdims", 0))


def runnable(nodes: list[bytes], inputs: list[bytes], constants: dict[str, Any]) -> bytes:
    """A model with the output ``out``, of an opset whose ReduceMean has attributes."""
    held = []
    for name, given in constants.items():
        array = np.atleast_1d(given)
        whole = array.dtype.kind == "i"
        kind, as_type = (INT64, "<i8") if whole else (FLOAT, "<f4")
        held.append(b.tensor(name, array.astype(as_type), kind))
    graph = b.graph(nodes, held, inputs) + b.part(2, "g") + b.part(12, b.part(1, "out"))
    return b.model(graph) + b.part(8, b.part(1, "") + b.number(2, 13))


POWER = [
    b.node("Mul", ["x", "x"], ["square"]),
    mean_of("square", 1),
    b.node("Add", ["mean", "soft"], ["sum"]),
]
"""mean and sum: power, and that plus a constant."""
SHARE = b.node("Div", ["mean", "sum"], ["out"])
SOFT = {"soft": 0.01}


def waveform(size: int | str = "n", batch: int | str = 1) -> list[bytes]:
    return [b.value("x", FLOAT, [batch, size])]


def share_of_power(wave: NDArray[np.float64]) -> float:
    power = float((wave**2).mean())
    return power / (power + SOFT["soft"])


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


@pytest.fixture
def write_model(tmp_path: Path) -> WriteModel:
    def write(
        nodes: list[bytes], inputs: list[bytes], constants: dict[str, Any] | None = None
    ) -> Path:
        path = tmp_path / "turn.onnx"
        path.write_bytes(runnable(nodes, inputs, constants or {}))
        return path

    return write


def noise(seconds: float, loudness: float = 3000) -> Pcm:
    print(f"seed {SEED}")
    rng = np.random.default_rng(SEED)
    return rng.normal(0, loudness, round(seconds * RATE_HZ)).clip(-32768, 32767).astype(np.int16)


def padded(pcm: Pcm, samples: int) -> NDArray[np.float64]:
    wave = pcm[-samples:] / 32768
    return np.concatenate([np.zeros(samples - len(wave)), wave])


async def scores(path: Path, *pcm: Pcm, unit_variance: bool | None = None) -> list[float]:
    engine = OnnxTurn(path, unit_variance=unit_variance)
    assert isinstance(engine, TurnEngine)
    await engine.start()
    await engine.start()
    try:
        return [await engine.score(each, "some text") for each in pcm]
    finally:
        await engine.close()
        await engine.close()


async def test_a_waveform_of_any_length(write_model: WriteModel) -> None:
    path = write_model([*POWER, SHARE], waveform("n", "batch"), SOFT)
    short, long = noise(0.5), np.concatenate([noise(1, 9000), noise(8, 2000)])
    found = await scores(path, short, long, noise(0.01), noise(0)[:0])
    assert found[0] == pytest.approx(share_of_power(short / 32768), rel=1e-4)
    assert found[1] == pytest.approx(share_of_power(long[-8 * RATE_HZ :] / 32768), rel=1e-4)
    assert found[2] == pytest.approx(share_of_power(padded(noise(0.01), 1600)), rel=1e-4)
    assert found[3] == 0


async def test_a_waveform_of_fixed_length_is_padded_in_front(write_model: WriteModel) -> None:
    # The last quarter of a second is heard alone: its place in the input is known.
    last = b.node("Slice", ["x", "from", "to", "axis"], ["end"])
    nodes = [last, b.node("Mul", ["end", "end"], ["square"]), *POWER[1:], SHARE]
    where = {"from": 3 * RATE_HZ - 4000, "to": 3 * RATE_HZ, "axis": 1}
    path = write_model(nodes, waveform(3 * RATE_HZ), {**SOFT, **where})
    for seconds in (0.5, 3, 5):
        pcm = noise(seconds)
        (found,) = await scores(path, pcm)
        assert found == pytest.approx(share_of_power(pcm[-4000:] / 32768), rel=1e-4)


async def test_unit_variance_is_the_operators_choice(write_model: WriteModel) -> None:
    path = write_model([*POWER, SHARE], waveform(), SOFT)
    quiet, loud = noise(1, 100), noise(1, 6000)
    for found in await scores(path, quiet, loud, unit_variance=True):
        assert found == pytest.approx(1 / 1.01, rel=1e-3)
    plain = await scores(path, quiet, loud)
    assert plain[0] < 0.01 < 0.5 < plain[1]


@pytest.mark.parametrize(
    ("shape", "mels", "frames"),
    [
        ([1, 80, 800], 80, 800),
        (["batch", 80, "frames"], 80, None),
        ([1, 800, 80], 80, 800),
        ([1, "frames", 128], 128, None),
        ([1, 40, 100], 40, 100),
        ([1, 80, 80], 80, 80),
    ],
)
@pytest.mark.parametrize("unit_variance", [None, False])
async def test_log_mel_is_whispers(
    write_model: WriteModel,
    shape: list[int | str],
    mels: int,
    frames: int | None,
    unit_variance: bool | None,
) -> None:
    """The mean over frames of one mel, against the features by definition."""
    mel_axis = 1 if shape[1] == mels else 2
    time_axis = 3 - mel_axis
    pick = (np.arange(mels) == 7).astype(float)
    nodes = [
        mean_of("x", time_axis, out="by_mel"),
        b.node("Mul", ["by_mel", "pick"], ["picked"]),
        b.node("ReduceSum", ["picked"], ["logit"], int1("keepdims", 0)),
        b.node("Sigmoid", ["logit"], ["out"]),
    ]
    path = write_model(nodes, [b.value("x", FLOAT, shape)], {"pick": pick})
    pcm = noise(1.5)
    (found,) = await scores(path, pcm, unit_variance=unit_variance)
    wave = padded(pcm, len(pcm) if frames is None else 160 * frames)
    if unit_variance is None:
        wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    features = scaled(whole_clip(wave, mels))
    assert found == pytest.approx(sigmoid(features.mean(axis=0)[7]), abs=2e-4)


async def test_two_logits(write_model: WriteModel) -> None:
    nodes = [*POWER, b.node("Concat", ["sum", "mean"], ["out"], int1("axis", 0))]
    pcm = noise(1)
    (found,) = await scores(write_model(nodes, waveform(), {"soft": 0.7}), pcm)
    assert found == pytest.approx(sigmoid(-0.7), abs=1e-5)


async def test_logits_far_apart_are_certain(write_model: WriteModel) -> None:
    nodes = [*POWER, b.node("Concat", ["sum", "mean"], ["out"], int1("axis", 0))]
    for soft, certain in ((5e4, 0.0), (-5e4, 1.0)):
        path = write_model(nodes, waveform(), {"soft": soft})
        assert await scores(path, noise(1)) == [pytest.approx(certain, abs=1e-9)]


IDENTITY = [mean_of("x", 1, out="m"), b.node("Sigmoid", ["m"], ["out"])]


@pytest.mark.parametrize(
    ("nodes", "inputs", "reason"),
    [
        (IDENTITY, [*waveform(), b.value("mask", FLOAT, [1, "n"])], "one input"),
        ([mean_of("x", 0, out="out")], [b.value("x", FLOAT, ["n"])], "shape"),
        (IDENTITY, [b.value("x", FLOAT, [1, 1, 80, 800])], "shape"),
        (IDENTITY, waveform("n", 2), "shape"),
        (IDENTITY, waveform(80), "0.005 s, not 0.1 to 30 s"),
        (IDENTITY, waveform(40 * RATE_HZ), "40 s, not 0.1 to 30 s"),
        (IDENTITY, [b.value("x", FLOAT, [1, 77, 800])], "no axis"),
        (IDENTITY, [b.value("x", FLOAT, [1, 80, 5])], "0.05 s, not"),
        (IDENTITY, [b.value("x", FLOAT, [1, 80, 4000])], "40 s, not"),
        ([b.node("Cast", ["x"], ["y"], int1("to", FLOAT)), mean_of("y", 1, out="out")],
         [b.value("x", INT64, [1, "n"])], "int64"),
        ([b.node("Identity", ["x"], ["out"])], waveform(), "values, not one or two"),
        ([mean_of("x", 1, out="m"), b.node("Add", ["m", "far"], ["out"])], waveform(), "within 0"),
        ([mean_of("x", 1, out="m"), b.node("Log", ["m"], ["out"])], waveform(), "not finite"),
        ([b.node("MatMul", ["x", "x"], ["out"])], waveform(), "onnxruntime failed"),
        ([b.node("NoSuchThing", ["x"], ["out"])], waveform(), "can't load"),
    ],
)  # fmt: skip
async def test_what_is_not_understood_is_refused_with_the_reason(
    write_model: WriteModel, nodes: list[bytes], inputs: list[bytes], reason: str
) -> None:
    engine = OnnxTurn(write_model(nodes, inputs, {"far": 3.0}))
    with pytest.raises(EngineError, match=reason) as raised:
        await engine.start()
    assert raised.value.code == "turn_bad_model"
    with pytest.raises(MisuseError, match="isn't started"):
        await engine.score(noise(1), "")
    await engine.close()


async def test_bytes_that_are_no_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "turn.onnx"
    path.write_bytes(os.urandom(100))
    with pytest.raises(EngineError, match="can't load"):
        await OnnxTurn(path).start()


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingLibraryError, match="nowhere") as raised:
        await OnnxTurn(tmp_path / "nowhere.onnx").start()
    assert raised.value.code == "turn_model_missing"


async def test_an_output_that_is_no_probability_costs_one_score(write_model: WriteModel) -> None:
    """The trials at start are noise to 3,000 of 32,768; louder, this model says more than 1."""
    nodes = [*POWER, b.node("Mul", ["sum", "gain"], ["out"])]
    engine = OnnxTurn(write_model(nodes, waveform(), {"soft": 0.0, "gain": 20.0}))
    await engine.start()
    with pytest.raises(EngineError, match="no probability") as raised:
        await engine.score(noise(1, 12_000), "")
    assert raised.value.code == "turn_failed"
    assert 0 < await engine.score(noise(1, 1000), "") < 1
    await engine.close()


@pytest.mark.parametrize("pcm", [np.zeros(1600, np.float32), np.zeros((1, 1600), np.int16)])
async def test_other_audio_is_refused(write_model: WriteModel, pcm: Pcm) -> None:
    with pytest.raises(MisuseError, match="int16"):
        await scores(write_model([*POWER, SHARE], waveform(), SOFT), pcm)


async def test_the_loop_runs_on_and_too_many_are_refused(write_model: WriteModel) -> None:
    # Slow enough for all to ask before the first is done.
    work = [b.node("Sin", [f"x{i}" if i else "x"], [f"x{i + 1}"]) for i in range(20)]
    nodes = [*work, b.node("Mul", ["x20", "x20"], ["square"]), *POWER[1:], SHARE]
    engine = OnnxTurn(write_model(nodes, waveform(), SOFT))
    await engine.start()
    pcm = noise(8)
    asked = [asyncio.create_task(engine.score(pcm, "")) for _ in range(MAX_WAITING + 5)]
    await asyncio.sleep(0)
    assert not all(task.done() for task in asked), "the first turn of the loop ran the model"
    asked[1].cancel()
    done = await asyncio.gather(*asked, return_exceptions=True)
    scored = [each for each in done if isinstance(each, float)]
    busy = [each.code for each in done if isinstance(each, EngineError)]
    assert len(set(scored)) == 1
    assert isinstance(done[1], asyncio.CancelledError)
    assert set(busy) == {"turn_busy"}
    assert len(scored) + len(busy) + 1 == len(asked)
    assert await engine.score(pcm, "") == scored[0]
    await engine.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("voicecore-turn")]


async def test_closing_lets_those_who_wait_finish(write_model: WriteModel) -> None:
    engine = OnnxTurn(write_model([*POWER, SHARE], waveform(), SOFT))
    await engine.start()
    asked = [asyncio.create_task(engine.score(noise(2), "")) for _ in range(5)]
    await asyncio.sleep(0)
    await engine.close()
    assert len(await asyncio.gather(*asked)) == 5
    with pytest.raises(MisuseError, match="isn't started"):
        await engine.score(noise(1), "")
