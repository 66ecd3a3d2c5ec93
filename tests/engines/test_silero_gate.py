"""Who may compute Silero: our kernels when they prove right, else onnxruntime."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from voicecore._native import simd
from voicecore.engines.vad import silero_gate
from voicecore.engines.vad.model_file import ModelFile, find_model
from voicecore.engines.vad.onnx_file import read_onnx
from voicecore.engines.vad.silero import SileroVad
from voicecore.engines.vad.silero_gate import TOLERANCE, NotProvenError, prove, trial_audio
from voicecore.engines.vad.silero_graph import Arrays, UnknownGraphError, read_weights
from voicecore.engines.vad.silero_recorded import RECORDED
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

RATES = (16_000, 8000)


@pytest.fixture(scope="module")
def model() -> ModelFile:
    try:
        return find_model()
    except MissingLibraryError as error:
        pytest.skip(str(error))


@pytest.fixture
def without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


@pytest.fixture
def own_file(model: ModelFile, tmp_path: Path) -> Path:
    """The known graph with one weight changed: unknown by its hash."""
    path = tmp_path / "own.onnx"
    constants = read_weights(model.data, 16_000)
    old = constants["conv0_bias"].tobytes()
    assert model.data.count(old) == 1
    path.write_bytes(model.data.replace(old, (constants["conv0_bias"] + 0.01).tobytes()))
    return path


async def started(vad: SileroVad) -> SileroVad:
    await vad.start()
    return vad


def backend_of(vad: SileroVad) -> tuple[str, str, str]:
    assert vad.backend is not None
    return vad.backend


@pytest.mark.parametrize("rate_hz", RATES)
async def test_the_known_file_is_served_natively(rate_hz: int, model: ModelFile) -> None:
    pytest.importorskip("onnxruntime")
    name, isa, reason = backend_of(await started(SileroVad(rate_hz=rate_hz)))
    assert (name, isa) == ("native", simd.isa())
    assert reason.startswith("equals onnxruntime on 128 frames")


async def test_one_line_of_the_log_says_who_serves(
    model: ModelFile, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="voicecore.engines.vad.silero"):
        await started(SileroVad())
    (record,) = caplog.records
    assert f"native {simd.isa()}" in record.getMessage()


@pytest.mark.parametrize("rate_hz", RATES)
def test_the_recorded_scores_are_onnxruntimes(rate_hz: int, model: ModelFile) -> None:
    pytest.importorskip("onnxruntime")
    from voicecore.engines.vad.silero_onnx import open_onnx

    scorer, state = open_onnx(model, rate_hz), np.zeros((2, 1, 128), np.float32)
    context = rate_hz * 4 // 1000
    samples = np.concatenate([np.zeros(context, np.float32), trial_audio(rate_hz)])
    frames = np.lib.stride_tricks.sliding_window_view(samples, 9 * context)[:: 8 * context]
    theirs = [scorer.score([frame], [state])[0] for frame in frames]
    assert np.abs(np.subtract(theirs, RECORDED[rate_hz])).max() < 1e-4
    assert min(theirs) < 0.05, "the trial must hold silence"
    assert max(theirs) > 0.95, "the trial must hold speech"
    assert sum(0.2 < score < 0.8 for score in theirs) >= 6, "and doubt"


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.usefixtures("without_onnxruntime")
async def test_without_onnxruntime_the_known_file_is_held_to_its_record(
    rate_hz: int, model: ModelFile
) -> None:
    vad = await started(SileroVad(rate_hz=rate_hz))
    name, _, reason = backend_of(vad)
    assert name == "native"
    assert "gave for this known file" in reason
    assert 0 <= vad.score([(vad.stream(), np.zeros(rate_hz * 36 // 1000, np.float32))])[0] < 0.5


@pytest.mark.usefixtures("without_onnxruntime")
async def test_without_onnxruntime_an_unknown_file_is_refused(own_file: Path) -> None:
    with pytest.raises(MissingLibraryError, match=r"pip install onnxruntime.*unknown") as caught:
        await SileroVad(own_file).start()
    assert caught.value.code == "onnxruntime_missing"


async def test_an_unknown_file_of_the_same_graph_proves_itself(own_file: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert backend_of(await started(SileroVad(own_file)))[0] == "native"


async def test_wrong_sums_are_found_and_onnxruntime_serves(
    model: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")

    def wrong(data: bytes, rate_hz: int) -> Arrays:
        arrays = read_weights(data, rate_hz)
        return arrays | {"conv1_bias": arrays["conv1_bias"] + np.float32(0.05)}

    monkeypatch.setattr(silero_gate, "read_weights", wrong)
    path = tmp_path / "copy.onnx"
    # A byte behind the last field's end that readers step over: another hash, so that no
    # engine of another test shares its packed weights.
    path.write_bytes(model.data + b"\x98\x06\x01")
    vad = await started(SileroVad(path))
    name, isa, reason = backend_of(vad)
    assert (name, isa) == ("onnxruntime", "")
    assert "differs from onnxruntime by" in reason
    assert vad.max_batch == 8
    with pytest.raises(EngineError, match="differs from onnxruntime") as caught:
        await SileroVad(path, backend="native").start()
    assert caught.value.code == "vad_not_proven"


@pytest.mark.usefixtures("without_onnxruntime")
def test_wrong_sums_are_found_without_onnxruntime_too(
    model: ModelFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    louder = {rate: tuple(min(p + 0.002, 1) for p in RECORDED[rate]) for rate in RATES}
    monkeypatch.setattr(silero_gate, "RECORDED", louder)
    with pytest.raises(NotProvenError, match="differs"):
        prove(model, 16_000)


async def test_a_backend_can_be_forced(model: ModelFile) -> None:
    pytest.importorskip("onnxruntime")
    frame = trial_audio(16_000)[2000:2576]
    scores = []
    for choice in ("native", "onnxruntime"):
        vad = await started(SileroVad(backend=choice))  # type: ignore[arg-type]
        assert backend_of(vad)[0] == choice
        scores += vad.score([(vad.stream(), frame)])
    assert abs(scores[0] - scores[1]) < TOLERANCE


@pytest.mark.parametrize("wrong", [{"backend": "cuda"}, {"rate_hz": 48_000}])
def test_other_choices_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(MisuseError, match="wanted"):
        SileroVad(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"input", b"inpus", "inputs are"),
        (b"Sigmoid", b"Softmax", "operations are"),
        (b"hidden_size", b"hidden_sizf", "LSTM has other attributes"),
        (b"rnn.weight_ih", b"rnn.weight_hi", "0 constants named"),
        (b"Equal", b"Equam", "does not begin with a choice"),
    ],
)
def test_another_graph_is_refused(model: ModelFile, old: bytes, new: bytes, sentence: str) -> None:
    data = model.data.replace(old, new)
    assert data != model.data
    with pytest.raises(UnknownGraphError, match=sentence):
        read_weights(data, 16_000)


def replaced(data: bytes, old: np.ndarray, new: np.ndarray) -> bytes:
    assert data.count(old.tobytes()) == 1
    return data.replace(old.tobytes(), new.astype(old.dtype).tobytes())


@pytest.mark.parametrize("rate_hz", RATES)
def test_another_transform_is_refused(model: ModelFile, rate_hz: int) -> None:
    side = "then_branch" if rate_hz == 16_000 else "else_branch"
    (choice,) = (node for node in read_onnx(model.data).nodes if node.op == "If")
    basis = next(
        node.attributes["value"]
        for node in choice.attributes[side].nodes
        if node.outputs[0].endswith("forward_basis_buffer")
    )
    for change in (basis * 1.001, np.roll(basis, 1, axis=2), basis * np.nan):
        with pytest.raises(UnknownGraphError, match="not Fourier"):
            read_weights(replaced(model.data, basis, change), rate_hz)
    other = 24_000 - rate_hz
    assert read_weights(replaced(model.data, basis, basis * 2), other), "the other branch is whole"


def test_what_is_no_onnx_file() -> None:
    with pytest.raises(UnknownGraphError, match="can't be read"):
        read_weights(b"not a graph", 16_000)


@pytest.mark.parametrize("known", [True, False])
async def test_an_onnxruntime_that_fails_is_no_witness(
    known: bool, own_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ort = pytest.importorskip("onnxruntime")

    def fail(*args: object, **more: object) -> None:
        raise RuntimeError("not today")

    monkeypatch.setattr(ort, "InferenceSession", fail)
    vad = SileroVad(None if known else own_file)
    if known:
        assert "known file" in backend_of(await started(vad))[2]
        return
    with pytest.raises(EngineError) as caught:
        await vad.start()
    assert caught.value.code == "vad_bad_model"
