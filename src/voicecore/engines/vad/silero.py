"""Silero VAD, many callers in one batch: on kernels of our own, else on onnxruntime.

Which of them serves is decided at start by
:mod:`voicecore.engines.vad.silero_gate`, and told in :attr:`SileroVad.backend`.
The recurrent state is per caller, the weights are shared.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from os import PathLike
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from voicecore._native import simd
from voicecore._native.silero import SileroScorer, SileroWeights
from voicecore.engines.options import LocalPath, Option
from voicecore.engines.vad.backend import Backend
from voicecore.engines.vad.frames import RATE_HZ, check_batch, frame_samples
from voicecore.engines.vad.model_file import ModelFile, find_model
from voicecore.engines.vad.silero_gate import NotProvenError, prove
from voicecore.engines.vad.silero_onnx import open_onnx
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

_LOG = logging.getLogger(__name__)

_HIDDEN = 128
_NAME = "silero"

Floats = NDArray[np.float32]
BackendChoice = Literal["auto", "native", "onnxruntime"]

_FRAMES_IN_HALF_A_MS = {"avx512": 64, "avx2": 32}
_ONNX_FRAMES = 8
"""About a millisecond; larger batches cost hardly less a frame."""


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


class _Scorer(Protocol):
    def score(self, frames: Sequence[Floats], states: Sequence[Floats]) -> list[float]: ...


class SileroVad:
    """Voice activity by Silero's network (v5/v6 graph).

    ``model_path``: a ``silero_vad.onnx`` of your own; without it the file of an
    installed package is used (:mod:`voicecore.engines.vad.model_file`).
    ``backend``: ``"auto"`` takes our kernels if they prove right for the file and
    onnxruntime otherwise; ``"native"`` and ``"onnxruntime"`` take that or fail.
    ``rate_hz``: 16000 (frames of 576 samples), or 8000 (288: 32 of context, then
    256 new ones). Raises MisuseError for other choices.

    Threads: one at a time. :meth:`score` releases the GIL while it computes, and
    a second thread that enters meanwhile gets a MisuseError.
    """

    def __init__(
        self,
        model_path: Annotated[
            str | PathLike[str] | None, LocalPath("a silero_vad.onnx of your own")
        ] = None,
        *,
        backend: Annotated[BackendChoice, Option("what computes it")] = "auto",
        rate_hz: int = RATE_HZ,
    ) -> None:
        if backend not in ("auto", "native", "onnxruntime"):
            raise MisuseError(f"backend is {backend!r}, wanted auto, native or onnxruntime")
        if rate_hz not in (8000, 16_000):
            raise MisuseError(f"rate_hz is {rate_hz}, wanted 8000 or 16000")
        self.name = _NAME
        self.rate_hz = rate_hz
        self.backend: Backend | None = None
        """Who computes; None before :meth:`start`."""
        self._model_path = model_path
        self._choice = backend
        self._samples = frame_samples(rate_hz)
        self._scorer: _Scorer | None = None
        self._busy = threading.Lock()

    @staticmethod
    def missing(model_path: str | PathLike[str] | None = None, **options: object) -> list[str]:
        """A sentence if there is no model; a path of one's own shows its faults at the start."""
        try:
            if model_path is None:
                find_model()
        except MissingLibraryError as error:
            return [str(error)]
        return []

    async def start(self) -> None:
        """Load and try the model, in a worker thread; once started, do nothing.

        Raises MissingLibraryError without the model, or without onnxruntime where
        it is needed; EngineError (``vad_bad_model``) when the file is not a Silero
        VAD graph, ``vad_not_proven`` when ``native`` was asked for and may not serve.
        """
        if self._scorer is None:
            self._scorer, self.backend = await asyncio.to_thread(
                _load, self._model_path, self._choice, self.rate_hz
            )

    @property
    def native_weights(self) -> SileroWeights | None:
        """What media threads need to score by themselves; None: they can't, ask :meth:`score`."""
        scorer = self._scorer
        if isinstance(scorer, SileroScorer) and self.rate_hz == RATE_HZ:
            return scorer.weights
        return None

    @property
    def max_batch(self) -> int:
        """Frames that are best scored at once: more would hold the event loop too long."""
        if self.backend is None or self.backend.name != "native":
            return _ONNX_FRAMES
        return _FRAMES_IN_HALF_A_MS.get(self.backend.isa, 12)

    def stream(self) -> SileroStream:
        """A fresh state; needs no started engine."""
        return SileroStream()

    def score(self, batch: list[tuple[Any, Floats]]) -> list[float]:
        """Speech probabilities 0..1 for ``(stream, frame)`` pairs, in order.

        Frames are float32 ``(576,)`` (at 8 kHz ``(288,)``) in [-1, 1), read and not
        kept. If this raises, no stream's state has changed: TypeError or
        MisuseError for a batch that breaks the rules (a stream twice, a wrong
        shape, a sample that is not finite), EngineError (``vad_failed``) when
        onnxruntime fails.
        """
        scorer = self._scorer
        if scorer is None:
            raise MisuseError("the VAD engine is not started: await start() first")
        if not self._busy.acquire(blocking=False):
            raise MisuseError("the VAD engine is in use by another thread")
        try:
            if not batch:
                return []
            if not isinstance(scorer, SileroScorer):
                check_batch(batch, SileroStream, self._samples)
                return scorer.score([f for _, f in batch], [s.state for s, _ in batch])
            try:
                # It checks all that can be wrong, in a tenth of the time.
                return scorer.score([f for _, f in batch], [s.state for s, _ in batch])
            except (AttributeError, TypeError, MisuseError):
                check_batch(batch, SileroStream, self._samples)
                raise
        finally:
            self._busy.release()

    async def close(self) -> None:
        """Free the weights; streams stay valid and can be scored after a new start."""
        self._scorer = None


def _load(
    model_path: str | PathLike[str] | None, choice: BackendChoice, rate_hz: int
) -> tuple[_Scorer, Backend]:
    model = find_model(model_path)
    scorer, backend = _choose(model, choice, rate_hz)
    _LOG.info("Silero VAD at %d Hz: %s %s, %s", rate_hz, backend.name, backend.isa, backend.reason)
    return scorer, backend


def _choose(model: ModelFile, choice: BackendChoice, rate_hz: int) -> tuple[_Scorer, Backend]:
    if choice == "onnxruntime":
        return open_onnx(model, rate_hz), Backend("onnxruntime", "", "it was asked for")
    try:
        weights, reason = prove(model, rate_hz)
    except NotProvenError as refused:
        if choice == "native":
            raise EngineError(
                f"the native Silero VAD may not serve {model.path}: {refused}",
                engine=_NAME,
                code="vad_not_proven",
            ) from refused
        return _fall_back(model, rate_hz, refused)
    return SileroScorer(weights), Backend("native", simd.isa(), reason)


def _fall_back(model: ModelFile, rate_hz: int, refused: NotProvenError) -> tuple[_Scorer, Backend]:
    reason = f"the native kernels may not serve: {refused}"
    try:
        scorer = open_onnx(model, rate_hz)
    except MissingLibraryError as error:
        raise MissingLibraryError(f"{error} ({reason})", code=error.code) from error
    _LOG.warning("Silero VAD falls back on onnxruntime, several times as slow")
    return scorer, Backend("onnxruntime", "", reason)
