"""Silero VAD on onnxruntime, many callers in one run.

The recurrent state is per caller, the weights are shared: the states of a
batch's streams are gathered into one ``[2, B, 128]`` input, and the results
scattered back only after the run succeeded. Buffers and bindings are kept per
batch size, so a steady load allocates nothing but Python objects.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecore.engines.vad.frames import FRAME_SAMPLES, RATE_HZ, check_batch
from voicecore.engines.vad.model_file import ModelFile, find_model
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

_HIDDEN = 128
_NAME = "silero"

Floats = NDArray[np.float32]


class SileroStream:
    """One caller's recurrent state: ``state`` is float32 ``(2, 1, 128)``.

    Owned by the caller who asked for it; the engine keeps no reference and
    writes ``state`` only inside :meth:`SileroVad.score`.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Floats = np.zeros((2, 1, _HIDDEN), np.float32)

    def reset(self) -> None:
        """Forget what was heard, as at the start of a call."""
        self.state.fill(0.0)


class SileroVad:
    """Voice activity by Silero's network (v5/v6 graph, 16 kHz branch).

    ``model_path``: a ``silero_vad.onnx`` of your own; without it the file of an
    installed package is used (:mod:`voicecore.engines.vad.model_file`).

    Threads: one at a time. :meth:`score` releases the GIL while it computes, and
    a second thread that enters meanwhile gets a MisuseError.
    """

    def __init__(self, model_path: str | PathLike[str] | None = None) -> None:
        self.name = _NAME
        self._model_path = model_path
        self._runs: _Runs | None = None
        self._busy = threading.Lock()

    async def start(self) -> None:
        """Load and try the model, in a worker thread; once started, do nothing.

        Raises MissingLibraryError without onnxruntime or the model, EngineError
        (``vad_bad_model``) when the file is not a Silero VAD graph.
        """
        if self._runs is None:
            self._runs = await asyncio.to_thread(_load, self._model_path)

    def stream(self) -> SileroStream:
        """A fresh state; needs no started engine."""
        return SileroStream()

    def score(self, batch: list[tuple[Any, Floats]]) -> list[float]:
        """Speech probabilities 0..1 for ``(stream, frame)`` pairs, in order.

        Frames are float32 ``(576,)`` in [-1, 1), read and not kept. If this
        raises, no stream's state has changed: TypeError or MisuseError for a
        batch that breaks the rules (a stream twice, a wrong shape, a sample that
        is not finite), EngineError (``vad_failed``) when onnxruntime fails.
        """
        if self._runs is None:
            raise MisuseError("the VAD engine is not started: await start() first")
        if not self._busy.acquire(blocking=False):
            raise MisuseError("the VAD engine is in use by another thread")
        try:
            if not batch:
                return []
            check_batch(batch, SileroStream)
            return self._runs.of_size(len(batch)).score(batch)
        finally:
            self._busy.release()

    async def close(self) -> None:
        """Free the session; streams stay valid and can be scored after a new start."""
        self._runs = None


class _Run:
    """Bound buffers for one batch size ``B``.

    ``frames`` (B, 576), ``state_in`` and ``state_out`` (2, B, 128), ``scores``
    (B, 1): float32, C-contiguous, owned here. onnxruntime holds their addresses,
    so they are never rebound.
    """

    def __init__(self, session: Any, rate_hz: NDArray[np.int64], size: int) -> None:
        self._session = session
        self._frames: Floats = np.zeros((size, FRAME_SAMPLES), np.float32)
        self._state_in: Floats = np.zeros((2, size, _HIDDEN), np.float32)
        self._state_out: Floats = np.zeros((2, size, _HIDDEN), np.float32)
        self._scores: Floats = np.zeros((size, 1), np.float32)
        self._rate_hz = rate_hz
        binding = session.io_binding()
        for name, array in (("input", self._frames), ("state", self._state_in), ("sr", rate_hz)):
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        outputs = [output.name for output in session.get_outputs()]
        for name, array in zip(outputs, (self._scores, self._state_out), strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._binding = binding

    def score(self, batch: list[tuple[Any, Floats]]) -> list[float]:
        np.stack([frame for _, frame in batch], out=self._frames)
        # onnxruntime's ReLU swallows NaN: broken audio would pass for silence unseen.
        if not np.isfinite(self._frames).all():
            bad = int(np.isfinite(self._frames).all(axis=1).argmin())
            raise MisuseError(f"batch[{bad}] holds a sample that is not finite")
        np.concatenate([stream.state for stream, _ in batch], axis=1, out=self._state_in)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise EngineError(
                "onnxruntime failed to score a VAD batch", engine=_NAME, code="vad_failed"
            ) from error
        for index, (stream, _) in enumerate(batch):
            stream.state[:, 0] = self._state_out[:, index]
        scores: list[float] = self._scores[:, 0].tolist()
        return scores


class _Runs:
    """The session and its bound buffers, one :class:`_Run` for each size met.

    Sizes are few in practice; beyond 64 of them the oldest is freed, so odd
    loads can't pile up buffers.
    """

    _LIMIT = 64

    def __init__(self, session: Any) -> None:
        self._session = session
        self._rate_hz = np.array(RATE_HZ, np.int64)
        self._runs: dict[int, _Run] = {}

    def of_size(self, size: int) -> _Run:
        run = self._runs.get(size)
        if run is None:
            if len(self._runs) >= self._LIMIT:
                del self._runs[next(iter(self._runs))]
            run = self._runs[size] = _Run(self._session, self._rate_hz, size)
        return run


def _load(model_path: str | PathLike[str] | None) -> _Runs:
    model = find_model(model_path)
    session = _session(model)
    _check_graph(session, model)
    runs = _Runs(session)
    _try_out(runs, model)
    return runs


def _session(model: ModelFile) -> Any:
    try:
        ort = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise MissingLibraryError(
            "the Silero VAD needs onnxruntime: `pip install onnxruntime`, or choose the energy VAD",
            code="onnxruntime_missing",
        ) from error
    options = ort.SessionOptions()
    # The frame is too small to share; spinning workers would eat the cores of other calls.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model.data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _bad_model(model, "onnxruntime can't load it") from error


def _check_graph(session: Any, model: ModelFile) -> None:
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    outputs = session.get_outputs()
    if set(inputs) != {"input", "state", "sr"} or len(outputs) != 2:
        raise _bad_model(model, "it needs the inputs input, state, sr and two outputs")
    if inputs["input"][0] != "tensor(float)" or len(inputs["input"][1]) != 2:
        raise _bad_model(model, "its `input` is not a float matrix")
    state = inputs["state"][1]
    if inputs["state"][0] != "tensor(float)" or len(state) != 3 or state[::2] != [2, _HIDDEN]:
        raise _bad_model(model, f"its `state` is not float [2, batch, {_HIDDEN}]")
    if inputs["sr"] != ("tensor(int64)", []):
        raise _bad_model(model, "its `sr` is not an int64 scalar")


def _try_out(runs: _Runs, model: ModelFile) -> None:
    """Score two frames of silence: proves output shapes and batching, and warms up."""
    silence = np.zeros(FRAME_SAMPLES, np.float32)
    try:
        scores = runs.of_size(2).score([(SileroStream(), silence), (SileroStream(), silence)])
        runs.of_size(1).score([(SileroStream(), silence)])
    except EngineError as error:
        raise _bad_model(model, "it can't score a batch of two frames") from error
    if not all(0.0 <= score <= 1.0 for score in scores):
        raise _bad_model(model, "its scores are not probabilities")


def _bad_model(model: ModelFile, reason: str) -> EngineError:
    return EngineError(
        f"{model.path} is not a usable Silero VAD model: {reason}",
        engine=_NAME,
        code="vad_bad_model",
    )
