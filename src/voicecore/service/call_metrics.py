"""What is counted of calls: admission, how they connect, how they end. For Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from voicecore.transport.server_notes import ServerFault

CALL_BUCKETS_S = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
CONNECT_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30)
"""From a caller on the same network to one whose last candidate pair is the one that works."""

_STAGES = ("signalling", "ice", "dtls", "total")
_FLOWS = ("server_offers", "client_offers")
_REASONS = ("at_capacity", "overloaded", "not_ready", "draining", "rate_limited")
_CANDIDATES = ("host", "srflx", "prflx", "relay")
_RESTARTED = ("connected", "failed", "replaced")
_WITHOUT_PAIR = ("failed", "timeout", "abandoned", "unanswered")


class CallMetrics:
    """A part of :class:`~voicecore.service.metrics.Metrics`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._opened = Counter(
            "voicecore_calls_opened", "Calls opened, by flow", ["flow"], registry=registry
        )
        self._refused = Counter(
            "voicecore_calls_refused", "Calls not admitted, by reason", ["reason"],
            registry=registry,
        )  # fmt: skip
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
            "Calls opened while no TURN server gave relays, by what was wrong",
            ["reason"],
            registry=registry,
        )
        self._restarts = Counter(
            "voicecore_ice_restarts",
            "ICE restarts that were answered, by how they went",
            ["result"],
            registry=registry,
        )
        self._connect = Histogram(
            "voicecore_connect_seconds",
            "Until media flow, by stage: signalling, ice, dtls; total is all of it",
            ["stage"],
            buckets=CONNECT_BUCKETS_S,
            registry=registry,
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """To Prometheus a series that begins at 1 has not grown."""
        for flow in _FLOWS:
            self._opened.labels(flow)
        for stage in _STAGES:
            self._connect.labels(stage)
        for reason in _REASONS:
            self._refused.labels(reason)
        for result in _RESTARTED:
            self._restarts.labels(result)
        for result in _WITHOUT_PAIR:
            self._ice.labels(result, "none", "none")
        for local, remote in product(_CANDIDATES, repeat=2):
            self._ice.labels("connected", local, remote)
        for fault in ServerFault:
            self._no_relay.labels(fault)
            self._refused.labels(f"turn_{fault}")

    def set_limit(self, limit: int) -> None:
        """The most calls at once, for dashboards."""
        self._limit.set(limit)

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

    def ice_result(self, result: str, local_type: str = "", remote_type: str = "") -> None:
        """ICE came to an end; once for each call whose description was not refused.

        ``connected``, ``failed``, ``timeout``, ``abandoned`` (the call was hung up before) or
        ``unanswered`` (it was never tried: only one side had described itself). The types are
        ``host``, ``srflx``, ``prflx`` or ``relay``; ``""`` without a pair.
        """
        self._ice.labels(result, local_type or "none", remote_type or "none").inc()

    def no_relay(self, reason: str) -> None:
        """A call came while no TURN server of those configured works (``ServerFault``)."""
        self._no_relay.labels(reason).inc()

    def ice_restart(self, result: str) -> None:
        """A restart is over: ``connected``, ``failed``, or ``replaced`` by a newer one."""
        self._restarts.labels(result).inc()

    def connected(self, stage_seconds: Mapping[str, float]) -> None:
        """Media flow; seconds by stage (signalling, ice, dtls, total)."""
        for stage, seconds in stage_seconds.items():
            self._connect.labels(stage).observe(max(0.0, seconds))
