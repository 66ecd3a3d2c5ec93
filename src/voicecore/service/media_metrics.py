"""What is counted of packets, and how calls sound. For Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from voicecore.errors import MisuseError
from voicecore.service.call_quality import Period

_LATE_EDGES_MS = (1, 2, 5, 10, 20, 40)
"""Of the bins of 1 ms; a packet lasts 20."""
_OF_STREAMS = ("stalls", "byes")
LOSS_BUCKETS = (0, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
JITTER_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
ROUND_TRIP_BUCKETS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1, 2)
MOS_BUCKETS = (1.5, 2, 2.5, 3, 3.25, 3.5, 3.75, 4, 4.1, 4.2, 4.3, 4.4)
"""4.41 is the best that the scale has (``core/e_model.py``)."""


class MediaMetrics:
    """A part of :class:`~voicecore.service.metrics.Metrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
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
        self._qualities(registry)

    def _qualities(self, registry: CollectorRegistry) -> None:
        each = "in each ten seconds of each call"
        self._loss = Histogram(
            "voicecore_loss_ratio",
            f"Share of packets lost {each}; residual: after RED, FEC and repetition",
            ["direction", "kind"],
            buckets=LOSS_BUCKETS,
            registry=registry,
        )
        self._jitter = Histogram(
            "voicecore_jitter_seconds",
            f"Interarrival jitter (RFC 3550) {each}",
            ["direction"],
            buckets=JITTER_BUCKETS_S,
            registry=registry,
        )
        self._round_trip = Histogram(
            "voicecore_round_trip_seconds",
            f"Round trip of RTCP {each}",
            buckets=ROUND_TRIP_BUCKETS_S,
            registry=registry,
        )
        self._mos = Histogram(
            "voicecore_mos",
            f"Estimated mean opinion score (E-model, 1 to 4.41) {each}",
            ["direction"],
            buckets=MOS_BUCKETS,
            registry=registry,
        )
        # To Prometheus a series that begins at 1 has not grown: they begin at 0.
        for direction in ("in", "out"):
            self._jitter.labels(direction)
            self._mos.labels(direction)
            for kind in ("network", "residual"):
                self._loss.labels(direction, kind)

    def watch_media(self, counters: Callable[[], Mapping[str, Any]]) -> None:
        """Show what the media threads count (``MediaThreads.counters``), asked at each scrape."""
        self.registry.register(_MediaThreads(counters))

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

    def quality(self, direction: str, period: Period) -> None:
        """How ``direction`` was for a while: ``in`` (the caller's voice) or ``out`` (ours)."""
        self._loss.labels(direction, "network").observe(period.loss)
        self._loss.labels(direction, "residual").observe(period.residual_loss)
        self._jitter.labels(direction).observe(period.jitter_ms / 1000)
        self._mos.labels(direction).observe(period.mos)

    def round_trip(self, seconds: float) -> None:
        """A call's round trip, once in a while."""
        self._round_trip.observe(seconds)


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
