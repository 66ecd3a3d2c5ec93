"""How late the event loop runs: what a caller hears when something blocks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PERIOD_S = 0.05
"""Twenty looks a second: what blocks the loop for longer is always seen."""


async def measure_loop_lag(report: Callable[[float], None], period_s: float = PERIOD_S) -> None:
    """Call ``report`` with the lateness (seconds, >= 0) of each wake-up, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + period_s
        await asyncio.sleep(period_s)
        report(max(0.0, loop.time() - due))
