"""Silero VAD on onnxruntime, many callers in one run.

The recurrent state is per caller, the weights are shared: the states of a
batch's streams are gathered into one ``[2, B, 128]`` input, and the results
scattered back only after the run succeeded. Buffers and bindings are kept per
batch size, so a steady load allocates nothing but Python objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecore.engines.onnx_session import open_session
from voicecore.engines.vad.frames import frame_samples
from voicecore.engines.vad.model_file import ModelFile
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

_HIDDEN = 128
_NAME = "silero"

Floats = NDArray[np.float32]


class OnnxScorer:
    """A session and its bound buffers, one set for each batch size met.

    Sizes are few in practice; beyond 64 of them the oldest is freed, so odd
    loads can't pile up buffers. One thread at a time.
    """

    _LIMIT = 64

    def __init__(self, session: Any, rate_hz: int) -> None:
        self._session = session
        self._rate_hz = np.array(rate_hz, np.int64)
        self._runs: dict[int, _Run] = {}

    def score(self, frames: Sequence[Floats], states: Sequence[Floats]) -> list[float]:
        """Speech probabilities of float32 frames of the rate's length, shapes checked before.

        ``states`` are float32 ``(2, 1, 128)``, written only when all went well.
        Raises MisuseError for a sample that is not finite, EngineError
        (``vad_failed``) when onnxruntime fails.
        """
        size = len(frames)
        run = self._runs.get(size)
        if run is None:
            if len(self._runs) >= self._LIMIT:
                del self._runs[next(iter(self._runs))]
            run = self._runs[size] = _Run(self._session, self._rate_hz, size)
        return run.score(frames, states)


class _Run:
    """Bound buffers for one batch size ``B``.

    ``frames`` (B, samples of a frame), ``state_in`` and ``state_out`` (2, B, 128), ``scores``
    (B, 1): float32, C-contiguous, owned here. onnxruntime holds their addresses,
    so they are never rebound.
    """

    def __init__(self, session: Any, rate_hz: NDArray[np.int64], size: int) -> None:
        self._session = session
        self._frames: Floats = np.zeros((size, frame_samples(int(rate_hz))), np.float32)
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

    def score(self, frames: Sequence[Floats], states: Sequence[Floats]) -> list[float]:
        np.stack(frames, out=self._frames)
        # onnxruntime's ReLU swallows NaN: broken audio would pass for silence unseen.
        if not np.isfinite(self._frames).all():
            bad = int(np.isfinite(self._frames).all(axis=1).argmin())
            raise MisuseError(f"frames[{bad}] holds a sample that is not finite")
        np.concatenate(states, axis=1, out=self._state_in)
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise EngineError(
                "onnxruntime failed to score a VAD batch", engine=_NAME, code="vad_failed"
            ) from error
        for index, state in enumerate(states):
            state[:, 0] = self._state_out[:, index]
        scores: list[float] = self._scores[:, 0].tolist()
        return scores


def open_onnx(model: ModelFile, rate_hz: int) -> OnnxScorer:
    """Load ``model`` with onnxruntime and try it out.

    Raises MissingLibraryError without onnxruntime, EngineError (``vad_bad_model``)
    when the file is not a Silero VAD graph.
    """
    session = _open_session(model)
    _check_graph(session, model)
    scorer = OnnxScorer(session, rate_hz)
    _try_out(scorer, model, rate_hz)
    return scorer


_NO_RUNTIME = (
    "the Silero VAD needs onnxruntime here: `pip install onnxruntime`, or choose the energy VAD"
)


def _open_session(model: ModelFile) -> Any:
    try:
        return open_session(model.data, missing=_NO_RUNTIME)
    except MissingLibraryError:
        raise
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


def _try_out(scorer: OnnxScorer, model: ModelFile, rate_hz: int) -> None:
    """Score two frames of silence: proves output shapes and batching, and warms up."""
    silence = np.zeros(frame_samples(rate_hz), np.float32)
    states = np.zeros((2, 2, 1, _HIDDEN), np.float32)
    try:
        scores = scorer.score([silence, silence], [*states])
        scorer.score([silence], [states[0]])
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
