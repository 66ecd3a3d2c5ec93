"""What is counted of the process: its event loop, its load, its recordings. For Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)


class LoadMetrics:
    """A part of :class:`~voicecore.service.metrics.Metrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._overload = Gauge(
            "voicecore_overload_level",
            "What is given up: 0 nothing, 1 encoder effort, 2 VAD of silent callers, 3 new calls",
            registry=registry,
        )
        self._overload_steps = Counter(
            "voicecore_overload_steps",
            "Changes of the overload level, by the level reached",
            ["level"],
            registry=registry,
        )
        self._cpu_share = Gauge(
            "voicecore_cpu_share",
            "Processor time of the last second, of what the process may use (0 to 1)",
            registry=registry,
        )
        self._tasks = Gauge(
            "voicecore_event_loop_tasks", "Tasks of the event loop", registry=registry
        )
        self._lag_last = Gauge(
            "voicecore_event_loop_lag_seconds", "Last measured lateness", registry=registry
        )
        self._lag = Histogram(
            "voicecore_event_loop_lateness_seconds",
            "How late the event loop wakes a sleeper",
            buckets=LAG_BUCKETS_S,
            registry=registry,
        )

    def watch_recordings(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Show what became of recordings (``Recordings.counts``), asked at each scrape."""
        self.registry.register(_Recordings(counts))

    def watch_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Show how many tasks ``loop`` has: a number that must not grow with ended calls."""
        self._tasks.set_function(lambda: len(asyncio.all_tasks(loop)))

    def overload_step(self, level: int, name: str) -> None:
        """The overload level is now ``level`` (0 to 3), called ``name``."""
        self._overload.set(level)
        self._overload_steps.labels(name).inc()

    def cpu_share(self, share: float) -> None:
        """Processor time used in the last second, 0 to 1 of what may be used."""
        self._cpu_share.set(share)

    def loop_lag(self, lag_s: float) -> None:
        """The event loop woke a sleeper ``lag_s`` seconds late."""
        self._lag_last.set(lag_s)
        self._lag.observe(lag_s)


class _Recordings(Collector):
    """What became of recordings."""

    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """Read them now."""
        counts = dict(self._counts())
        written = CounterMetricFamily("voicecore_recording_bytes", "Written to recordings")
        written.add_metric([], counts.pop("bytes", 0))
        family = CounterMetricFamily(
            "voicecore_recordings", "Recordings of calls by their fate", labels=["event"]
        )
        for name, count in counts.items():
            family.add_metric([name], count)
        yield from (family, written)
