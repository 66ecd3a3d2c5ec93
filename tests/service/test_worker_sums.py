"""Metrics of several workers as those of one service."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from voicecore.service.metrics import Metrics
from voicecore.service.workers import sums


class Counts:
    """One worker's, small."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.calls = Counter("calls", "Calls", ["flow"], registry=self.registry)
        self.active = Gauge("active", "Calls now", registry=self.registry)
        self.seconds = Histogram("seconds", "Time", buckets=(1, 2), registry=self.registry)

    def told(self) -> sums.Snapshot:
        """As another worker gets it."""
        return sums.from_bytes(sums.to_bytes(sums.snapshot(self.registry)))


def read(text: bytes) -> dict[str, float]:
    """Value by what stands before it in the text."""
    lines = [line for line in text.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def total(*parts: sums.Snapshot) -> dict[str, float]:
    return read(sums.exposition(dict(enumerate(parts)), [], 0)[0])


def test_what_is_counted_is_added_up_and_gauges_stay_apart() -> None:
    one, two = Counts(), Counts()
    one.calls.labels("offer").inc(3)
    two.calls.labels("offer").inc(4)
    two.calls.labels("answer").inc()
    one.active.set(2)
    two.active.set(5)
    for seconds in (0.5, 1.5):
        one.seconds.observe(seconds)
    two.seconds.observe(9)
    values = total(one.told(), two.told())
    assert values['calls_total{flow="offer"}'] == 7
    assert values['calls_total{flow="answer"}'] == 1
    assert (values['active{worker="0"}'], values['active{worker="1"}']) == (2, 5)
    assert "active" not in values
    assert [values[f'seconds_bucket{{le="{edge}"}}'] for edge in ("1.0", "2.0", "+Inf")] == [
        1, 2, 3,
    ]  # fmt: skip
    assert (values["seconds_count"], values["seconds_sum"]) == (3, 11)


def test_they_began_when_the_first_of_them_did() -> None:
    one, two = Counts(), Counts()
    for counts in (one, two):
        counts.calls.labels("offer").inc()
    began = [
        value
        for counts in (one, two)
        for family in counts.told()
        for name, _, value in family.samples
        if name == "calls_created"
    ]
    assert total(two.told(), one.told())['calls_created{flow="offer"}'] == min(began)


def test_the_text_of_real_metrics_is_valid() -> None:
    workers = [Metrics(), Metrics(), Metrics()]
    for number, metrics in enumerate(workers):
        metrics.call_opened("server_offers")
        metrics.turn({"stt": 0.1 * number, "total": 0.7})
        metrics.media("received", 10)
        if number:
            metrics.call_refused("at_capacity")
    parts = {n: sums.snapshot(one.registry) for n, one in enumerate(workers)}
    text, content_type = sums.exposition(parts, [], 2)
    own = workers[0].render()
    assert content_type == own[1]
    families = list(text_string_to_metric_families(text.decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "each TYPE and HELP once"
    expected = {family.name for family in text_string_to_metric_families(own[0].decode())}
    assert set(names) - expected >= {"voicecore_workers_silent", "voicecore_worker_restarts"}
    assert expected - set(names) == set()
    for kind in ("TYPE", "HELP"):
        heads = [line for line in text.decode().splitlines() if line.startswith(f"# {kind}")]
        assert len(heads) == len({head.split()[2] for head in heads})
    values = read(text)
    assert values['voicecore_calls_opened_total{flow="server_offers"}'] == 3
    assert values['voicecore_calls_refused_total{reason="at_capacity"}'] == 2
    assert values["voicecore_turns_total"] == 3
    assert values["voicecore_worker_restarts_total"] == 2
    assert values['process_resident_memory_bytes{worker="2"}'] > 0


def test_a_successor_counts_on_where_its_predecessor_was_told_to_be(tmp_path: Path) -> None:
    first = Counts()
    first.calls.labels("offer").inc(5)
    first.active.set(3)
    first.seconds.observe(1.5)
    assert sums.told_last(tmp_path, 1) == []
    sums.Kept(tmp_path, 1).with_predecessors(first.told())
    first.calls.labels("offer").inc()  # nobody is told of this one
    silent = total(sums.told_last(tmp_path, 1))
    assert silent['calls_total{flow="offer"}'] == 5
    assert not [name for name in silent if name.startswith("active")]

    for generation in (2, 3):
        successor = Counts()
        successor.calls.labels("offer").inc(2)
        successor.active.set(1)
        kept = sums.Kept(tmp_path, 1)
        for _ in range(2):  # telling it twice counts nothing twice
            values = total(kept.with_predecessors(successor.told()))
        assert values['calls_total{flow="offer"}'] == 5 + 2 * (generation - 1)
        assert values["seconds_count"] == 1
        assert values['active{worker="0"}'] == 1


def test_who_is_silent_is_counted() -> None:
    text, _ = sums.exposition({0: Counts().told(), 1: []}, [1], 0)
    assert read(text)["voicecore_workers_silent"] == 1


@pytest.mark.parametrize("data", [b"", b"{", b"7", b"[7]", b"[[1, 2]]"])
def test_a_file_that_broke_off_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "0.counts").write_bytes(data)
    assert sums.told_last(tmp_path, 0) == []
