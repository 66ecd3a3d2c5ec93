"""What a task leaves behind when it is over."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any


def let_go(task: asyncio.Future[Any]) -> None:
    """Take a cancelled task's error out of it; a done-callback for tasks that others hold.

    The CancelledError's traceback holds the task's frames, and they hold whoever
    holds the task: a knot that only the garbage collector undoes. Whoever asks
    for the error gets the task's own and leaves it none.
    """
    if task.cancelled():
        with contextlib.suppress(asyncio.CancelledError):
            task.exception()
