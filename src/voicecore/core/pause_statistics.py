"""How long this caller pauses within a turn, learnt while the call goes on.

A histogram of the pauses' logarithms: each new pause weighs one and makes the
older ones weigh 5% less, so what is remembered is some twenty pauses, in a few
hundred bytes whatever the call's length. It begins as if eight pauses of a
typical speaker had been seen: log-normal about 400 ms, as pauses within a turn are
found to be (M. Heldner, J. Edlund, "Pauses, gaps and
overlaps in conversations", Journal of Phonetics 38, 2010; E. Campione,
J. Véronis, "A large-scale multilingual study of silent pause duration", 2002).

Below 200 ms it is no pause but a stop consonant or a moment in which the VAD let
go, of which there are many more: they teach nothing.

Only pauses that the caller ended are seen: one that outlasted the wait looks
like the end of a turn. Tell those too where it turns out that the caller went
on, or the quantiles are those of the short pauses alone.
"""

from __future__ import annotations

import math

from voicecore.errors import MisuseError

_SHORTEST_MS = 200.0
_STEPS_PER_OCTAVE = 4
_OCTAVES = 5
_BINS = _STEPS_PER_OCTAVE * _OCTAVES

_PRIOR_MEDIAN_MS = 400.0
_PRIOR_SIGMA = 0.6
"""Of the natural logarithm: 19 in 20 are shorter than 1,100 ms."""
_PRIOR_PAUSES = 8.0

_DECAY = 0.95


class PauseStatistics:
    """The caller's pauses from 200 ms to 6.4 s; longer ones count as that."""

    def __init__(self) -> None:
        self._weights = list(_PRIOR)

    def observe(self, pause_ms: float) -> None:
        """Learn that the caller went on after ``pause_ms``. Raises MisuseError below 0 or NaN.

        What is shorter than 200 ms is ignored.
        """
        if not pause_ms >= 0:
            raise MisuseError(f"a pause lasts 0 ms or more, got {pause_ms}")
        if pause_ms < _SHORTEST_MS:
            return
        self._weights = [weight * _DECAY for weight in self._weights]
        self._weights[_bin(pause_ms)] += 1

    def quantile_ms(self, share: float) -> float:
        """The length that ``share`` (0 to 1) of the caller's pauses don't exceed."""
        return _quantile_ms(self._weights, share)


def prior_quantile_ms(share: float) -> float:
    """The same of a caller of whom nothing is known."""
    return _quantile_ms(_PRIOR, share)


def _quantile_ms(weights: list[float], share: float) -> float:
    if not 0 <= share <= 1:
        raise MisuseError(f"a share is 0 to 1, got {share}")
    left = share * sum(weights)
    for index, weight in enumerate(weights):
        if left <= weight:
            return _edge_ms(index + (left / weight if weight else 0.0))
        left -= weight
    return _edge_ms(_BINS)


def _edge_ms(position: float) -> float:
    """The lower edge of a bin; a fraction lies within it."""
    edge_ms: float = _SHORTEST_MS * 2 ** (position / _STEPS_PER_OCTAVE)
    return edge_ms


def _bin(pause_ms: float) -> int:
    if pause_ms >= _edge_ms(_BINS - 1):
        return _BINS - 1
    return int(math.log2(pause_ms / _SHORTEST_MS) * _STEPS_PER_OCTAVE)


def _prior() -> list[float]:
    """The prior's weight in each bin, by the error function."""

    def below(position: float) -> float:
        z = math.log(_edge_ms(position) / _PRIOR_MEDIAN_MS) / _PRIOR_SIGMA
        return 0.5 * (1 + math.erf(z / math.sqrt(2)))

    shares = [below(index + 1) - below(index) for index in range(_BINS)]
    return [_PRIOR_PAUSES * share / sum(shares) for share in shares]


_PRIOR = _prior()
