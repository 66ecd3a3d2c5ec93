"""The native Silero: against onnxruntime on speech, for every instruction set; and misuse."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native.silero_worker import frames_of
from voicecore._native import simd
from voicecore._native.silero import SileroScorer, SileroWeights, shapes
from voicecore._native.speech_gate import SpeechGate
from voicecore.engines.vad.model_file import ModelFile, find_model
from voicecore.errors import MissingLibraryError, MisuseError

Floats = NDArray[np.float32]
ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("VOICECORE_CASES", ROOT.parent / "shared" / "cases"))
SPEECH = {
    16_000: [
        "vad_silero/tests__data__test.wav",
        "speech_lhotse/libri__libri-1088-134315-0000.wav",
        "plc_ms/clean.wav",
        "resample_webrtc/audio_tiny16.wav",
    ],
    8000: ["speech_aiortc_demo/demo-instruct.wav", "vad_webrtcvad/leak-test.wav"],
}
# A tenth of what is allowed (1e-3): how much of it the kernels are expected to use.
TOLERANCE = 1e-4


def recording(path: Path) -> Floats:
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return pcm.astype(np.float32) / 32768.0


@pytest.fixture(scope="module")
def model() -> ModelFile:
    try:
        return find_model()
    except MissingLibraryError as error:
        pytest.skip(str(error))


@pytest.fixture
def audio(rng: np.random.Generator, speech_like: Callable[..., Any]) -> dict[str, Floats]:
    """Named ``<rate>_<what>``; recorded speech only where there is any."""
    found: dict[str, Floats] = {}
    for rate_hz, names in SPEECH.items():
        loudness = np.repeat(10.0 ** rng.uniform(-5, 0, 60), rate_hz // 50)
        found[f"{rate_hz}_noise"] = rng.normal(0, 0.3, len(loudness)) * loudness
        found[f"{rate_hz}_vowel"] = speech_like(rate_hz, 2.0, 150.0) / 32768
        found[f"{rate_hz}_full"] = np.sign(rng.normal(size=rate_hz))
        found[f"{rate_hz}_silence"] = np.zeros(rate_hz)
        for index, name in enumerate(names):
            if (CASES / name).is_file():
                found[f"{rate_hz}_speech{index}"] = recording(CASES / name)
    return {name: x.clip(-1, 1).astype(np.float32) for name, x in found.items()}


def oracle(model: ModelFile, audio: dict[str, Floats]) -> dict[str, list[float]]:
    """Plain runs of onnxruntime, one frame at a time."""
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    scores = {}
    for name, samples in audio.items():
        rate_hz = int(name.split("_")[0])
        state, scores[name] = np.zeros((2, 1, 128), np.float32), []
        for frame in frames_of(samples, rate_hz):
            score, state = session.run(
                None, {"input": frame[None], "state": state, "sr": np.array(rate_hz, np.int64)}
            )
            scores[name].append(float(score[0, 0]))
    return scores


def edges(scores: list[float], threshold: float) -> list[tuple[int, int]]:
    """What the service would decide from these scores."""
    gate = SpeechGate(threshold=threshold)
    return [
        edge
        for index, score in enumerate(scores)
        for edge in gate.push(score, index * 512, index * 512 + 512, [1.0])
    ]


@pytest.mark.isa
def test_every_instruction_set_against_onnxruntime(
    model: ModelFile, audio: dict[str, Floats], tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    np.savez(tmp_path / "audio.npz", **audio)  # type: ignore[arg-type]
    worker = Path(__file__).with_name("silero_worker.py")
    running = {
        isa: subprocess.Popen(
            [sys.executable, str(worker), str(tmp_path / "audio.npz"), str(tmp_path / isa)],
            env=os.environ | {"VOICECORE_ISA": isa, "PYTHONPATH": str(ROOT / "src")},
        )
        for isa in simd.available()
    }
    expected = oracle(model, audio)
    for isa, process in running.items():
        assert process.wait(60) == 0
        ours = np.load(tmp_path / f"{isa}.npz")
        assert ours["isa"] == isa
        for name, theirs in expected.items():
            scores = ours[name].tolist()
            assert len(scores) == len(theirs) > 20
            worst = float(np.abs(np.subtract(scores, theirs)).max())
            assert worst < TOLERANCE, f"{isa} {name}: off by {worst}"
            assert scores == ours[f"batch_{name}"].tolist(), f"{isa} {name}: company matters"
            for threshold in (0.3, 0.5, 0.7):
                assert edges(scores, threshold) == edges(theirs, threshold), f"{isa} {name}"
    heard = [score for name, scores in expected.items() if "speech" in name for score in scores]
    assert not heard or (min(heard) < 0.05 and max(heard) > 0.95), "speech and pauses"


def made_up(rng: np.random.Generator, rate_hz: int) -> dict[str, Floats]:
    return {
        name: rng.normal(0, 0.08, shape).astype(np.float32)
        for name, shape in shapes(rate_hz).items()
    }


@pytest.fixture(params=[16_000, 8000])
def scorer(request: pytest.FixtureRequest, rng: np.random.Generator) -> SileroScorer:
    return SileroScorer(SileroWeights(request.param, made_up(rng, request.param)))


def new_state() -> Floats:
    return np.zeros((2, 1, 128), np.float32)


def some_frames(scorer: SileroScorer, rng: np.random.Generator, count: int) -> list[Floats]:
    size = scorer.weights.frame_samples
    return [rng.uniform(-0.3, 0.3, size).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("size", [*range(1, 10), 16, 33, 65, 130])
def test_company_does_not_matter(scorer: SileroScorer, rng: np.random.Generator, size: int) -> None:
    """To the bit: scores and states of a batch equal those of each stream alone."""
    alone = [new_state() for _ in range(size)]
    batch = [new_state() for _ in range(size)]
    for _ in range(2):
        frames = some_frames(scorer, rng, size)
        single = [scorer.score([f], [s])[0] for f, s in zip(frames, alone, strict=True)]
        order = rng.permutation(size)
        scores = scorer.score([frames[i] for i in order], [batch[i] for i in order])
        assert [single[i] for i in order] == scores
    assert np.array_equal(alone, batch)
    assert any(state.any() for state in alone)


def test_a_zeroed_state_starts_over(scorer: SileroScorer, rng: np.random.Generator) -> None:
    state = new_state()
    frames = some_frames(scorer, rng, 5)
    first = [scorer.score([frame], [state])[0] for frame in frames]
    assert len(set(first)) == 5
    state.fill(0.0)
    assert [scorer.score([frame], [state])[0] for frame in frames] == first


def test_frames_are_only_read_and_may_be_strided(
    scorer: SileroScorer, rng: np.random.Generator
) -> None:
    (frame,) = some_frames(scorer, rng, 1)
    kept = frame.copy()
    expected = scorer.score([frame], [new_state()])
    assert np.array_equal(frame, kept)
    frame.flags.writeable = False
    strided = np.repeat(frame, 3)[::3]
    assert scorer.score([frame], [new_state()]) == expected
    assert scorer.score([strided], [new_state()]) == expected


def test_nothing_to_score(scorer: SileroScorer) -> None:
    assert scorer.score([], []) == []


BAD_FRAMES: list[tuple[Callable[[int], object], type[Exception], str]] = [
    (lambda n: np.zeros(n - 1, np.float32), MisuseError, "wanted"),
    (lambda n: np.zeros((1, n), np.float32), MisuseError, "wanted"),
    (lambda n: np.zeros(n), TypeError, "float64"),
    (lambda n: np.zeros(n, ">f4"), TypeError, "float32"),
    (lambda n: [0.0] * n, TypeError, "list"),
    (lambda n: np.full(n, np.nan, np.float32), MisuseError, "not finite"),
    (lambda n: np.full(n, -np.inf, np.float32), MisuseError, "not finite"),
    (lambda n: np.eye(1, n, n - 1, dtype=np.float32)[0] / np.float32(0), MisuseError, "finite"),
]
BAD_STATES: list[tuple[object, type[Exception], str]] = [
    (np.zeros((2, 1, 127), np.float32), MisuseError, "127"),
    (np.zeros((2, 1, 128)), TypeError, "float64"),
    (np.zeros((2, 1, 256), np.float32)[:, :, ::2], MisuseError, "contiguous"),
    (np.broadcast_to(np.zeros((2, 1, 1), np.float32), (2, 1, 128)), MisuseError, "writable"),
    (None, TypeError, "NoneType"),
]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize(("make", "error", "sentence"), BAD_FRAMES)
def test_a_bad_frame_is_refused_and_no_state_changes(
    scorer: SileroScorer,
    rng: np.random.Generator,
    make: Callable[[int], object],
    error: type[Exception],
    sentence: str,
) -> None:
    states = [new_state() for _ in range(3)]
    good = some_frames(scorer, rng, 2)
    bad: Any = make(scorer.weights.frame_samples)
    with pytest.raises(error, match=sentence) as caught:
        scorer.score([good[0], bad, good[1]], states)
    assert "frames[1]" in str(caught.value)
    assert not np.any(states)


@pytest.mark.parametrize(("bad", "error", "sentence"), BAD_STATES)
def test_a_bad_state_is_refused(
    scorer: SileroScorer,
    rng: np.random.Generator,
    bad: Any,
    error: type[Exception],
    sentence: str,
) -> None:
    good = new_state()
    with pytest.raises(error, match=sentence) as caught:
        scorer.score(some_frames(scorer, rng, 2), [good, bad])
    assert "states[1]" in str(caught.value)
    assert not good.any()


def test_one_state_twice_or_missing_is_refused(
    scorer: SileroScorer, rng: np.random.Generator
) -> None:
    state = new_state()
    with pytest.raises(MisuseError, match="one frame"):
        scorer.score(some_frames(scorer, rng, 3), [state, new_state(), state])
    with pytest.raises(MisuseError, match="2 frames and 1 states"):
        scorer.score(some_frames(scorer, rng, 2), [state])
    assert not state.any()


def test_a_second_caller_is_refused(scorer: SileroScorer, rng: np.random.Generator) -> None:
    frames = some_frames(scorer, rng, 2)
    seen: list[BaseException] = []

    def intruding() -> Iterator[Floats]:
        try:
            scorer.score([frames[1]], [new_state()])
        except MisuseError as error:
            seen.append(error)
        yield frames[0]

    scores = scorer.score(intruding(), [new_state()])
    assert [error.code for error in seen] == ["in_use"]  # type: ignore[attr-defined]
    assert scores == scorer.score([frames[0]], [new_state()]), "the first one goes on unharmed"


def test_weights_are_checked(rng: np.random.Generator) -> None:
    good = made_up(rng, 16_000)
    name = "conv1_weight"
    for bad, error, sentence in (
        (good | {name: good[name][:, :, :2]}, MisuseError, r"shape \(64, 128, 2\)"),
        (good | {name: good[name].astype(float)}, TypeError, "float64"),
        (good | {name: good[name].tolist()}, TypeError, "list"),
        (good | {name: good[name] / np.float32(np.inf) * np.nan}, MisuseError, "not finite"),
        ({key: good[key] for key in good if key != name}, MisuseError, f"lack {name}"),
    ):
        with pytest.raises(error, match=sentence):
            SileroWeights(16_000, bad)
    with pytest.raises(MisuseError, match="8000 or 16000"):
        SileroWeights(48_000, good)
    with pytest.raises(MisuseError, match=r"wanted \(128, 65, 3\)"):
        SileroWeights(8000, good)
    with pytest.raises(TypeError):
        SileroScorer(None)  # type: ignore[arg-type]


def test_weights_outlive_their_arrays(rng: np.random.Generator) -> None:
    arrays = made_up(rng, 8000)
    first, second = SileroWeights(8000, arrays), SileroWeights(8000, arrays)
    frame = rng.uniform(-0.3, 0.3, 288).astype(np.float32)
    expected = SileroScorer(first).score([frame], [new_state()])
    for array in arrays.values():
        array.fill(0.0)
    scorer = SileroScorer(second)
    del first, second, arrays
    assert scorer.score([frame], [new_state()]) == expected
