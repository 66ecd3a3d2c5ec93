"""What is counted of turns: how soon they are answered, who interrupts whom. For Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram

from voicecore.core.turn_clock import STAGES
from voicecore.service.engine_metrics import STAGE_BUCKETS_S

RESPONSE_BUCKETS_S = (
    0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5,
)  # fmt: skip
"""Dense up to a second, where a pause begins to feel like one."""


class TurnMetrics:
    """A part of :class:`~voicecore.service.metrics.Metrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._turns = Counter("voicecore_turns", "Turns answered", registry=registry)
        self._stages = Histogram(
            "voicecore_turn_stage_seconds",
            "Latency of each stage of a turn",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._response = Histogram(
            "voicecore_response_seconds",
            "From the end of the caller's speech to the first packet of the answer",
            buckets=RESPONSE_BUCKETS_S,
            registry=registry,
        )
        self._barge_ins = Counter(
            "voicecore_barge_ins", "Times a caller interrupted", registry=registry
        )
        self._suspicions = Counter(
            "voicecore_suspicions",
            "Times the agent fell silent because the caller seemed to speak, by what it was",
            ["outcome"],
            registry=registry,
        )
        self._decided = Histogram(
            "voicecore_suspicion_seconds",
            "From the first speech sample to the decision",
            ["outcome"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._speculations = Counter(
            "voicecore_speculations",
            "Replies begun in a pause of the caller, by whether they were used",
            ["outcome"],
            registry=registry,
        )
        self._stale = Counter(
            "voicecore_stale_events",
            "Engines' events for turns that were over, dropped",
            registry=registry,
        )
        # To Prometheus a series that begins at 1 has not grown: they begin at 0.
        for outcome in ("interruption", "nothing"):
            self._suspicions.labels(outcome)
            self._decided.labels(outcome)
        for stage in (*STAGES, "total"):
            self._stages.labels(stage)
        for outcome in ("used", "wasted"):
            self._speculations.labels(outcome)

    def turn(self, stage_seconds: Mapping[str, float]) -> None:
        """A turn was answered; seconds by stage (endpoint, stt, llm, tts, packet, total)."""
        self._turns.inc()
        for stage, seconds in stage_seconds.items():
            self._stages.labels(stage).observe(max(0.0, seconds))
        if "total" in stage_seconds:
            self._response.observe(max(0.0, stage_seconds["total"]))

    def barge_in(self) -> None:
        """A caller interrupted the agent."""
        self._barge_ins.inc()

    def suspicion(self, outcome: str, decided_s: float) -> None:
        """A sound over the agent's voice was an ``interruption`` or ``nothing``."""
        self._suspicions.labels(outcome).inc()
        self._decided.labels(outcome).observe(max(0.0, decided_s))

    def speculation(self, outcome: str) -> None:
        """A reply that was begun in a pause was ``used`` or ``wasted``."""
        self._speculations.labels(outcome).inc()

    def stale_events(self, count: int) -> None:
        """So many events of engines came for turns that were over."""
        self._stale.inc(count)
