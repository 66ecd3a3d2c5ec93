"""Waiting for what happens in real time, and the one failure that says "too late".

Only that failure may be put down to a machine that stood still (see ``conftest.py``):
a wrong status, word or count is wrong at any speed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 40.0
"""For anything that a machine busy with other work does late but does."""


class TooLate(AssertionError):
    """Something did not happen within its time, or took longer than it may."""


async def until(holds: Callable[[], Awaitable[T]], what: str, timeout_s: float = PATIENCE_S) -> T:
    """The first true value of ``holds()``; TooLate if there is none in time."""
    deadline_s = time.monotonic() + timeout_s
    while not (value := await holds()):
        if time.monotonic() > deadline_s:
            raise TooLate(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(0.02)
    return value


def timely(in_time: bool, what: str) -> None:
    """Assert about a duration that was measured."""
    if not in_time:
        raise TooLate(what)
