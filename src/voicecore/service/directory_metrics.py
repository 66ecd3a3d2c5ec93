"""What is counted of the directory of all instances, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_RESERVE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class DirectoryMetrics:
    """Belongs to the event loop's thread. Made only where there is a directory."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._up = Gauge(
            "voicecore_directory_up",
            "Whether Redis could be asked when we last tried",
            registry=registry,
        )
        self._reserve = Histogram(
            "voicecore_directory_reserve_seconds",
            "What a call waited for its place among all instances",
            buckets=_RESERVE_BUCKETS_S,
            registry=registry,
        )
        self._degraded = Counter(
            "voicecore_directory_degraded_admissions",
            "Calls that our own share decided on, since Redis could not be asked",
            ["outcome"],
            registry=registry,
        )
        self._calls = Gauge(
            "voicecore_cluster_calls", "Calls of all instances, as last told", registry=registry
        )
        self._members = Gauge(
            "voicecore_cluster_instances",
            "Instances in the directory, as last told",
            registry=registry,
        )

    def up(self, up: bool) -> None:
        """Redis can be asked, or it can't."""
        self._up.set(up)

    def reserved(self, seconds: float) -> None:
        """A call was given a place, or none."""
        self._reserve.observe(max(0.0, seconds))

    def degraded_admission(self, admitted: bool) -> None:
        """A call's admission was decided without asking."""
        self._degraded.labels("admitted" if admitted else "refused").inc()

    def told(self, calls: int, members: int) -> None:
        """What the directory said of all instances."""
        self._calls.set(calls)
        self._members.set(members)
