"""What the service counts, for Prometheus: a class for each concern, one registry for all.

One :class:`Metrics` has a registry of its own, so that several servers (and
tests) live in one process. All methods are cheap (microseconds) and belong to
the event loop's thread. Labels come from the program, never from callers: no
label holds an id, an address or a text that was said. docs/metrics.md has a line
for each.
"""

from __future__ import annotations

import platform

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    generate_latest,
)

from voicecore.service.call_metrics import CallMetrics
from voicecore.service.engine_metrics import EngineHealth, EngineHealthCollector, EngineMetrics
from voicecore.service.ice_metrics import TurnCollector, TurnServers
from voicecore.service.load_metrics import LoadMetrics
from voicecore.service.media_metrics import MediaMetrics
from voicecore.service.turn_metrics import TurnMetrics
from voicecore.service.version import version


class Metrics(CallMetrics, TurnMetrics, MediaMetrics, LoadMetrics):
    """Counters, gauges and histograms of one server; ``engines`` are those of its engines."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        CallMetrics.__init__(self, registry)
        TurnMetrics.__init__(self, registry)
        MediaMetrics.__init__(self, registry)
        LoadMetrics.__init__(self, registry)
        self.engines = EngineMetrics(registry)
        self._engine_failures = Counter(
            "voicecore_engine_failures", "Engine failures", ["stage", "code"], registry=registry
        )
        build = Gauge(
            "voicecore_build_info", "Constant 1", ["version", "python"], registry=registry
        )
        build.labels(version(), platform.python_version()).set(1)
        self._vad_backend = Gauge(
            "voicecore_vad_backend",
            "Constant 1: what computes the Silero VAD, and with which vector instructions",
            ["backend", "isa"],
            registry=registry,
        )

    def vad_backend(self, name: str, isa: str) -> None:
        """What computes the Silero VAD; ``isa`` is ``""`` where it is not ours to know."""
        self._vad_backend.labels(name, isa).set(1)

    def engine_failed(self, stage: str, code: str) -> None:
        """An engine of ``stage`` (stt, llm, tts, vad) failed with that error code."""
        self._engine_failures.labels(stage, code).inc()

    def watch_engines(self, health: EngineHealth) -> None:
        """Show how the engines are (``Engines.health``), asked at each scrape."""
        self.registry.register(EngineHealthCollector(health))

    def watch_turn(self, servers: TurnServers) -> None:
        """Show how the TURN servers are (``CallManager.turn``), asked at each scrape."""
        self.registry.register(TurnCollector(servers))

    def render(self) -> tuple[bytes, str]:
        """The exposition text and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
