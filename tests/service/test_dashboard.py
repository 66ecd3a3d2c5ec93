"""The dashboard and the alerts ask for nothing that isn't there; the page of metrics has all."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fakes.promql import Query, alert_queries, alerts, dashboard, dashboard_queries
from fakes.virtual_loop import virtually
from service.test_call import BrokenTts, Rig
from voicecore._native.plane import MediaThreads
from voicecore.core.speech_gate import EdgeKind
from voicecore.engines.resilience.provider import ProviderHealth
from voicecore.service.directory_metrics import DirectoryMetrics
from voicecore.service.metrics import Metrics
from voicecore.service.probe.deep_metrics import DeepMetrics
from voicecore.service.probe.report import Report
from voicecore.service.recording import Recordings
from voicecore.service.workers import sums
from voicecore.transport.server_notes import TurnState

DOCS = Path(__file__).parents[2] / "docs"
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""
OF_ALL = {"le", sums.WORKER}
"""Labels that are of histograms, and of gauges where there are workers."""

Exported = dict[str, dict[str, set[str]]]
"""By sample name: its labels, and the values they have."""


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    """Of a service that had a call: two turns, an interruption, a voice that failed."""
    tts = BrokenTts(2.0)
    made: list[Metrics] = []

    async def main() -> None:
        rig = Rig(tts=tts)
        made.append(rig.metrics)
        rig.plane.counters = {
            "expected": 500.0, "received": 500.0, "lost": 0.0, "fec": 0.0, "sent": 500.0,
            "remote_reports": 2.0, "round_trip_ms": 50.0, "concealed_ms": 20.0,
        }  # fmt: skip
        rig.metrics.call_opened("server_offers")
        rig.connect()
        await rig.speak()
        await rig.plane.run(700)
        rig.edge(EdgeKind.ONSET)
        rig.edge(EdgeKind.CONFIRMED)
        await rig.plane.run(400)
        tts.broken = True
        rig.edge(EdgeKind.RELEASED)
        await rig.plane.run(900)
        rig.call.hang_up("hung_up")
        rig.metrics.call_ended("hung_up", 4.0)
        await rig.close()

    virtually(main())
    (metrics,) = made
    engines(metrics)
    threads = MediaThreads(rx_threads=1, tx_threads=1, vad=None)
    counters = threads.counters()
    threads.close()
    metrics.watch_media(lambda: counters)
    recordings = Recordings(tmp_path_factory.mktemp("recordings"), "a test")
    metrics.watch_recordings(lambda: recordings.counts)
    recordings.close()
    DeepMetrics(metrics.registry).take(Report(failed_stage="ice", answer_ms=1.0))
    return metrics


def engines(metrics: Metrics) -> None:
    """What only engines that fail, a busy machine and several instances have to tell."""
    metrics.watch_engines(lambda: {"stt": [ProviderHealth("near", "up")]})
    metrics.watch_turn(lambda: [TurnState(1, "udp", up=True)])
    metrics.vad_backend("native", "avx2")
    metrics.engines.first_byte("llm", "near", 0.1)
    metrics.engines.finalised("stt", "near", 0.1)
    metrics.engines.failed("llm", "near", "llm_timeout")
    metrics.engines.reconnected("stt", "near")
    metrics.engines.fell_back("llm", "near", "far", "failed")
    metrics.engines.circuit("llm", "near", "open")
    metrics.overload_step(1, "trimmed")
    directory = DirectoryMetrics(metrics.registry)
    directory.up(True)
    directory.told(1, 1)
    directory.degraded_admission(True)


@pytest.fixture(scope="module")
def text(metrics: Metrics) -> str:
    """As it is scraped where there are workers."""
    return sums.exposition({0: sums.snapshot(metrics.registry)}, [], 0)[0].decode()


@pytest.fixture(scope="module")
def exported(text: str) -> Exported:
    found: Exported = defaultdict(lambda: defaultdict(set))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found[sample.name]
            for name, value in sample.labels.items():
                labels[name].add(value)
    return found


@pytest.mark.parametrize("query", dashboard_queries() + alert_queries(), ids=lambda q: q.place)
def test_what_is_asked_for_is_there(query: Query, exported: Exported) -> None:
    selectors = query.selectors()
    assert selectors, query.expr
    labels = set(SCRAPED)
    for name, matchers in selectors:
        if name == "up":
            continue
        assert name in exported, f"{name} is not exported"
        labels |= exported[name].keys()
        for label, operator, value in matchers:
            assert label in exported[name].keys() | SCRAPED, f"{name} has no label {label}"
            if operator == "=" and label not in SCRAPED:
                assert value in exported[name][label], f"{name} has no {label}={value}"
    assert query.grouped() <= labels


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = dashboard()
    assert {v["name"] for v in board["templating"]["list"]} == {"datasource", "instance"}
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert [panel["title"] for panel in panels if panel["type"] == "row"] == [
        "Calls and admission", "ICE and relay", "Latency", "Audio quality", "Turns and barge-in",
        "Engines", "Process", "Instances and workers",
    ]  # fmt: skip
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another"
        taken |= cells
        for target in panel.get("targets", ()):
            assert 'instance=~"$instance"' in target["expr"], panel["title"]


def test_an_alert_says_what_is_wrong_and_where_to_read_on() -> None:
    headings = re.findall(r"^### (Alert: .*)$", (DOCS / "operations.md").read_text(), re.M)
    anchors = {re.sub(r"[^a-z]+", "-", heading.lower()) for heading in headings}
    told = {rule["annotations"]["runbook"].partition("#")[2] for rule in alerts()}
    assert told == anchors
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md"
        assert anchor in anchors, f"{rule['alert']}: nothing is written of {anchor}"
        assert rule["for"]


def test_the_page_has_every_metric_with_its_labels(text: str) -> None:
    # What is counted of several workers is held to its section by test_worker_sums.py.
    page = (DOCS / "metrics.md").read_text()
    page = re.sub(r"### Several workers\n.*?(?=\n## )", "", page, flags=re.S)
    rows = dict(re.findall(r"^\| `(voicecore_\w+)` \|(.*?)\| ", page, re.M))
    found = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("voicecore_") and not family.name.endswith("_created")
    }
    assert rows.keys() == found.keys()
    for name, family in found.items():
        labels = {label for sample in family.samples for label in sample.labels} - OF_ALL
        assert set(re.findall(r"`(\w+)`", rows[name])) == labels, name


def test_nothing_is_said_of_a_caller_or_of_what_was_said(metrics: Metrics, text: str) -> None:
    assert metrics.registry.get_sample_value("voicecore_turns_total"), "the call had an answer"
    for secret in ("hello", "id-1", "one two three", "192.0.2.2"):
        assert secret not in text
