"""Timers for deadlines that are looked at when they fire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voicecore.core.units import NS_PER_S

_GRAIN_S = 0.001
"""uvloop counts in whole milliseconds: without it a timer comes too early, again and again."""


def call_in(
    loop: asyncio.AbstractEventLoop, delay_ns: int, callback: Callable[[], None]
) -> asyncio.TimerHandle:
    """Call ``callback`` when ``delay_ns`` (below 0: now) have passed, never before."""
    return loop.call_later(max(delay_ns, 0) / NS_PER_S + _GRAIN_S, callback)
