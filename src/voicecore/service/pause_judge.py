"""The turn-detection model's word on a pause, for one call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.units import HEAR_RATE_HZ
from voicecore.engines.protocols import TurnEngine
from voicecore.errors import EngineError
from voicecore.transport.plane import MediaPlane
from voicecore.transport.tasks import let_go

_LOG = logging.getLogger(__name__)

MOST_AUDIO_S = 8
"""So much of the turn the model hears; the caller's ring must hold it."""

_TIMEOUT_S = 1.0
"""Later than any wait it could shorten."""


class PauseJudge:
    """Asks the model about one pause at a time; a new one takes the place of the last.

    A model that fails or is late says nothing: words and pauses decide as without it.
    """

    def __init__(
        self, engine: TurnEngine, plane: MediaPlane, report: Callable[[ev.Event], None]
    ) -> None:
        self._engine = engine
        self._plane = plane
        self._report = report
        self._task: asyncio.Task[None] | None = None

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What still runs."""
        return [] if self._task is None or self._task.done() else [self._task]

    def judge(self, action: act.JudgePause) -> None:
        """Ask about the pause."""
        self.close()
        self._task = asyncio.get_running_loop().create_task(self._ask(action), name="pause-judge")
        self._task.add_done_callback(let_go)

    def close(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()

    async def _ask(self, action: act.JudgePause) -> None:
        ring = self._plane.ring
        end = ring.position
        oldest = max(end - ring.capacity + HEAR_RATE_HZ // 10, 0)
        start = max(action.from_sample, end - MOST_AUDIO_S * HEAR_RATE_HZ, oldest)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                pcm = ring.copy(start, end - start)
                score = await self._engine.score(pcm, action.text)
        except TimeoutError:
            _LOG.warning("the turn-detection model took longer than %g s", _TIMEOUT_S)
        except EngineError as error:
            _LOG.warning("the turn-detection model failed: %s", error.code)
        else:
            self._report(ev.TurnScored(action.turn, action.sample, min(max(score, 0.0), 1.0)))
