"""How late the media threads were, from the histograms that they keep."""

from __future__ import annotations

from collections.abc import Sequence

_QUANTILE = 0.99


class Lateness:
    """p99 of what one cumulative histogram gained since it was looked at last."""

    def __init__(self) -> None:
        self._seen: Sequence[int] = ()

    def p99_ms(self, bins: Sequence[int]) -> float:
        """Look at ``bins`` of 1 ms, the last one open; see :func:`quantile_ms`."""
        seen, self._seen = self._seen or [0] * len(bins), bins
        return quantile_ms([now - before for now, before in zip(bins, seen, strict=True)])


def quantile_ms(bins: Sequence[int], quantile: float = _QUANTILE) -> float:
    """Upper end (ms) of the bin of 1 ms that holds the quantile; 0 of less than two.

    The latest alone never is the quantile: one call has fifty packets a second, and
    a single hiccup of the machine, which is in the maximum, must refuse no caller.
    """
    total = sum(bins)
    if total < 2:
        return 0.0
    wanted = min(total * quantile, total - 1)
    seen = 0
    for ms, count in enumerate(bins):
        seen += count
        if count and seen >= wanted:
            return float(ms + 1) if ms else 0.0
    return 0.0
