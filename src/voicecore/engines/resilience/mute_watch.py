"""Notices a recogniser that takes speech and gives no sign of understanding."""

from __future__ import annotations

from voicecore._native import pcm as pcm_kernels
from voicecore.engines.protocols import Pcm

_SPEECH_RANGE_DB = 25.0
"""What is so much quieter than the utterance's loudest piece is no speech of its speaker."""
_FLOOR_DBFS = -60.0


class MuteWatch:
    """Counts the caller's speech since the last sign of ``progress``, a growing number.

    Speech is told by level alone: a caller of whom something is wanted is the loudest
    thing in his own utterance. A sound that nobody could understand is counted too;
    whoever acts on it bounds how often.
    """

    def __init__(self, stall_samples: int) -> None:
        self._stall = stall_samples
        self._loudest_dbfs = _FLOOR_DBFS + _SPEECH_RANGE_DB
        self._progress = -1
        self._unanswered = 0
        # Pieces of which the level isn't known yet. Together they are looked at in far
        # less time than one by one, and while they can't be too much it doesn't matter.
        self._waiting: list[Pcm] = []
        self._waiting_samples = 0

    def listen(self, pcm: Pcm, progress: int) -> bool:
        """Take what is pushed now; ``progress``: what the stream's counter says now.

        Returns whether there was more speech than allowed without a sign. It keeps a
        reference to ``pcm`` for that long at most.
        """
        if progress != self._progress:
            self._progress = progress
            self._look()
            self._unanswered = 0
        self._waiting.append(pcm)
        self._waiting_samples += len(pcm)
        if self._unanswered + self._waiting_samples < self._stall:
            return False
        self._look()
        return self._unanswered >= self._stall

    def is_speech(self, pcm: Pcm) -> bool:
        """Whether ``pcm`` is about as loud as the utterance has been."""
        self._look()
        return pcm_kernels.rms_dbfs(pcm) > self._loudest_dbfs - _SPEECH_RANGE_DB

    def reset(self) -> None:
        """Another connection begins."""
        self._look()
        self._progress = -1
        self._unanswered = 0

    def _look(self) -> None:
        for pcm in self._waiting:
            level_dbfs = pcm_kernels.rms_dbfs(pcm)
            if level_dbfs > self._loudest_dbfs:
                self._loudest_dbfs = level_dbfs
            if level_dbfs > self._loudest_dbfs - _SPEECH_RANGE_DB:
                self._unanswered += len(pcm)
        self._waiting.clear()
        self._waiting_samples = 0
