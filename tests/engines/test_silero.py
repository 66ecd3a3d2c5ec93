"""SileroVad against plain onnxruntime runs, on recorded speech and on noise."""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
import wave
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voicecore.engines.protocols import VadEngine, VadStream
from voicecore.engines.vad.model_file import find_model
from voicecore.engines.vad.silero import SileroStream, SileroVad
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

pytest.importorskip("onnxruntime")

Floats = NDArray[np.float32]
TOLERANCE = 1e-5
SEED = 20_240_611


def frames_of(samples: Floats) -> Floats:
    """(n, 576): 64 of context (zeros at first) and 512 new samples each."""
    count = len(samples) // 512
    padded = np.concatenate([np.zeros(64, np.float32), samples[: count * 512]])
    return np.lib.stride_tricks.sliding_window_view(padded, 576)[::512].astype(np.float32)


@pytest.fixture(scope="module")
def speech() -> Floats:
    root = Path(__file__).resolve().parents[2]
    cases = Path(os.environ.get("VOICECORE_CASES", root.parent / "shared" / "cases"))
    path = cases / "vad_silero" / "tests__data__test.wav"
    if not path.is_file():
        pytest.skip(f"no recorded speech: {path} is absent (set VOICECORE_CASES)")
    with wave.open(str(path)) as recording:
        assert (recording.getframerate(), recording.getnchannels()) == (16_000, 1)
        pcm = np.frombuffer(recording.readframes(recording.getnframes()), np.int16)
    return frames_of(pcm.astype(np.float32) / 32768.0)


@pytest.fixture(scope="module")
def noise() -> Floats:
    print(f"seed {SEED}")
    random = np.random.default_rng(SEED)
    loudness = np.repeat(10.0 ** random.uniform(-4, 0, 150), 512)
    samples = random.normal(0.0, 0.3, loudness.size) * loudness
    return frames_of(samples.clip(-1.0, 0.99997).astype(np.float32))


@pytest.fixture(scope="module", params=["native", "onnxruntime"])
def vad(request: pytest.FixtureRequest) -> Iterator[SileroVad]:
    """One engine for all: each test has streams of its own, and no loop is kept."""
    engine = SileroVad(backend=request.param)
    try:
        asyncio.run(engine.start())
    except MissingLibraryError as error:
        pytest.skip(str(error))
    yield engine
    asyncio.run(engine.close())


@cache
def plain_session() -> Any:
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(find_model().data, options, providers=["CPUExecutionProvider"])


@cache
def oracle_of(shape: tuple[int, int], data: bytes) -> list[float]:
    session, frames = plain_session(), np.frombuffer(data, np.float32).reshape(shape)
    state = np.zeros((2, 1, 128), np.float32)
    scores = []
    for frame in frames:
        score, state = session.run(
            None, {"input": frame[None], "state": state, "sr": np.array(16_000, np.int64)}
        )
        scores.append(float(score[0, 0]))
    return scores


def oracle(frames: Floats) -> list[float]:
    """Plain runs of one frame each, nothing shared with the engine but the file."""
    return oracle_of(frames.shape, frames.tobytes())


def test_it_is_a_vad_engine() -> None:
    engine = SileroVad()
    assert isinstance(engine, VadEngine)
    assert isinstance(engine.stream(), VadStream)


def test_single_stream_equals_direct_runs_on_speech(vad: SileroVad, speech: Floats) -> None:
    frames = speech[:600]
    stream = vad.stream()
    ours = [vad.score([(stream, frame)])[0] for frame in frames]
    assert np.abs(np.subtract(ours, oracle(frames))).max() < TOLERANCE
    assert max(ours) > 0.9, "speech must be heard, or the context is wrong"
    assert min(ours) < 0.1, "the pauses must be seen"


def test_batched_speech_equals_single_runs(vad: SileroVad, speech: Floats) -> None:
    """Six callers hear different parts and join one after the other."""
    parts = [speech[start : start + 70] for start in range(0, 900, 150)]
    streams = [vad.stream() for _ in parts]
    scores: list[list[float]] = [[] for _ in parts]
    for step in range(70 + 10 * len(parts)):
        live = [i for i, p in enumerate(parts) if 0 <= step - 10 * i < len(p)]
        batch = [(streams[i], parts[i][step - 10 * i]) for i in live]
        for i, score in zip(live, vad.score(batch), strict=True):
            scores[i].append(score)
    for part, ours in zip(parts, scores, strict=True):
        assert np.abs(np.subtract(ours, oracle(part))).max() < TOLERANCE


def test_batched_noise_equals_single_runs(vad: SileroVad, noise: Floats) -> None:
    """Random subsets in random order at each step: no state is mixed up."""
    random = np.random.default_rng(SEED + 1)
    streams = [vad.stream() for _ in range(9)]
    done = [0] * len(streams)
    scores: list[list[float]] = [[] for _ in streams]
    offsets = [7 * i for i in range(len(streams))]
    while min(done) < 60:
        chosen = random.permutation(len(streams))[: random.integers(1, len(streams) + 1)]
        batch = [(streams[i], noise[offsets[i] + done[i]]) for i in chosen if done[i] < 60]
        live = [i for i in chosen if done[i] < 60]
        for i, score in zip(live, vad.score(batch), strict=True):
            scores[i].append(score)
            done[i] += 1
    for offset, ours in zip(offsets, scores, strict=True):
        assert np.abs(np.subtract(ours, oracle(noise[offset : offset + 60]))).max() < TOLERANCE


def test_reset_starts_over(vad: SileroVad, noise: Floats) -> None:
    stream = vad.stream()
    first = [vad.score([(stream, frame)])[0] for frame in noise[:5]]
    stream.reset()
    assert [vad.score([(stream, frame)])[0] for frame in noise[:5]] == first


def test_empty_batch(vad: SileroVad) -> None:
    assert vad.score([]) == []


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (np.zeros(512, np.float32), MisuseError),
        (np.zeros((1, 576), np.float32), MisuseError),
        (np.zeros(576, np.float64), MisuseError),
        (np.full(576, np.nan, np.float32), MisuseError),
        (np.full(576, np.inf, np.float32), MisuseError),
        ([0.0] * 576, TypeError),
    ],
    ids=["no context", "2-D", "float64", "nan", "inf", "list"],
)
def test_bad_frame_is_refused_and_no_state_changes(
    vad: SileroVad, noise: Floats, frame: Any, error: type[Exception]
) -> None:
    good, bad = vad.stream(), vad.stream()
    vad.score([(good, noise[0]), (bad, noise[1])])
    before = good.state.copy(), bad.state.copy()
    with pytest.raises(error):
        vad.score([(good, noise[2]), (bad, frame)])
    assert np.array_equal(good.state, before[0])
    assert np.array_equal(bad.state, before[1])


async def test_frames_at_8_khz_are_shorter(vad: SileroVad) -> None:
    telephone = SileroVad(rate_hz=8000, backend=vad.backend.name)  # type: ignore[arg-type,union-attr]
    await telephone.start()
    stream = telephone.stream()
    assert telephone.score([(stream, np.zeros(288, np.float32))])[0] < 0.5
    with pytest.raises(MisuseError, match=r"wanted float32 \(288,\)"):
        telephone.score([(stream, np.zeros(576, np.float32))])


def test_repeated_or_foreign_stream_is_refused(vad: SileroVad, noise: Floats) -> None:
    stream = vad.stream()
    with pytest.raises(MisuseError, match="repeats a stream"):
        vad.score([(stream, noise[0]), (stream, noise[1])])
    with pytest.raises(TypeError, match="SileroStream"):
        vad.score([(object(), noise[0])])


async def test_scoring_wants_a_started_engine(noise: Floats) -> None:
    engine = SileroVad()
    with pytest.raises(MisuseError, match="start"):
        engine.score([(engine.stream(), noise[0])])
    await engine.close()


async def test_close_and_start_again_keeps_streams(vad: SileroVad, noise: Floats) -> None:
    stream, other = vad.stream(), vad.stream()
    vad.score([(stream, noise[0]), (other, noise[0])])
    expected = vad.score([(other, noise[1])])
    await vad.close()
    with pytest.raises(MisuseError, match="start"):
        vad.score([(stream, noise[1])])
    await vad.start()
    assert vad.score([(stream, noise[1])]) == expected


def test_a_second_thread_is_refused(vad: SileroVad, noise: Floats) -> None:
    """The stream's state property is a hook that runs inside score()."""
    seen: list[BaseException] = []

    def intrude() -> None:
        try:
            vad.score([(vad.stream(), noise[0])])
        except BaseException as error:
            seen.append(error)

    class Hooked(SileroStream):
        __slots__ = ()

        @property
        def state(self) -> Floats:  # type: ignore[override]
            if not seen:
                thread = threading.Thread(target=intrude)
                thread.start()
                thread.join()
            return np.zeros((2, 1, 128), np.float32)

        @state.setter
        def state(self, value: Floats) -> None:
            pass

    vad.score([(Hooked(), noise[0])])
    assert [type(error) for error in seen] == [MisuseError]
    assert "another thread" in str(seen[0])


async def test_configured_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match="not a usable Silero VAD model") as caught:
        await SileroVad(path).start()
    assert caught.value.code == "vad_bad_model"
    assert caught.value.engine == "silero"


async def test_configured_copy_of_the_known_model(tmp_path: Path, noise: Floats) -> None:
    try:
        data = find_model().data
    except MissingLibraryError as error:
        pytest.skip(str(error))
    path = tmp_path / "copy.onnx"
    path.write_bytes(data)
    engine = SileroVad(path)
    await engine.start()
    assert 0.0 <= engine.score([(engine.stream(), noise[0])])[0] <= 1.0
    await engine.close()
