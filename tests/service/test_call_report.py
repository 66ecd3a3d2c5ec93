"""What is told of a call: how it connected, how it ended."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from fakes.fake_plane import FakeLink, FakePlane
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.units import NS_PER_MS
from voicecore.service.call_report import CallReport
from voicecore.service.metrics import Metrics
from voicecore.service.tracing import NullTrace

MS = NS_PER_MS


def peer(described_ms: float | None = None, ice_ms: float | None = None) -> Any:
    noted = [None if ms is None else round(ms * MS) for ms in (described_ms, ice_ms)]
    return SimpleNamespace(described_ns=noted[0], ice_ns=noted[1])


class Rig:
    """A report of a call that was opened at 1000 ms."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.report = CallReport(self.metrics, NullTrace(), 1000 * MS)

    def connected(self, described_ms: float | None = None, ice_ms: float | None = None) -> None:
        link: Any = FakeLink()
        self.report.connected(peer(described_ms, ice_ms), link, 1500 * MS)

    def read(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def seconds(self, stage: str) -> float:
        assert self.read("voicecore_connect_seconds_count", stage=stage) == 1
        return round(self.read("voicecore_connect_seconds_sum", stage=stage), 6)

    def ice(self) -> dict[str, float]:
        families = self.metrics.registry.collect()
        samples = [s for f in families if f.name == "voicecore_ice_results" for s in f.samples]
        return {
            s.labels["result"]: s.value for s in samples if s.name.endswith("_total") and s.value
        }


def test_time_to_connect_is_split_at_its_milestones() -> None:
    rig = Rig()
    rig.connected(1200, 1450)
    stages = {stage: rig.seconds(stage) for stage in ("signalling", "ice", "dtls", "total")}
    assert stages == {"signalling": 0.2, "ice": 0.25, "dtls": 0.05, "total": 0.5}
    assert rig.ice() == {"connected": 1}
    assert rig.read("voicecore_ice_results_total", result="connected", local="host", remote="host")


def test_ice_may_be_over_before_the_answer_is_handed_out() -> None:
    rig = Rig()
    rig.connected(1300, 1250)
    assert (rig.seconds("ice"), rig.seconds("dtls")) == (0, 0.2)


def test_without_milestones_there_is_the_total() -> None:
    rig = Rig()
    rig.connected()
    assert rig.seconds("total") == 0.5
    assert rig.read("voicecore_connect_seconds_count", stage="ice") == 0


@pytest.mark.parametrize(
    ("reason", "described_ms", "result"),
    [
        ("peer_failed", 1200, "failed"),
        ("not_connected_in_time", 1200, "timeout"),
        ("hung_up", 1200, "abandoned"),
        ("not_connected_in_time", None, "unanswered"),
        ("hung_up", None, "unanswered"),
    ],
)
def test_how_ice_ended_without_a_pair(reason: str, described_ms: float | None, result: str) -> None:
    rig = Rig()
    rig.report.ended(reason, peer(described_ms), 2000 * MS)
    assert rig.ice() == {result: 1}


def test_refused_offers_and_connected_calls_tell_nothing_more_of_ice() -> None:
    for refused in ("offer_refused", "no_relay"):
        rig = Rig()
        rig.report.ended(refused, peer(), 2000 * MS)
        assert rig.ice() == {}
    rig = Rig()
    rig.connected(1200, 1300)
    rig.report.ended("peer_closed", peer(1200, 1300), 2000 * MS)
    assert rig.ice() == {"connected": 1}


def test_the_end_is_one_line_with_numbers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="voicecore")
    rig = Rig()
    rig.connected(1200, 1450)
    plane = FakePlane()
    plane.counters = {"expected": 500.0, "received": 500.0, "lost": 0.0, "fec": 0.0, "sent": 500.0,
                      "remote_reports": 2.0, "round_trip_ms": 50.0}  # fmt: skip
    rig.report.media(plane, 2, 40)
    rig.report.step(ev.PlayoutStarted(), 0, [act.RecordTurn({"total": 0.4})])
    rig.report.step(ev.PlayoutStarted(), 0, [act.RecordBargeIn()])
    rig.report.ended("hung_up", peer(1200, 1450), 4000 * MS)
    opened, ended = (record.__dict__["voicecore_fields"] for record in caplog.records)
    assert [record.getMessage() for record in caplog.records] == ["call connected", "call ended"]
    assert opened == {
        "local": "host", "remote": "host", "codec": "opus",
        "signalling_ms": 200.0, "ice_ms": 250.0, "dtls_ms": 50.0, "total_ms": 500.0,
    }  # fmt: skip
    assert ended == {
        "reason": "hung_up", "duration_s": 3.0, "turns": 1, "barge_ins": 1,
        "mos_in": 4.41, "mos_out": 4.41,
    }  # fmt: skip
    assert rig.read("voicecore_stale_events_total") == 2
    assert rig.read("voicecore_mos_count", direction="in") == 1
    assert rig.read("voicecore_loss_ratio_count", direction="out", kind="residual") == 1
    assert rig.read("voicecore_round_trip_seconds_sum") == 0.05


def test_counters_grow_by_what_came() -> None:
    rig = Rig()
    plane = FakePlane()
    plane.counters = {"received": 7.0, "remote_lost": 2.0}
    rig.report.media(plane, 0, 40)
    plane.counters = {"received": 9.0, "remote_lost": 1.0}
    rig.report.media(plane, 0, 40)
    assert rig.read("voicecore_media_packets_total", event="received") == 9
    assert rig.read("voicecore_media_packets_total", event="remote_lost") == 2
