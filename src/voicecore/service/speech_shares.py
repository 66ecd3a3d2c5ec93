"""Which audio of an answer belongs to which of its clauses, where one model made both.

A speech-to-speech model tells its words and its voice in two streams and not which
belong together. So it is estimated: a clause takes what it takes to say
(:func:`~voicecore.core.spoken_weight.spoken_weight`) at the voice's pace, pauses left
out, and ends at a pause near there::

    clauses    Sure.      I can do that.        At what time?
    expected   ─────┤     ──────────────┤       ─────────────
    energy     ▇▆▇▅▁▁▁▁▁▁▁▇▆▂▇▇▅▆▇▅▇▆▂▁▁▁▁▁▁▁▁▁▁▇▆▇▆▇▅▇▅▁
    shares     └── 0 ────┘└──────── 1 ─────────┘└─── 2 ─────

Where words lie within a clause is the ledger's estimate. The error is that of one
clause at most: expectations count from the answer's beginning.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voicecore.core.speech_energy import MIN_PAUSE_BLOCKS, QUIET_DB
from voicecore.core.spoken_weight import spoken_weight
from voicecore.core.word_times import Pace
from voicecore.service.speech_energy import EnergyMeter

BLOCKS_PER_S: Final = 100

_EARLY: Final = 0.35
"""A pause by so much of the clause before its expected end is taken for that end."""
_LATE: Final = 0.35
"""So much after it a shorter gap will do, too; twice that, none is needed."""


class Share(NamedTuple):
    """Audio of a clause: ``samples`` from ``position`` on, and its loudness by blocks of 10 ms.

    ``last``: the clause has all of its audio.
    """

    segment: int
    position: int
    samples: int
    energy: bytes
    last: bool


@dataclass(slots=True)
class _Clause:
    segment: int
    blocks: float
    ends_at: float


class SpeechShares:
    """Shares one answer's audio out. ``pace`` is the voice's, and learns at :meth:`finish`.

    Audio waits, as numbers only, for the clause it belongs to: at the beginning, and
    where the last one known is over. Not thread-safe.
    """

    def __init__(self, rate_hz: int, pace: Pace) -> None:
        """``rate_hz``: of the samples and positions."""
        self._block = rate_hz // BLOCKS_PER_S
        self._pace = pace
        self._meter = EnergyMeter(rate_hz)
        self._clauses: deque[_Clause] = deque()
        self._text: list[str] = []
        # Where what is not shared out yet begins and ends, and the loudness of its whole blocks.
        self._position = 0
        self._end: int | None = None
        self._energy = bytearray()
        self._expected = 0.0
        self._loudest = 0
        self._sound = self._quiet = 0
        self._complete = False
        # The first block that waits was looked at already: the clause ends before it.
        self._parked = False

    @property
    def unnamed_ms(self) -> float:
        """How much audio waits for a clause."""
        waits = self._parked or not self._clauses
        return 1000 * len(self._energy) / BLOCKS_PER_S if waits else 0.0

    def name(self, segment: int, text: str) -> list[Share]:
        """A clause is known, behind those before it; what has waited for it comes back."""
        weight = sum(spoken_weight(word) for word in text.split())
        blocks = weight / self._pace.weight_per_s * BLOCKS_PER_S
        self._expected += blocks
        self._clauses.append(_Clause(segment, blocks, self._expected))
        self._text.append(text)
        return self._share()

    def complete(self) -> list[Share]:
        """No clause will follow those that are known."""
        self._complete = True
        return self._share()

    def push(self, position: int, pcm: NDArray[np.int16]) -> list[Share]:
        """Take the answer's next samples (mono), which lie at ``position``."""
        if self._end is None:
            self._position = position
        self._end = position + len(pcm)
        self._energy += self._meter.push(pcm)
        return self._share()

    def finish(self) -> list[Share]:
        """All audio is there and all clauses are known: share out the rest."""
        shares = self.complete()
        if self._end is not None and self._clauses:
            rest = self._end - self._position
            shares.append(Share(self._clauses[0].segment, self._position, rest, b"", True))
            self._clauses.popleft()
        shares += [Share(c.segment, self._position, 0, b"", True) for c in self._clauses]
        self._clauses.clear()
        self._pace.learn(" ".join(self._text), self._sound / BLOCKS_PER_S)
        return shares

    def _share(self) -> list[Share]:
        if not self._clauses:
            return []
        shares: list[Share] = []
        begin = at = 0
        if self._parked:
            if len(self._clauses) > 1:
                shares.append(self._cut(b"", last=True))
            elif not self._complete:
                return []
            self._parked, at = False, 1
        energy, self._energy = bytes(self._energy), bytearray()
        while at < len(energy):
            if self._turns_at(energy[at]):
                if len(self._clauses) == 1:
                    self._parked = True
                    break
                shares.append(self._cut(energy[begin:at], last=True))
                begin = at
            at += 1
        if begin < at:
            shares.append(self._cut(energy[begin:at], last=False))
        self._energy += energy[at:]
        return shares

    def _cut(self, energy: bytes, *, last: bool) -> Share:
        samples = len(energy) * self._block
        share = Share(self._clauses[0].segment, self._position, samples, energy, last)
        self._position += samples
        if last:
            self._clauses.popleft()
        return share

    def _turns_at(self, level: int) -> bool:
        """Note the next block; whether the next clause begins with it."""
        self._loudest = max(self._loudest, level)
        if level < self._loudest - QUIET_DB or not level:
            self._quiet += 1
            return False
        quiet, self._quiet = self._quiet, 0
        sound, self._sound = self._sound, self._sound + 1
        if len(self._clauses) == 1 and self._complete:
            return False
        clause = self._clauses[0]
        over = (sound - clause.ends_at) / max(clause.blocks, 1.0)
        if quiet >= MIN_PAUSE_BLOCKS:
            return over >= -_EARLY
        return over >= (_LATE if quiet else 2 * _LATE)
