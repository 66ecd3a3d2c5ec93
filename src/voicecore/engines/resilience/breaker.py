"""A circuit breaker: an engine that keeps failing is left alone for a while.

The pattern of M. Nygard, "Release It!" (2007): closed, open after some failures in a
row, then one attempt at a time (probing) until one succeeds. No clock: ``now_s`` is an
argument, on any monotonic scale.
"""

from __future__ import annotations

from enum import Enum

from voicecore.errors import EngineError


class Circuit(Enum):
    """``OPEN``: not to be asked. ``PROBING``: one may try whether it works again."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class CircuitBreaker:
    """Opens after ``failures`` in a row, at once for what is permanent or asked to wait.

    It rests ``rest_s``, twice as long after each probe that failed, ``most_rest_s`` at
    most; never shorter than the provider asked for.
    """

    def __init__(
        self, *, failures: int = 3, rest_s: float = 5.0, most_rest_s: float = 60.0
    ) -> None:
        self._limit = failures
        self._rest_s = rest_s
        self._most_rest_s = most_rest_s
        self._failures = 0
        self._openings = 0
        self._until_s = 0.0
        self.state = Circuit.CLOSED

    def allows(self, now_s: float) -> bool:
        """Whether an attempt may be made now.

        A True while it is not closed makes that attempt the probe: tell how it ended by
        :meth:`succeeded`, :meth:`failed` or :meth:`abandoned`. A probe of which nothing
        is heard for ``rest_s`` is forgotten.
        """
        if self.state is Circuit.CLOSED:
            return True
        if now_s < self._until_s:
            return False
        self.state = Circuit.PROBING
        self._until_s = now_s + self._rest_s
        return True

    @property
    def rests_until_s(self) -> float:
        """When the next probe may be made; of meaning while it is open."""
        return self._until_s

    def succeeded(self) -> None:
        """An attempt worked."""
        self.state = Circuit.CLOSED
        self._failures = self._openings = 0

    def abandoned(self) -> None:
        """An attempt was given up without a result: a probe is still due."""
        if self.state is Circuit.PROBING:
            self.state = Circuit.OPEN
            self._until_s = 0.0

    def failed(self, error: EngineError, now_s: float) -> None:
        """An attempt failed."""
        self._failures += 1
        probed = self.state is Circuit.PROBING
        if probed or error.permanent or error.retry_after_s or self._failures >= self._limit:
            self.trip(error, now_s)

    def trip(self, error: EngineError, now_s: float) -> None:
        """Open it, for ``error``."""
        if self.state is not Circuit.OPEN:
            self._openings += 1
        rest_s = min(self._rest_s * 2.0 ** (self._openings - 1), self._most_rest_s)
        self._until_s = max(self._until_s, now_s + max(rest_s, error.retry_after_s))
        self.state = Circuit.OPEN
