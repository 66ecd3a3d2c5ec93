"""What is counted of the calls of a service to itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from voicecore.service.probe.report import Report


class DeepMetrics:
    """Series in ``registry``.

    By them a check's calls can be told from callers': each is a call like any other in all
    other series.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._checks = Counter(
            "voicecore_deep_checks",
            "Calls that the service placed to itself, by the stage that failed",
            ["result", "stage"],
            registry=registry,
        )
        self._answer = Gauge(
            "voicecore_deep_check_answer_seconds",
            "End of speech to the agent's voice in the newest of them that was answered; 0 before",
            registry=registry,
        )

    def take(self, report: Report) -> None:
        """One more is over."""
        stage = report.failed_stage or "none"
        self._checks.labels("ok" if report.ok else "failed", stage).inc()
        if report.answer_ms is not None:
            self._answer.set(report.answer_ms / 1000)
