"""What the service counts, for Prometheus.

One :class:`Metrics` has a registry of its own, so that several servers (and
tests) live in one process. All methods are cheap (microseconds) and belong to
the event loop's thread. Labels come from the program, never from callers: no
label holds an id, an address or a text that was said.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from voicecore.errors import MisuseError
from voicecore.service.engine_metrics import STAGE_BUCKETS_S, EngineMetrics
from voicecore.service.version import version

LAG_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)
_LATE_EDGES_MS = (1, 2, 5, 10, 20, 40)
"""Of the bins of 1 ms; a packet lasts 20."""
_OF_STREAMS = ("stalls", "byes")
CALL_BUCKETS_S = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._build(registry)
        self._opened = Counter(
            "voicecore_calls_opened", "Calls opened, by flow", ["flow"], registry=registry
        )
        self._ended = Counter(
            "voicecore_calls_ended", "Calls ended, by reason", ["reason"], registry=registry
        )
        self._active = Gauge("voicecore_calls_active", "Calls now", registry=registry)
        self._limit = Gauge("voicecore_calls_limit", "The most calls at once", registry=registry)
        self._duration = Histogram(
            "voicecore_call_duration_seconds",
            "Length of ended calls",
            buckets=CALL_BUCKETS_S,
            registry=registry,
        )
        self._ice = Counter(
            "voicecore_ice_results",
            "Ends of ICE, with the candidate types of the chosen pair",
            ["result", "local", "remote"],
            registry=registry,
        )
        self._no_relay = Counter(
            "voicecore_ice_no_relay",
            "Times no TURN server gave a call its relay",
            registry=registry,
        )
        self._turn_and_media(registry)
        self.engines = EngineMetrics(registry)
        self._load(registry)

    def _load(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "voicecore_calls_refused",
            "Calls not admitted, by reason",
            ["reason"],
            registry=registry,
        )
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

    def _build(self, registry: CollectorRegistry) -> None:
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

    def _turn_and_media(self, registry: CollectorRegistry) -> None:
        self._turns = Counter("voicecore_turns", "Turns answered", registry=registry)
        self._stages = Histogram(
            "voicecore_turn_stage_seconds",
            "Latency of each stage of a turn",
            ["stage"],
            buckets=STAGE_BUCKETS_S,
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
        self._media = Counter(
            "voicecore_media_packets", "Packets on the media path", ["event"], registry=registry
        )
        self._streams = Counter(
            "voicecore_media_streams",
            "What callers' streams did: stalls (packets ceased unannounced), byes",
            ["event"],
            registry=registry,
        )
        self._media_time = Counter(
            "voicecore_media_seconds", "Audio with a fate of its own", ["event"], registry=registry
        )
        self._engine_failures = Counter(
            "voicecore_engine_failures", "Engine failures", ["stage", "code"], registry=registry
        )

    def watch_media(self, counters: Callable[[], Mapping[str, Any]]) -> None:
        """Show what the media threads count (``MediaThreads.counters``), asked at each scrape."""
        self.registry.register(_MediaThreads(counters))

    def watch_recordings(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Show what became of recordings (``Recordings.counts``), asked at each scrape."""
        self.registry.register(_Recordings(counts))

    def set_limit(self, limit: int) -> None:
        """The most calls at once, for dashboards."""
        self._limit.set(limit)

    def vad_backend(self, name: str, isa: str) -> None:
        """What computes the Silero VAD; ``isa`` is ``""`` where it is not ours to know."""
        self._vad_backend.labels(name, isa).set(1)

    def call_opened(self, flow: str) -> None:
        """A call took its place; ``flow`` is ``"server_offers"`` or ``"client_offers"``."""
        self._opened.labels(flow).inc()
        self._active.inc()

    def call_ended(self, reason: str, duration_s: float) -> None:
        """A call gave its place back. Once for each :meth:`call_opened`."""
        self._ended.labels(reason).inc()
        self._duration.observe(max(0.0, duration_s))
        self._active.dec()

    def call_refused(self, reason: str) -> None:
        """A call was not admitted, for the error code ``reason``."""
        self._refused.labels(reason).inc()

    def overload_step(self, level: int, name: str) -> None:
        """The overload level is now ``level`` (0 to 3), called ``name``."""
        self._overload.set(level)
        self._overload_steps.labels(name).inc()

    def cpu_share(self, share: float) -> None:
        """Processor time used in the last second, 0 to 1 of what may be used."""
        self._cpu_share.set(share)

    def ice_result(self, result: str, local_type: str = "", remote_type: str = "") -> None:
        """ICE came to an end: ``connected``, ``failed`` or ``timeout``.

        The types are ``host``, ``srflx``, ``prflx`` or ``relay``; ``""`` without a pair.
        """
        self._ice.labels(result, local_type or "none", remote_type or "none").inc()

    def no_relay(self) -> None:
        """TURN servers are configured, and none gave a call a relay."""
        self._no_relay.inc()

    def turn(self, stage_seconds: Mapping[str, float]) -> None:
        """A turn was answered; seconds by stage (endpoint, stt, llm, tts, packet, total)."""
        self._turns.inc()
        for stage, seconds in stage_seconds.items():
            self._stages.labels(stage).observe(max(0.0, seconds))

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

    def media(self, name: str, count: int) -> None:
        """Add ``count`` (>= 0) packets that were received, lost, late, sent and the like.

        A name that ends in ``_ms`` counts milliseconds of audio instead
        (``concealed_ms``); it is exported in seconds. ``stalls`` and ``byes`` are of streams.
        """
        if count < 0:
            raise MisuseError(f"a counter can't fall: {name} by {count}")
        if name.endswith("_ms"):
            self._media_time.labels(name.removesuffix("_ms")).inc(count / 1000)
        elif name in _OF_STREAMS:
            self._streams.labels(name).inc(count)
        else:
            self._media.labels(name).inc(count)

    def engine_failed(self, stage: str, code: str) -> None:
        """An engine of ``stage`` (stt, llm, tts, vad) failed with that error code."""
        self._engine_failures.labels(stage, code).inc()

    def watch_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Show how many tasks ``loop`` has: a number that must not grow with ended calls."""
        self._tasks.set_function(lambda: len(asyncio.all_tasks(loop)))

    def loop_lag(self, lag_s: float) -> None:
        """The event loop woke a sleeper ``lag_s`` seconds late."""
        self._lag_last.set(lag_s)
        self._lag.observe(lag_s)

    def render(self) -> tuple[bytes, str]:
        """The exposition text and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


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


class _MediaThreads(Collector):
    """Counters of the media threads; their lateness as histograms."""

    def __init__(self, counters: Callable[[], Mapping[str, Any]]) -> None:
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        """Read them now."""
        counters = self._counters()
        events = CounterMetricFamily(
            "voicecore_media_threads", "Datagrams and frames by their fate", labels=["event"]
        )
        for name, count in counters.items():
            if isinstance(count, int):
                events.add_metric([name], count)
        yield events
        yield _lateness(
            "voicecore_tx_late_seconds",
            "How late the sending clock began a slot of calls",
            counters["tx_late_ms"],
        )
        yield _lateness(
            "voicecore_rx_late_seconds",
            "How long the packets of calls waited to be read",
            counters["rx_late_ms"],
        )


def _lateness(name: str, text: str, bins: Sequence[int]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text)
    buckets: list[tuple[str, float]] = []
    for edge_ms in _LATE_EDGES_MS:
        buckets.append((str(edge_ms / 1000), float(sum(bins[:edge_ms]))))
    total = float(sum(bins))
    middle_s = sum((ms + 0.5) * count for ms, count in enumerate(bins)) / 1000
    family.add_metric([], [*buckets, ("+Inf", total)], sum_value=middle_s)
    return family
