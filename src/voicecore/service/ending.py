"""How the process is to end: calls go on for a while, or none does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Ending:
    """What was asked for so far, by signals or over the admin listener. One event loop's.

    ``asked`` is set by either, ``at_once`` when calls mustn't go on any longer.
    """

    def __init__(self, timeout_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        """``timeout_s``: what calls get, if it isn't said otherwise."""
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self._timeout_s = timeout_s
        self._clock_s = clock_s
        self._until_s: float | None = None

    @property
    def drains(self) -> bool:
        """Whether calls are let end by themselves."""
        return self._until_s is not None

    @property
    def left_s(self) -> float:
        """What calls still get; 0 once it is over, or where none get anything."""
        return 0.0 if self._until_s is None else max(self._until_s - self._clock_s(), 0.0)

    def allow(self, timeout_s: float) -> None:
        """A drain that isn't asked for yet is to give calls so long."""
        self._timeout_s = timeout_s

    def drain(self, timeout_s: float | None = None) -> None:
        """Calls may go on for ``timeout_s``; asked for again it changes nothing."""
        if self._until_s is None and not self.at_once.is_set():
            patience_s = self._timeout_s if timeout_s is None else timeout_s
            self._until_s = self._clock_s() + patience_s
            self.asked.set()

    def stop(self) -> None:
        """End at once, a drain too."""
        self.at_once.set()
        self.asked.set()
