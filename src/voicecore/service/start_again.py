"""Starting what needs somebody else's server, which may be away for a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from voicecore.errors import EngineError

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0

_AWAY = frozenset(
    {
        "unreachable",
        "timeout",
        "rate_limited",
        "http_status",
        "closed",
        "half_open",
        "refused",
        "backlog",
        "down",
    }
)
"""Kinds of faults (engines/wire/faults.py) that pass, unless they are said to be permanent;
``down``: all of a chain rest from their faults."""


def passes(error: EngineError) -> bool:
    """Whether asking the same provider again may do."""
    return not error.permanent and error.code.partition("_")[2] in _AWAY


async def until_it_works(
    step: Callable[[], Awaitable[None]],
    tell: Callable[[EngineError, float], None],
    *,
    chance: Callable[[], float] = random.random,
) -> None:
    """Await ``step`` until it doesn't fail with a fault that passes; others are raised.

    Between two tries lies twice the time of before, from 1 to 30 s, or what the provider
    asked for, and up to a quarter less by ``chance`` (0 to 1), so that many servers don't
    come back at once. ``tell`` gets the error and the seconds to wait.
    """
    wait_s = FIRST_WAIT_S
    while True:
        try:
            await step()
            return
        except EngineError as error:
            if not passes(error):
                raise
            pause_s = max(wait_s * (1 - chance() / 4), error.retry_after_s)
            tell(error, pause_s)
        await asyncio.sleep(pause_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
