"""A turn-detection model in an ONNX file of the operator's, on onnxruntime.

Which inputs are understood: :mod:`voicecore.engines.turn.model_input`. The first
output is either one probability that the turn is over, or two logits, of "goes
on" and of "is over". Models of the Smart Turn v3 kind (log-mel [1, 80, 800] in,
one probability out) fit. Anything else is refused at start with the reason.

Runs happen one after the other on a thread of their own. At most 32 wait, since
a verdict that comes after the pause helps nobody; one more is refused.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from voicecore.engines.onnx_session import open_session
from voicecore.engines.options import LocalPath, Option
from voicecore.engines.protocols import Pcm
from voicecore.engines.turn.model_input import ModelInput, UnknownInputError, read_input
from voicecore.errors import EngineError, MissingLibraryError, MisuseError

HEARD_SAMPLES = 8 * 16_000
"""Of a longer turn, only the end is listened to."""

MAX_WAITING = 32

_NAME = "onnx"


class OnnxTurn:
    """The model in ``path``, shared by all calls; use it from one event loop.

    ``unit_variance`` brings the waveform to mean 0 and variance 1 first; None:
    as models of that input want it, yes for log-mel and no for a waveform.
    """

    name = _NAME

    def __init__(
        self,
        path: Annotated[str | PathLike[str], LocalPath("the model")],
        *,
        unit_variance: Annotated[
            bool | None, Option("scale the input to variance 1; unset: by the model's input")
        ] = None,
    ) -> None:
        self._path = Path(path)
        self._unit_variance = unit_variance
        self._model: _Model | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._jobs: set[Future[float]] = set()

    async def start(self) -> None:
        """Load the model and try it out; twice is fine.

        Raises MissingLibraryError without onnxruntime or without the file, and
        EngineError (``turn_bad_model``) for a model that isn't understood.
        """
        if self._model is not None:
            return
        executor = ThreadPoolExecutor(1, thread_name_prefix="voicecore-turn")
        try:
            self._model = await asyncio.get_running_loop().run_in_executor(
                executor, _load, self._path, self._unit_variance
            )
        except BaseException:
            executor.shutdown(wait=False)
            raise
        self._executor = executor

    async def score(self, pcm: Pcm, text: str) -> float:
        """The probability, 0 to 1, that the turn in ``pcm`` (int16 at 16 kHz) is over.

        ``text`` isn't looked at. Raises MisuseError before :meth:`start`, after
        :meth:`close` or for other audio; EngineError when the model fails
        (``turn_failed``) or too many wait (``turn_busy``).
        """
        if self._model is None or self._executor is None:
            raise MisuseError("the turn model isn't started")
        if pcm.dtype != np.int16 or pcm.ndim != 1:
            raise MisuseError(f"pcm must be int16 of one axis, got {pcm.dtype} {pcm.shape}")
        if len(self._jobs) >= MAX_WAITING:
            raise EngineError(
                "too many calls wait for the turn model", engine=_NAME, code="turn_busy"
            )
        job = self._executor.submit(self._model.score, pcm[-HEARD_SAMPLES:])
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return await asyncio.wrap_future(job)

    async def close(self) -> None:
        """Free the model once the runs that wait are done; twice is fine."""
        executor, self._executor, self._model = self._executor, None, None
        if executor is not None:
            await asyncio.to_thread(executor.shutdown)


class _Model:
    """A session and what it hears; on the executor's thread alone."""

    def __init__(self, session: Any, given: ModelInput, unit_variance: bool | None) -> None:
        self._session = session
        self._given = given
        self._unit_variance = given.mels is not None if unit_variance is None else unit_variance

    def score(self, pcm: Pcm) -> float:
        try:
            heard = self._given.prepare(pcm, self._unit_variance)
            output = self._session.run(None, {self._given.name: heard})[0]
            return _probability(np.asarray(output, np.float64).ravel())
        except Exception as error:
            why = str(error) if isinstance(error, _NoProbabilityError) else "onnxruntime failed"
            raise EngineError(f"the turn model: {why}", engine=_NAME, code="turn_failed") from error


class _NoProbabilityError(Exception):
    """The output can't be read; the text says why."""


def _probability(output: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    if output.size not in (1, 2):
        raise _NoProbabilityError(f"its output has {output.size} values, not one or two")
    if not np.isfinite(output).all():
        raise _NoProbabilityError("its output is not finite")
    if output.size == 2:
        # softmax of two; a difference beyond 700 would overflow
        difference = float(np.clip(output[0] - output[1], -700, 700))
        return float(1 / (1 + np.exp(difference)))
    if not 0 <= output[0] <= 1:
        raise _NoProbabilityError("its one output is not within 0 to 1: no probability")
    return float(output[0])


def _load(path: Path, unit_variance: bool | None) -> _Model:
    session = _open_session(path)
    try:
        model = _Model(session, read_input(session.get_inputs()), unit_variance)
        for trial in _trials():
            model.score(trial)
    except (UnknownInputError, EngineError) as error:
        raise _bad_model(path, str(error)) from error
    return model


def _trials() -> list[Pcm]:
    """Nothing, a second of noise, and all that is ever heard: proves shapes, and warms up."""
    # This generator's numbers are promised never to change.
    noise = np.random.RandomState(5).uniform(-3000, 3000, HEARD_SAMPLES).astype(np.int16)
    return [noise[:0], noise[:16_000], noise]


def _open_session(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingLibraryError(
            f"the turn model {path} can't be read ({error.strerror or type(error).__name__})",
            code="turn_model_missing",
        ) from error
    try:
        return open_session(data, missing=_NO_RUNTIME)
    except MissingLibraryError:
        raise
    except Exception as error:
        raise _bad_model(path, "onnxruntime can't load it") from error


_NO_RUNTIME = (
    "a turn model needs onnxruntime: `pip install onnxruntime`, or leave the setting empty"
)


def _bad_model(path: Path, reason: str) -> EngineError:
    return EngineError(
        f"{path} is not a usable turn model: {reason}", engine=_NAME, code="turn_bad_model"
    )
