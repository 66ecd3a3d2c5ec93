"""An event loop on which waiting takes no time: timers fire as if it had passed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Real sockets, virtual time, which stands still while code runs.

    A loop with nothing to wait for is a dead lock: it raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 1000.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        self._really_select: Callable[[float], Any] = selector.select
        selector.select = self._select

    def time(self) -> float:
        return self._now_s

    def now_ns(self) -> int:
        return round(self.time() * 1e9)

    def _select(self, timeout: float | None) -> Any:
        ready = self._really_select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("dead lock: nothing will ever happen on this loop")
        self._now_s += timeout
        return ready


def virtually(main: Coroutine[Any, Any, _T]) -> _T:
    """Run ``main`` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
