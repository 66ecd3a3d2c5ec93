"""Adapts how one call is sent to what its far end reports (policy: ``core.send_policy``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from voicecore._native.outbound import Outbound
from voicecore.core.send_policy import (
    NetworkReport,
    SendLimits,
    SendSettings,
    SendState,
    decide,
)


class Reported(Protocol):
    """The far end's word (``MediaSession.network``)."""

    def network(self) -> dict[str, float]:
        """See :meth:`voicecore._native.media_session.MediaSession.network`."""
        ...


class SendControl:
    """Owned by a call; :meth:`look` is called for each report and once in a while without one.

    Loss comes from transport-wide feedback where there is any (it tells of every
    packet, ten times a second), else from receiver reports. ``outbound`` is configured only
    when something changed.
    """

    def __init__(
        self,
        session: Reported,
        outbound: Outbound,
        limits: SendLimits,
        *,
        overload: Callable[[], int],
        now: Callable[[], int],
    ) -> None:
        self._session = session
        self._outbound = outbound
        self._limits = limits
        self._overload = overload
        self._now = now
        self._state = SendState()
        self._settings: SendSettings | None = None
        self._reports = 0.0
        self._sent = outbound.packets
        self._reported = 0.0
        self._lost = 0.0

    @property
    def settings(self) -> SendSettings | None:
        """What was last wanted; None before the first look."""
        return self._settings

    def look(self) -> None:
        """Take what the far end said since the last look, and decide."""
        report = self._report(self._session.network())
        self._state, settings = decide(self._state, report, self._limits, self._now())
        if settings == self._settings:
            return
        self._settings = settings
        self._outbound.configure(
            bitrate_bps=settings.bitrate_bps,
            complexity=settings.complexity,
            fec=settings.fec,
            expected_loss_percent=settings.expected_loss_percent,
            red=settings.red,
            max_bandwidth_hz=settings.max_bandwidth_hz,
        )

    def _report(self, network: dict[str, float]) -> NetworkReport:
        loss, packets = self._loss(network)
        return NetworkReport(
            loss=loss,
            packets=packets,
            round_trip_ms=network["round_trip_ms"],
            jitter_ms=network["jitter_ms"] if network["reports"] else -1.0,
            overload=self._overload(),
        )

    def _loss(self, network: dict[str, float]) -> tuple[float, int]:
        """Fraction lost since the last look, and of how many packets."""
        if network["cc_feedbacks"]:
            reported = network["cc_reported"] - self._reported
            lost = network["cc_lost"] - self._lost
            self._reported, self._lost = network["cc_reported"], network["cc_lost"]
            return (min(max(lost / reported, 0.0), 1.0), int(reported)) if reported > 0 else (0, 0)
        if network["reports"] == self._reports:
            return 0.0, 0
        self._reports = network["reports"]
        packets = self._outbound.packets - self._sent
        self._sent = self._outbound.packets
        return network["fraction_lost"], packets
