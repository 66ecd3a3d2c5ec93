"""The speech gate and the media clock in plain Python, written from their definition."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from voicecore._native.speech_gate import BLOCK_SAMPLES, CONFIRMED, ONSET, RELEASED

Edges = list[tuple[int, int]]

_QUIET_RATIO = 10 ** (-25 / 10)
_TRIM_SAMPLES = 1536
_NS_PER_S = 1_000_000_000


class PlainGate:
    """Frames in, edges out."""

    def __init__(self, *, threshold: float = 0.5, start_ms: int = 64) -> None:
        self._threshold = threshold
        self._release = max(threshold - 0.15, 0.01)
        self._start_samples = start_ms * 16
        self.voiced = False
        self._confirmed = False
        self._onset = 0
        self._voiced_end = 0
        self._peak = 0.0
        self._latest = 0.0
        self._blocks: deque[tuple[int, float]] = deque(maxlen=_TRIM_SAMPLES // BLOCK_SAMPLES + 4)

    def push(self, probability: float, start: int, end: int, powers: Sequence[float]) -> Edges:
        self._latest = probability
        for i, power in enumerate(powers):
            self._blocks.append((start + (i + 1) * BLOCK_SAMPLES, power))
        if probability >= (self._release if self.voiced else self._threshold):
            return self._on_voiced(start, end, powers)
        return self._on_unvoiced() if self.voiced else []

    def repeat(self, start: int, end: int, powers: Sequence[float]) -> Edges:
        return self.push(self._latest, start, end, powers)

    def hold(self, start: int, end: int) -> Edges:
        if self.voiced:
            self._voiced_end = end
        return []

    def _on_voiced(self, start: int, end: int, powers: Sequence[float]) -> Edges:
        edges: Edges = []
        if not self.voiced:
            self.voiced, self._confirmed = True, False
            self._onset, self._peak = start, 0.0
            edges.append((ONSET, start))
        self._voiced_end = end
        self._peak = max(self._peak, *powers) if powers else self._peak
        if not self._confirmed and end - self._onset >= self._start_samples:
            self._confirmed = True
            edges.append((CONFIRMED, self._onset))
        return edges

    def _on_unvoiced(self) -> Edges:
        self.voiced = self._confirmed = False
        return [(RELEASED, self._last_loud())]

    def _last_loud(self) -> int:
        floor = self._voiced_end - _TRIM_SAMPLES
        quiet = self._peak * _QUIET_RATIO
        loud = [end for end, power in self._blocks if power > quiet and end > floor]
        return max(loud[-1] if loud else floor, self._onset)


class PlainClock:
    """Positions to times, in Python's integers."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._bucket_end_ns: int | None = None
        self._current_ns = 0
        self._previous_ns = 0

    def _span(self, samples: int) -> int:
        return samples * _NS_PER_S // self._rate_hz

    def observe(self, position: int, now_ns: int) -> None:
        offset_ns = now_ns - self._span(position)
        if self._bucket_end_ns is None:
            self._current_ns = self._previous_ns = offset_ns
        elif now_ns >= self._bucket_end_ns:
            self._previous_ns, self._current_ns = self._current_ns, offset_ns
        else:
            self._current_ns = min(self._current_ns, offset_ns)
            return
        self._bucket_end_ns = now_ns + _NS_PER_S

    def time_of(self, sample: int) -> int:
        return self._span(sample) + min(self._current_ns, self._previous_ns)
