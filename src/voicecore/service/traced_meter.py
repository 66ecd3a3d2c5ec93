"""What engines go through for a call, told to its trace beside the metrics."""

from __future__ import annotations

from voicecore.engines.meter import EngineMeter
from voicecore.service.call_scope import current


class TracedMeter:
    """An :class:`~voicecore.engines.meter.EngineMeter` over ``meter``.

    What is done in a call's scope becomes an event of its turn's span: which engine of
    a chain answered, which attempts failed before.
    """

    def __init__(self, meter: EngineMeter) -> None:
        self._meter = meter

    def first_byte(self, stage: str, engine: str, seconds: float) -> None:
        """See :class:`~voicecore.engines.meter.EngineMeter`."""
        self._meter.first_byte(stage, engine, seconds)
        took_ms = round(1000 * seconds, 1)
        current().trace.note(
            stage, "answers", {"voicecore.engine": engine, "voicecore.first_byte_ms": took_ms}
        )

    def finalised(self, stage: str, engine: str, seconds: float) -> None:
        """See :class:`~voicecore.engines.meter.EngineMeter`."""
        self._meter.finalised(stage, engine, seconds)

    def failed(self, stage: str, engine: str, code: str) -> None:
        """See :class:`~voicecore.engines.meter.EngineMeter`."""
        self._meter.failed(stage, engine, code)
        current().trace.note(
            stage, "attempt failed", {"voicecore.engine": engine, "voicecore.code": code}
        )

    def reconnected(self, stage: str, engine: str) -> None:
        """See :class:`~voicecore.engines.meter.EngineMeter`."""
        self._meter.reconnected(stage, engine)
        current().trace.note(stage, "another connection", {"voicecore.engine": engine})

    def fell_back(self, stage: str, engine: str, to: str, reason: str) -> None:
        """See :class:`~voicecore.engines.meter.EngineMeter`."""
        self._meter.fell_back(stage, engine, to, reason)
        current().trace.note(
            stage,
            "another engine",
            {"voicecore.engine": engine, "voicecore.to": to, "voicecore.reason": reason},
        )

    def circuit(self, stage: str, engine: str, state: str) -> None:
        """See :class:`~voicecore.engines.meter.EngineMeter`."""
        self._meter.circuit(stage, engine, state)
