"""From speech probabilities to edges: where speech begins and where it ends.

One frame of 32 ms gives one probability. Its length is far too coarse to time
an answer with, and a recurrent VAD lets go one to three frames late; so the
end of speech is refined to 8 ms by energy: trailing blocks that lie 25 dB
below the utterance's loudest are silence even while the VAD still holds.

::

    energy  __▂▆█▇▅▆▃▁_________        (8 ms blocks)
    VAD     ____████████████____        (32 ms frames)
                ^   ^   ^   ^
             ONSET  |   |   RELEASED is decided here ...
              CONFIRMED |
                        ... but dated here: silence is counted from this sample
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from voicecore.core.units import HEAR_RATE_HZ, ms_to_samples

BLOCK_SAMPLES = 128
"""Energy is looked at in blocks of 8 ms."""

_QUIET_RATIO = 10 ** (-25 / 10)
"""Power below the loudest block's by 25 dB is no speech (the usual gate for active speech)."""

_TRIM_SAMPLES = ms_to_samples(96, HEAR_RATE_HZ)
"""How far energy may overrule the VAD's hold: three frames, the longest seen from Silero."""


class EdgeKind(Enum):
    """What became known at an edge."""

    ONSET = "onset"
    """First voiced frame: perhaps speech."""
    CONFIRMED = "confirmed"
    """Voiced for ``start_ms`` without a break: speech."""
    RELEASED = "released"
    """Voiced no longer; follows every ONSET."""


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """An edge at ``sample`` (absolute position at 16 kHz)."""

    kind: EdgeKind
    sample: int


class SpeechGate:
    """Turns the frames of one caller into edges.

    ``threshold`` opens the gate; it stays open down to ``threshold - 0.15``
    (hysteresis, so that a wavering vowel is not cut). ``start_ms`` of voiced
    frames in a row confirm an onset. No clock: positions only.
    """

    def __init__(self, *, threshold: float = 0.5, start_ms: int = 64) -> None:
        self._threshold = threshold
        self._release = max(threshold - 0.15, 0.01)
        self._start_samples = ms_to_samples(start_ms, HEAR_RATE_HZ)
        self._voiced = False
        self._confirmed = False
        self._onset = 0
        self._voiced_end = 0
        self._peak = 0.0
        self._blocks: deque[tuple[int, float]] = deque(maxlen=_TRIM_SAMPLES // BLOCK_SAMPLES + 4)

    @property
    def voiced(self) -> bool:
        """Whether the latest frame counted as speech."""
        return self._voiced

    def push(
        self, probability: float, start: int, end: int, powers: Sequence[float]
    ) -> list[SpeechEdge]:
        """Take the frame of samples ``[start, end)``; return its edges, oldest first.

        ``powers`` are the mean squares of its blocks of ``BLOCK_SAMPLES``.
        """
        for i, power in enumerate(powers):
            self._blocks.append((start + (i + 1) * BLOCK_SAMPLES, power))
        if probability >= (self._release if self._voiced else self._threshold):
            return self._on_voiced(start, end, powers)
        return self._on_unvoiced() if self._voiced else []

    def hold(self, start: int, end: int) -> list[SpeechEdge]:
        """Take a frame made by concealment: the decision stands as it is."""
        if self._voiced:
            self._voiced_end = end
        return []

    def _on_voiced(self, start: int, end: int, powers: Sequence[float]) -> list[SpeechEdge]:
        edges: list[SpeechEdge] = []
        if not self._voiced:
            self._voiced, self._confirmed = True, False
            self._onset, self._peak = start, 0.0
            edges.append(SpeechEdge(EdgeKind.ONSET, start))
        self._voiced_end = end
        self._peak = max(self._peak, *powers) if powers else self._peak
        if not self._confirmed and end - self._onset >= self._start_samples:
            self._confirmed = True
            edges.append(SpeechEdge(EdgeKind.CONFIRMED, self._onset))
        return edges

    def _on_unvoiced(self) -> list[SpeechEdge]:
        self._voiced = self._confirmed = False
        return [SpeechEdge(EdgeKind.RELEASED, self._last_loud())]

    def _last_loud(self) -> int:
        """End of the last loud block near the end of the voiced frames."""
        floor = self._voiced_end - _TRIM_SAMPLES
        quiet = self._peak * _QUIET_RATIO
        loud = [end for end, power in self._blocks if power > quiet and end > floor]
        return max(loud[-1] if loud else floor, self._onset)
