"""Collect the VAD frames of many calls and score them together.

Every call submits its frames as they become due; the first one schedules a
round, which takes the oldest frame of every stream that has any and scores them
in a single batch. How long the first one waits for company is the owner's to say
(``gather``): alone it costs three to four times as much as in a batch of eight,
since a network's weights leave the cache between two rounds. A
stream with more frames gets the next in the round after, one loop iteration
later, so frames of a stream are scored in order and the loop breathes between
rounds.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from voicecore.engines.protocols import VadEngine, VadStream
from voicecore.errors import EngineError, MisuseError, VoicecoreError

_LOG = logging.getLogger(__name__)

_MAX_BATCH = 8


class ScoreSink(Protocol):
    """Who wants the score of one frame. Exactly one of these is called, once.

    Neither is called for a frame that was dropped or whose stream was forgotten.
    What they raise is logged and harms no other call. Both may submit, forget or
    close.
    """

    def scored(self, probability: float) -> None:
        """Take the speech probability, 0..1, of the submitted frame."""

    def failed(self, error: VoicecoreError) -> None:
        """Learn that this frame could not be scored; later frames go on."""


class _Pending(NamedTuple):
    stream: VadStream
    frame: NDArray[np.float32]
    sink: ScoreSink


class VadBatcher:
    """Scores the frames of all calls together.

    ``call_soon(function)`` must run ``function()`` later on the same thread
    (``loop.call_soon``); ``gather(function)`` too, but may take its time: it
    schedules the first round after idleness (default: ``call_soon``). Bounds:
    ``max_pending`` frames wait per stream (default 32, about a second), beyond
    that its oldest is dropped and counted; at most ``max_batch`` streams share a
    round, the others come first in the next. A round is one call of
    ``engine.score`` and holds the loop for as long; so by default the engine says
    how many (its ``max_batch``, looked at each round), and 8 if it says nothing.

    One thread, the event loop's. Raises MisuseError for bounds below 1.
    """

    def __init__(
        self,
        engine: VadEngine,
        call_soon: Callable[[Callable[[], None]], object],
        *,
        gather: Callable[[Callable[[], None]], object] | None = None,
        max_pending: int = 32,
        max_batch: int | None = None,
    ) -> None:
        if max_pending < 1 or (max_batch is not None and max_batch < 1):
            raise MisuseError(
                f"max_pending and max_batch are {max_pending} and {max_batch}, wanted 1 or more"
            )
        self._engine = engine
        self._call_soon = call_soon
        self._gather = gather or call_soon
        self._max_pending = max_pending
        self._max_batch = max_batch
        # Keyed by identity: a provider's stream need not be hashable. The entries
        # hold the stream itself, so an id can't be reused while its key is here.
        self._waiting: dict[int, deque[_Pending]] = {}
        self._round: dict[int, _Pending] = {}
        self._scheduled = False
        self._closed = False
        self.dropped = 0
        """Frames dropped because their stream had too many waiting."""
        self.rounds = 0
        """Batches scored so far."""
        self.frames = 0
        """Frames scored so far, the failed ones included."""

    @property
    def pending(self) -> int:
        """Frames that wait to be scored, over all streams."""
        return sum(len(queue) for queue in self._waiting.values())

    def submit(self, stream: VadStream, frame: NDArray[np.float32], sink: ScoreSink) -> None:
        """Queue ``frame`` (float32 ``(576,)``, kept until scored) and tell ``sink`` later.

        Raises MisuseError after :meth:`close`.
        """
        if self._closed:
            raise MisuseError("the VAD batcher is closed")
        queue = self._waiting.setdefault(id(stream), deque())
        if len(queue) >= self._max_pending:
            queue.popleft()
            self.dropped += 1
        queue.append(_Pending(stream, frame, sink))
        if not self._scheduled:
            self._scheduled = True
            self._gather(self._run_round)

    def forget(self, stream: VadStream) -> None:
        """Drop all that ``stream`` has waiting; its sinks hear nothing more."""
        self._waiting.pop(id(stream), None)
        self._round.pop(id(stream), None)

    def close(self) -> None:
        """Drop all frames of all streams. The engine is the owner's to close."""
        self._closed = True
        self._waiting.clear()
        self._round.clear()

    def _run_round(self) -> None:
        self._scheduled = False
        self._take_round()
        # Before any sink runs: a submission by one of them must not schedule twice.
        if self._waiting:
            self._scheduled = True
            self._call_soon(self._run_round)
        if not self._round:
            return
        entries = list(self._round.items())
        self.rounds += 1
        self.frames += len(entries)
        for (key, entry), result in zip(entries, self._score(entries), strict=True):
            # A sink may have ended another call of this round meanwhile.
            if self._round.pop(key, None) is not None:
                _deliver(entry.sink, result)

    def _take_round(self) -> None:
        limit = self._max_batch or getattr(self._engine, "max_batch", _MAX_BATCH)
        for key in list(self._waiting)[:limit]:
            queue = self._waiting.pop(key)
            self._round[key] = queue.popleft()
            if queue:
                self._waiting[key] = queue  # to the end: others go first next time

    def _score(self, entries: list[tuple[int, _Pending]]) -> list[float | VoicecoreError]:
        batch = [(entry.stream, entry.frame) for _, entry in entries]
        try:
            return [*self._call_engine(batch)]
        except VoicecoreError as error:
            if len(batch) == 1:
                return [error]
        # One caller's bad frame must not cost the others theirs. Safe to repeat,
        # since an engine that raises has changed no stream.
        results: list[float | VoicecoreError] = []
        for pair in batch:
            try:
                results += self._call_engine([pair])
            except VoicecoreError as error:
                results.append(error)
        return results

    def _call_engine(self, batch: list[tuple[Any, NDArray[np.float32]]]) -> list[float]:
        try:
            scores = self._engine.score(batch)
        except VoicecoreError:
            raise
        except Exception as error:
            _LOG.exception("VAD engine failed on a batch of %d", len(batch))
            raise EngineError(
                f"the VAD engine raised {type(error).__name__}",
                engine=self._engine.name,
                code="vad_failed",
            ) from error
        if len(scores) != len(batch):
            raise EngineError(
                f"the VAD engine gave {len(scores)} scores for {len(batch)} frames",
                engine=self._engine.name,
                code="vad_bad_result",
            )
        return scores


def _deliver(sink: ScoreSink, result: float | VoicecoreError) -> None:
    try:
        if isinstance(result, VoicecoreError):
            sink.failed(result)
        else:
            sink.scored(result)
    except Exception:
        _LOG.exception("VAD score sink raised")
