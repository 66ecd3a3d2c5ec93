"""What the far end reports, turned into settings of the encoder; nothing changes for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from voicecore.core.send_policy import SendLimits
from voicecore.transport.send_control import SendControl

SECOND = 1_000_000_000
QUIET = {
    "round_trip_ms": 40.0, "jitter_ms": 2.0, "reports": 0, "fraction_lost": 0.0,
    "packets_lost": 0, "cc_reported": 0, "cc_lost": 0, "cc_feedbacks": 0,
}  # fmt: skip


class HandOutbound:
    """Counts packets by hand, notes every configuration."""

    def __init__(self) -> None:
        self.packets = 0
        self.configured: list[dict[str, Any]] = []

    def configure(self, **settings: Any) -> None:
        self.configured.append(settings)


class Rig:
    def __init__(self) -> None:
        self.far = dict(QUIET)
        self.outbound = HandOutbound()
        self.now_ns = 100 * SECOND
        self.overload = 0
        limits = SendLimits(
            bitrate_bps=32_000, min_bitrate_bps=12_000, max_bitrate_bps=128_000, complexity=5,
            red=True, fec=True,
        )  # fmt: skip
        session: Any = self
        outbound: Any = self.outbound
        self.control = SendControl(
            session, outbound, limits, overload=lambda: self.overload, now=lambda: self.now_ns
        )

    def network(self) -> dict[str, float]:
        return dict(self.far)

    def second(self, **far: float) -> None:
        """A second passes, fifty packets are sent, and the far end says so much more."""
        self.now_ns += SECOND
        self.outbound.packets += 50
        self.far |= far
        self.control.look()

    def feedback(self, reported: int, lost: int) -> None:
        """Transport-wide feedback of the last second; its figures are sums."""
        self.second(
            cc_reported=self.far["cc_reported"] + reported,
            cc_lost=self.far["cc_lost"] + lost,
            cc_feedbacks=self.far["cc_feedbacks"] + 10,
        )


def test_the_encoder_is_configured_when_something_changed_and_not_else() -> None:
    rig = Rig()
    assert rig.control.settings is None
    for _ in range(20):
        rig.second()
    assert len(rig.outbound.configured) == 1
    (first,) = rig.outbound.configured
    assert first["bitrate_bps"] == 32_000
    assert (first["fec"], first["red"], first["complexity"]) == (False, False, 5)
    assert rig.control.settings is not None


def test_loss_by_transport_wide_feedback_raises_protection_within_three_seconds() -> None:
    rig = Rig()
    for _ in range(5):
        rig.feedback(50, 0)
    for _ in range(3):
        rig.feedback(50, 2)
    assert rig.outbound.configured[-1]["fec"] or rig.outbound.configured[-1]["red"]


def test_loss_by_receiver_reports_alone() -> None:
    rig = Rig()
    rig.second()
    for report in (1, 2):
        for _ in range(4):
            rig.second()
        rig.second(reports=report, fraction_lost=0.1)
    last = rig.outbound.configured[-1]
    assert last["fec"] or last["red"]


def test_feedback_counts_before_reports_which_lag_behind() -> None:
    rig = Rig()
    for report in range(1, 12):
        rig.far |= {"reports": report, "fraction_lost": 0.3}
        rig.feedback(50, 0)
    assert len(rig.outbound.configured) == 1, "what packets themselves tell is newer"


@pytest.mark.parametrize("looks", [2, 10])
def test_a_report_counts_once_however_often_one_looks(looks: int) -> None:
    once, often = Rig(), Rig()
    for rig, times in ((once, 1), (often, looks)):
        for report in range(1, 4):
            rig.second(reports=report, fraction_lost=0.03)
            for _ in range(times - 1):
                rig.control.look()
    assert often.outbound.configured == once.outbound.configured


def test_figures_that_run_backwards_or_are_absurd_are_no_loss() -> None:
    rig = Rig()
    rig.feedback(50, 0)
    rig.feedback(50, -20)
    rig.feedback(-50, 10)
    rig.feedback(0, 0)
    assert len(rig.outbound.configured) == 1
    rig.feedback(10, 1000)
    settings = rig.control.settings
    assert settings is not None
    assert settings.expected_loss_percent <= 100


def test_overload_takes_complexity_back() -> None:
    rig = Rig()
    rig.second()
    rig.overload = 2
    rig.second()
    assert rig.outbound.configured[-1]["complexity"] < rig.outbound.configured[0]["complexity"]
