"""The speech gate and the media clock in plain Python, written from their definition."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from voicecore._native.speech_gate import BLOCK_SAMPLES, CONFIRMED, ONSET, RELEASED

Edges = list[tuple[int, int]]

_QUIET_RATIO = 10 ** (-25 / 10)
_TRIM_SAMPLES = 1536
_ECHO_SHARE = np.float32(0.6)
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
        self._scores: list[float] = []
        self._energies: list[tuple[float, float]] = []  # of a frame, and of it explained
        self._released = 0
        self._echoes = 0
        self._blocks: deque[tuple[int, float]] = deque(maxlen=_TRIM_SAMPLES // BLOCK_SAMPLES + 4)

    @property
    def voice(self) -> tuple[bool, int, int, float, float]:
        energy = sum(whole for whole, _ in self._energies)
        echo = sum(part for _, part in self._energies) / energy if energy > 0 else 0.0
        return (
            self.voiced,
            self._onset,
            self._last_loud() if self.voiced else self._released,
            sum(self._scores) / len(self._scores) if self._scores else 0.0,
            0.0 if math.isnan(echo) else echo,
        )

    def push(
        self,
        probability: float,
        start: int,
        end: int,
        powers: Sequence[float],
        *,
        echo: float = 0.0,
    ) -> Edges:
        self._latest = probability
        edges = self._take(start, end, powers, echo)
        if self.voiced:
            self._scores.append(probability)
        return edges

    def repeat(self, start: int, end: int, powers: Sequence[float]) -> Edges:
        return self._take(start, end, powers, 0.0)

    def _take(self, start: int, end: int, powers: Sequence[float], echo: float) -> Edges:
        self._echoes = self._echoes + 1 if echo >= _ECHO_SHARE else 0
        with np.errstate(invalid="ignore"):  # infinite powers, all echo
            left = np.float32(1) - np.float32(echo)
            own = [float(np.float32(power) * left) for power in powers]
        for i, power in enumerate(own):
            self._blocks.append((start + (i + 1) * BLOCK_SAMPLES, power))
        self._energies.append((sum(powers), sum(power * echo for power in powers)))
        speech = self._latest >= (self._release if self.voiced else self._threshold)
        if speech and self._echoes <= (2 if self._confirmed else 0):
            return self._on_voiced(start, end, own)
        self._energies.pop()
        return self._on_unvoiced() if self.voiced else []

    def hold(self, start: int, end: int) -> Edges:
        if self.voiced:
            self._voiced_end = end
        return []

    def _on_voiced(self, start: int, end: int, own: list[float]) -> Edges:
        edges: Edges = []
        if not self.voiced:
            self.voiced, self._confirmed = True, False
            self._onset, self._peak = start, 0.0
            self._scores, self._energies = [], self._energies[-1:]
            edges.append((ONSET, start))
        if not self._echoes:
            self._voiced_end = end
        self._peak = max(self._peak, *own) if own else self._peak
        if not self._confirmed and end - self._onset >= self._start_samples:
            self._confirmed = True
            edges.append((CONFIRMED, self._onset))
        return edges

    def _on_unvoiced(self) -> Edges:
        self.voiced = self._confirmed = False
        self._released = self._last_loud()
        return [(RELEASED, self._released)]

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
