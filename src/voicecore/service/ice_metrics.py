"""What is told of TURN servers, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from voicecore.transport.server_notes import TurnState

TurnServers = Callable[[], Sequence[TurnState]]
"""How each TURN server is now; cheap."""


class TurnCollector(Collector):
    """A gauge for each TURN server that was asked: by its place in the settings, not its name."""

    def __init__(self, servers: TurnServers) -> None:
        self._servers = servers

    def collect(self) -> Iterable[Metric]:
        """Ask now."""
        family = GaugeMetricFamily(
            "voicecore_turn_up",
            "1 where the TURN server gave a relay when we last tried, by its position in the"
            " settings",
            labels=["position", "transport"],
        )
        for one in self._servers():
            if one.up is not None:
                family.add_metric([str(one.position), one.transport], float(one.up))
        yield family
