"""The echo guard in plain NumPy, written from ``echo_guard.h``: one line of samples, no rings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HZ = 4000
WINDOW, RECENT, TAPS, LEAD, LONGEST = 1024, 256, 32, 8, 2800
_HALF = 4
_RECOVERY_MS = 42


def lowpass(factor: int) -> Floats:
    """Hamming-windowed sinc that leaves 80% of the band at 4 kHz."""
    i = np.arange(-_HALF * factor, _HALF * factor + 1)
    taps = np.sinc(0.8 * i / factor) * (0.54 + 0.46 * np.cos(np.pi * i / (_HALF * factor + 1)))
    return taps / taps.sum()


def thinned(x: Floats, factor: int) -> Floats:
    """Every ``factor``-th sample of ``x``, filtered, the filter's second half late."""
    y = np.convolve(x, lowpass(factor))[: len(x)]
    return y[::factor]


class PlainGuard:
    """Knows all that is sent from the start: a test asks it only about what was sent by then."""

    def __init__(self, sent: Floats, factor: int, start: int) -> None:
        """``sent`` (full scale 1.0) is due from 4 kHz sample ``start`` on."""
        thin = np.rint(thinned(sent, factor) * 32768) / 32768
        before = WINDOW + LONGEST + TAPS
        self._line = np.concatenate([np.zeros(before), thin, np.zeros(before + 8 * HZ)])
        self._first = start - before
        self._behind: int | None = None
        self._heard = np.zeros(WINDOW)
        self._certain = np.ones(WINDOW, bool)
        self._doubted_to = 0
        self._verdict, self._judged = 0.0, -(1 << 60)
        self._age = self._astray = self._alone = self._looks = 0
        self._offset = self._loudest = 0.0
        self.searches = 0

    def hear(self, thin: Floats, position: int, now: int, guessed: int = 0) -> None:
        """The 128 newest samples at 4 kHz, which end at ``position``, due at ``now``."""
        certain = np.ones(128, bool)
        for ms in range(32):
            at = position - 128 + 4 * ms
            if guessed >> ms & 1:
                self._doubted_to = at + 4 * (1 + _RECOVERY_MS)
            certain[4 * ms : 4 * ms + 4] = at >= self._doubted_to
        self._certain = np.concatenate([self._certain, certain])[-WINDOW:]
        self._heard = np.concatenate([self._heard, thin * certain])[-WINDOW:]
        self._position, self._now = position, now
        self._loudest *= 0.85
        self._alone += 1

    @property
    def delay_ms(self) -> float | None:
        if self._behind is None:
            return None
        return (self._behind - self._position + self._now) * 1000 / HZ

    def share(self) -> float:
        sure = self._certain[-RECENT:].mean()
        before = 1.0 if self._alone <= 64 else 0.0
        if self._position - self._judged <= HZ // 5:
            before = self._verdict
        if sure < 1 / 8:
            return before
        self._looks += 1
        share, rest = self._look()
        judged = 0.0 if self._behind is None else self._judge(share, rest)
        self._verdict = float(sure * judged + (1 - sure) * before)
        self._judged = self._position
        return self._verdict

    def _judge(self, share: float, rest: Floats) -> float:
        heard = float((self._heard[-RECENT:] ** 2).sum())
        left = float((rest[-RECENT:] ** 2).sum())
        if share >= 0.5:
            self._astray = self._alone = 0
            self._loudest = max(self._loudest, heard - left)
        else:
            self._astray += 1
            if self._astray == 8:
                self._behind, self._astray = None, 0
        against = max(heard, 0.3 * self._loudest)
        return max(0.0, 1 - left / against) if against > 0 else 0.0

    def _look(self) -> tuple[float, Floats]:
        share, rest = 0.0, self._heard
        if self._behind is not None:
            share, rest, largest = self._fit(self._behind)
            if share > 0.85:
                self._follow(largest)
            patient = self._age >= 16 and self._looks % 4
            self._age += 1
            if share >= (0.5 if patient else 0.9):
                return share, rest
        elif self._alone > 64 and self._looks % 4:
            return share, rest
        least = 0.9 if self._alone > 64 else 0.7
        if self._behind is not None:
            least = max(share, 0.5) + 0.03
        for behind in self._search():
            other, other_rest, _ = self._fit(behind)
            if other < least:
                continue
            share, rest, least = other, other_rest, other
            if self._behind is None or abs(behind - self._behind) > 8:
                self._age = 0
            self._behind, self._offset = behind, 0.0
        return share, rest

    def _follow(self, largest: int) -> None:
        self._offset += 0.1 * (largest - LEAD - self._offset)
        if abs(self._offset) > 3:
            step = int(np.sign(self._offset))
            self._behind = (self._behind or 0) + step
            self._offset -= step

    def _fit(self, behind: int) -> tuple[float, Floats, int]:
        at = np.arange(self._position - WINDOW, self._position) - behind + LEAD - self._first
        rows = self._line[at[:, None] - np.arange(TAPS)] * self._certain[:, None]
        r = rows.T @ rows
        r += np.eye(TAPS) * (1e-3 * r[0, 0] + 1e-9)
        w = np.linalg.solve(r, rows.T @ self._heard)
        rest = self._heard - rows @ w
        energy = (self._heard**2).sum()
        share = 1 - (rest**2).sum() / energy if energy > 1e-9 else 0.0
        return float(share), rest, int(np.abs(w).argmax())

    def _search(self) -> list[int]:
        if self._certain.mean() < 0.5:
            return []
        self.searches += 1
        from_ = self._now - WINDOW - LONGEST - self._first
        x = self._line[from_ : from_ + WINDOW + LONGEST]
        windows = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[:LONGEST:2]
        energy = (windows**2).sum(axis=1) + 1e-3 * (self._heard**2).sum() + 1e-9
        like = (windows @ self._heard) ** 2 / energy
        found = []
        for _ in range(4):
            best = int(like.argmax())
            found.append(self._position - self._now + LONGEST - 2 * best)
            like[max(best - 4, 0) : best + 5] = 0
        return found
