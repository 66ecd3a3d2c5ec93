"""How long to wait before trying again."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with full jitter: many callers of one provider don't come back in step.

    The wait before attempt ``n`` (from 1 on) is drawn from 0 to ``base_s * 2**(n-1)``,
    ``most_s`` at most. (M. Brooker, "Exponential Backoff And Jitter", 2015.)
    """

    base_s: float = 0.1
    most_s: float = 2.0

    def delay_s(self, attempt: int, random: Random) -> float:
        """The wait before ``attempt``; none before the first further one, 1, in short."""
        return random.uniform(0.0, min(self.base_s * 2.0 ** (attempt - 1), self.most_s))
