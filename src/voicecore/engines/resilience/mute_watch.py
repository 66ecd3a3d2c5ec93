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
    whoever acts on :attr:`is_mute` bounds how often.
    """

    def __init__(self, stall_samples: int) -> None:
        self._stall = stall_samples
        self._loudest_dbfs = _FLOOR_DBFS + _SPEECH_RANGE_DB
        self._progress = -1
        self.unanswered_samples = 0
        """Of speech, since the last sign."""

    def listen(self, pcm: Pcm, progress: int) -> None:
        """Take what is pushed now; ``progress``: what the stream's counter says now."""
        if progress != self._progress:
            self._progress = progress
            self.unanswered_samples = 0
        self._loudest_dbfs = max(self._loudest_dbfs, pcm_kernels.rms_dbfs(pcm))
        if self.is_speech(pcm):
            self.unanswered_samples += len(pcm)

    def is_speech(self, pcm: Pcm) -> bool:
        """Whether ``pcm`` is about as loud as the utterance has been."""
        return pcm_kernels.rms_dbfs(pcm) > self._loudest_dbfs - _SPEECH_RANGE_DB

    def reset(self) -> None:
        """Another connection begins."""
        self._progress = -1
        self.unanswered_samples = 0

    @property
    def is_mute(self) -> bool:
        """Whether there was more speech than that without a sign."""
        return self.unanswered_samples >= self._stall
