"""The moments of one turn, from the end of the caller's speech to the first packet."""

from __future__ import annotations

from voicecore.core.units import NS_PER_MS, NS_PER_S

STAGES = ("endpoint", "stt", "llm", "tts", "packet")
"""In order: turn decided over, transcript final, first text, first audio, first packet."""


class TurnClock:
    """First occurrence of each stage, counted from the end of speech."""

    def __init__(self, speech_end_ns: int) -> None:
        self._origin_ns = speech_end_ns
        self._marks: dict[str, int] = {}

    def mark(self, stage: str, now_ns: int) -> None:
        """Note ``stage`` unless it was noted before."""
        self._marks.setdefault(stage, now_ns)

    def forget(self, *stages: str) -> None:
        """What these belonged to came to nothing."""
        for stage in stages:
            self._marks.pop(stage, None)

    @property
    def complete(self) -> bool:
        """Whether every stage was seen."""
        return len(self._marks) == len(STAGES)

    def milliseconds(self) -> dict[str, float]:
        """``{"endpoint_ms": …}`` of the stages seen, each from the end of speech."""
        return {
            f"{stage}_ms": round((self._marks[stage] - self._origin_ns) / NS_PER_MS, 1)
            for stage in STAGES
            if stage in self._marks
        }

    def durations(self) -> dict[str, float]:
        """Seconds each stage took after the one before it, and ``total``."""
        seconds, before = {}, self._origin_ns
        for stage in STAGES:
            if stage in self._marks:
                seconds[stage] = max(self._marks[stage] - before, 0) / NS_PER_S
                before = self._marks[stage]
        seconds["total"] = (before - self._origin_ns) / NS_PER_S
        return seconds
