"""Waiting for an answer that may not come, on a loop that may be busy."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

_T = TypeVar("_T")

_TURNS = 8
"""From a socket that can be read to a coroutine that has its answer it takes four or so."""


async def in_time(work: Awaitable[_T], seconds: float) -> _T:
    """What ``work`` gives; TimeoutError if that takes longer.

    If it was this loop that had no time, the answer may lie there unread when the time is
    up: then some turns of the loop are waited for. ``work`` is cancelled with us, and
    awaited in any case.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        for _ in range(_TURNS):
            if task.done():
                return task.result()
            await asyncio.sleep(0)
        raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
