"""What is counted of engines, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from voicecore.engines.resilience.provider import ProviderHealth

EngineHealth = Callable[[], Mapping[str, Sequence[ProviderHealth]]]
"""How the engines of each stage are now; cheap."""

STAGE_BUCKETS_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.24, 0.32, 0.48, 0.64, 1, 1.5, 2, 3, 5, 10)
"""Dense where people feel a difference: from a frame to a second."""
_CIRCUITS = ("closed", "open", "probing")
_STATES = ("up", "down", "unknown")


class EngineMetrics:
    """An :class:`~voicecore.engines.meter.EngineMeter`; belongs to the event loop's thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._first_byte = Histogram(
            "voicecore_engine_first_byte_seconds",
            "From asking an engine to the first of its answer",
            ["stage", "engine"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._finalise = Histogram(
            "voicecore_engine_finalise_seconds",
            "From the end of an utterance to its final text",
            ["stage", "engine"],
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self._attempts_failed = Counter(
            "voicecore_engine_attempts_failed",
            "Attempts at an engine that failed, whether or not a caller noticed",
            ["stage", "engine", "code"],
            registry=registry,
        )
        self._reconnects = Counter(
            "voicecore_engine_reconnects",
            "Utterances that went on over another connection",
            ["stage", "engine"],
            registry=registry,
        )
        self._fallbacks = Counter(
            "voicecore_engine_fallbacks",
            "Times another engine of the chain took over, by why",
            ["stage", "engine", "to", "reason"],
            registry=registry,
        )
        self._circuits = Gauge(
            "voicecore_engine_circuit",
            "The engine's circuit breaker: 0 closed, 1 open, 2 probing",
            ["stage", "engine"],
            registry=registry,
        )

    def first_byte(self, stage: str, engine: str, seconds: float) -> None:
        """From the question to the first of an engine's answer."""
        self._first_byte.labels(stage, engine).observe(max(0.0, seconds))

    def finalised(self, stage: str, engine: str, seconds: float) -> None:
        """From the end of an utterance to its final text."""
        self._finalise.labels(stage, engine).observe(max(0.0, seconds))

    def failed(self, stage: str, engine: str, code: str) -> None:
        """One attempt at a provider failed."""
        self._attempts_failed.labels(stage, engine, code).inc()

    def reconnected(self, stage: str, engine: str) -> None:
        """An utterance went on over another connection."""
        self._reconnects.labels(stage, engine).inc()

    def fell_back(self, stage: str, engine: str, to: str, reason: str) -> None:
        """``to`` took over from ``engine``, which ``failed``, was ``slow`` or is ``open``."""
        self._fallbacks.labels(stage, engine, to, reason).inc()

    def circuit(self, stage: str, engine: str, state: str) -> None:
        """The circuit breaker of ``engine`` changed."""
        self._circuits.labels(stage, engine).set(_CIRCUITS.index(state))


class EngineHealthCollector(Collector):
    """A gauge for each state of each engine: 1 for the one it is in."""

    def __init__(self, health: EngineHealth) -> None:
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """Ask now."""
        family = GaugeMetricFamily(
            "voicecore_engine_state",
            "1 for the state that the engine is in: up, down, or unknown (not asked yet)",
            labels=["stage", "engine", "state"],
        )
        for stage, engines in self._health().items():
            # Two of one name in a chain are one line here: the better of them.
            found = {one.engine: one.state for one in engines}
            found |= {one.engine: "up" for one in engines if one.state == "up"}
            for engine, now in found.items():
                for state in _STATES:
                    family.add_metric([stage, engine, state], float(state == now))
        yield family
