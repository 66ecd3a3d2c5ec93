"""What every answer's work has in common: its tasks, and silence once it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from voicecore.core import events as ev
from voicecore.transport.tasks import let_go

Report = Callable[[ev.Event], None]


class AnswerWork:
    """The work for one turn's reply. Belongs to the event loop and to one call.

    Everything that happens is told to ``report``; after :meth:`cancel` nothing is.
    """

    def __init__(self, turn: int, report: Report) -> None:
        self.turn = turn
        self.tasks: list[asyncio.Task[None]] = []
        self._report = report
        self._cancelled = False

    def cancel(self) -> None:
        """Stop all that runs; the owner awaits :attr:`tasks`."""
        self._cancelled = True
        for task in self.tasks:
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(let_go)
        self.tasks.append(task)

    def _tell(self, event: ev.Event) -> None:
        if not self._cancelled:
            self._report(event)
