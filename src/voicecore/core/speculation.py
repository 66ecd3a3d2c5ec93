"""How many replies may be begun in pauses that turn out to be none's end."""

from __future__ import annotations

from collections import deque

from voicecore.core.units import NS_PER_S

_MINUTE_NS = 60 * NS_PER_S


class SpeculationBudget:
    """At most ``per_minute`` wasted replies in any 60 s; 0: no reply is begun early.

    Only waste counts: a reply that was used would have been paid for anyway.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._wasted_ns: deque[int] = deque(maxlen=max(per_minute, 1))

    def allows(self, now_ns: int) -> bool:
        """Whether one more may be wasted now."""
        if len(self._wasted_ns) < self._per_minute:
            return True
        return self._per_minute > 0 and now_ns - self._wasted_ns[0] >= _MINUTE_NS

    def waste(self, now_ns: int) -> None:
        """The caller went on: a reply was made for nothing."""
        self._wasted_ns.append(now_ns)
