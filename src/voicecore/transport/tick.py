"""The 20 ms clock of all calls of a process.

One timer on the event loop, not one per call. It stands still while nobody is
registered. A late tick is made up for: each call gets as many frames as time
has passed, so the RTP time line never slips; only after a stall of a second
(a suspended machine) is the clock set anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from voicecore.core.units import NS_PER_MS, NS_PER_S

_LOG = logging.getLogger(__name__)

FRAME_NS = 20 * NS_PER_MS
_MAX_CATCH_UP_NS = NS_PER_S

Ticker = Callable[[int], None]


class TickClock:
    """Calls every registered ticker once per 20 ms with the monotonic time (ns).

    Belongs to one event loop and to its thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tickers: dict[int, Ticker] = {}
        self._next_id = 0
        self._next_ns = 0
        self._timer: asyncio.TimerHandle | None = None
        self.max_late_ns = 0

    def add(self, ticker: Ticker) -> int:
        """Register ``ticker``; returns the key for :meth:`remove`."""
        self._next_id += 1
        self._tickers[self._next_id] = ticker
        if self._timer is None:
            self._next_ns = time.monotonic_ns() + FRAME_NS
            self._arm()
        return self._next_id

    def remove(self, key: int) -> None:
        """Forget a ticker (twice is fine); the clock stops with the last one."""
        self._tickers.pop(key, None)
        if not self._tickers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        delay_s = max(self._next_ns - time.monotonic_ns(), 0) / NS_PER_S
        self._timer = self._loop.call_later(delay_s, self._run)

    def _run(self) -> None:
        now_ns = time.monotonic_ns()
        late_ns = now_ns - self._next_ns
        self.max_late_ns = max(self.max_late_ns, late_ns)
        if late_ns > _MAX_CATCH_UP_NS:
            self._next_ns = now_ns
        while self._next_ns <= now_ns:
            self._next_ns += FRAME_NS
            for key in list(self._tickers):
                self._tick(key, now_ns)
        self._timer = None
        if self._tickers:
            self._arm()

    def _tick(self, key: int, now_ns: int) -> None:
        ticker = self._tickers.get(key)
        if ticker is None:  # removed by another one of this tick
            return
        try:
            ticker(now_ns)
        except Exception:  # one call's fault must not silence the others
            _LOG.exception("a call's clock tick failed")
