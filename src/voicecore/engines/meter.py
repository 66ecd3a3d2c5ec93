"""What is counted of engines; the service's metrics are one such."""

from __future__ import annotations

from typing import Protocol


class EngineMeter(Protocol):
    """Called on the event loop's thread. ``stage``: ``stt``, ``llm``, ``tts`` or ``s2s``.

    ``engine`` and ``code`` are words of the program (an engine's name, an error's code).
    """

    def first_byte(self, stage: str, engine: str, seconds: float) -> None:
        """From the question to the first of the answer."""

    def finalised(self, stage: str, engine: str, seconds: float) -> None:
        """From the end of an utterance to its final text."""

    def failed(self, stage: str, engine: str, code: str) -> None:
        """One attempt failed; the caller may not have noticed."""

    def reconnected(self, stage: str, engine: str) -> None:
        """An utterance was taken up on another connection of the same engine."""

    def fell_back(self, stage: str, engine: str, to: str, reason: str) -> None:
        """``to`` took over; ``reason``: ``failed``, ``slow`` or ``open`` (its circuit is)."""

    def circuit(self, stage: str, engine: str, state: str) -> None:
        """The circuit breaker is ``closed``, ``open`` or ``probing`` now."""


class NoMeter:
    """Counts nothing."""

    def first_byte(self, stage: str, engine: str, seconds: float) -> None:
        """See :class:`EngineMeter`."""

    def finalised(self, stage: str, engine: str, seconds: float) -> None:
        """See :class:`EngineMeter`."""

    def failed(self, stage: str, engine: str, code: str) -> None:
        """See :class:`EngineMeter`."""

    def reconnected(self, stage: str, engine: str) -> None:
        """See :class:`EngineMeter`."""

    def fell_back(self, stage: str, engine: str, to: str, reason: str) -> None:
        """See :class:`EngineMeter`."""

    def circuit(self, stage: str, engine: str, state: str) -> None:
        """See :class:`EngineMeter`."""
