"""The metrics of several workers as those of one service.

Counters and histograms are added up; gauges stay apart by a label ``worker``. Numbers
travel as what the registry collected, not as text, which would have to be parsed.

A counter must not fall: Prometheus would take the whole rest for new. So a worker
keeps what it told last in a file of the workers' folder. There it counts on while it
doesn't answer, and its successor counts on from there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

WORKER = "worker"

_ADDED_UP = frozenset({"counter", "histogram", "summary"})
_CREATED = "_created"


class Family(NamedTuple):
    """A metric as it was collected; ``samples`` are names, labels and values."""

    name: str
    type: str
    text: str
    unit: str
    samples: list[tuple[str, dict[str, str], float]]


Snapshot = list[Family]


def snapshot(registry: CollectorRegistry) -> Snapshot:
    """What ``registry`` has now. On the thread that the metrics belong to."""
    return [
        Family(
            family.name,
            family.type,
            family.documentation,
            family.unit,
            [(sample.name, dict(sample.labels), float(sample.value)) for sample in family.samples],
        )
        for family in registry.collect()
    ]


def to_bytes(families: Snapshot) -> bytes:
    """For the wire, and for the file."""
    return json.dumps(families).encode()


def from_bytes(data: bytes) -> Snapshot:
    """What :func:`to_bytes` made. Raises ValueError."""
    try:
        return [Family(*family) for family in json.loads(data)]
    except TypeError:
        raise ValueError("no snapshot of metrics") from None


def added_up(parts: Iterable[tuple[int, Snapshot]]) -> Snapshot:
    """The families of all ``parts``, which are worker and snapshot."""
    total: dict[str, tuple[Family, dict[Any, float]]] = {}
    for worker, families in parts:
        for family in families:
            head, values = total.setdefault(family.name, (family, {}))
            for name, labels, value in family.samples:
                if head.type not in _ADDED_UP:
                    labels = {**labels, WORKER: str(worker)}
                key = (name, tuple(labels.items()))
                if name.endswith(_CREATED):
                    values[key] = min(value, values.get(key, value))
                else:
                    values[key] = values.get(key, 0.0) + value
    return [
        head._replace(samples=[(name, dict(labels), v) for (name, labels), v in values.items()])
        for head, values in total.values()
    ]


def counted(families: Snapshot) -> Snapshot:
    """Those that are added up."""
    return [family for family in families if family.type in _ADDED_UP]


def told_last(folder: Path, worker: int) -> Snapshot:
    """What ``worker`` and its predecessors had counted when that was last told; else nothing."""
    try:
        return from_bytes(_file(folder, worker).read_bytes())
    except (OSError, ValueError):
        return []


class Kept:
    """What one worker counts, on top of what its predecessors had.

    May be used on any thread, on one at a time.
    """

    def __init__(self, folder: Path, worker: int) -> None:
        self._path = _file(folder, worker)
        self._worker = worker
        self._before = told_last(folder, worker)

    def with_predecessors(self, now: Snapshot) -> Snapshot:
        """``now`` and what was counted before this process; kept, for it is to be told."""
        parts = [(self._worker, self._before), (self._worker, counted(now))]
        whole = added_up(parts)
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(to_bytes(whole))
        fresh.replace(self._path)
        return [*whole, *(family for family in now if family.type not in _ADDED_UP)]


def _file(folder: Path, worker: int) -> Path:
    return folder / f"{worker}.counts"


class _Total:
    """What Prometheus' own writer takes for a registry."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def exposition(
    parts: Mapping[int, Snapshot], silent: Sequence[int], restarts: int
) -> tuple[bytes, str]:
    """The text for Prometheus and its content type.

    ``silent`` are the workers of whom ``parts`` has only what they told before.
    """
    families = [_metric(family) for family in added_up(parts.items())]
    families.append(
        GaugeMetricFamily(
            "voicecore_workers_silent", "Workers that didn't answer this scrape", len(silent)
        )
    )
    families.append(
        CounterMetricFamily(
            "voicecore_worker_restarts", "Times a worker was started again", restarts
        )
    )
    total: Any = _Total(families)
    return generate_latest(total), CONTENT_TYPE_LATEST


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.text, family.type, family.unit)
    for name, labels, value in family.samples:
        metric.add_sample(name, labels, value)
    return metric
