"""How a call sounded for a while, both ways, from what its media plane has counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from voicecore.core.e_model import CODECS, OPUS, PACKET_MS, mos, rating, residual_loss

LEAST_PACKETS = 50
"""Of fewer a share says nothing: one of them is 2%."""

Stats = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Period:
    """One direction for a while.

    ``loss`` of packets on the network, ``residual_loss`` of what was to be heard (both 0 to
    1); ``jitter_ms`` as RFC 3550 has it; ``mos`` from 1 to 4.41 (``core/e_model.py``).
    """

    loss: float
    residual_loss: float
    jitter_ms: float
    mos: float


class Played(Protocol):
    """What a plane knows of the agent's voice at the far end."""

    @property
    def played(self) -> int:
        """Samples sent so far."""
        ...

    def lost(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """Stretches of [start, end) that never reached the caller."""
        ...


class CallQuality:
    """Belongs to one call. Each look judges what came since the one before.

    Inbound: a slot of the jitter buffer is lost unless RED, FEC or repetition filled it.
    Outbound: where the far end tells of every packet (transport-wide feedback), what it
    missed of the agent's voice; else what its reports lose, less what RED sent twice.
    """

    def __init__(self, codec: str) -> None:
        self._codec = CODECS.get(codec, OPUS)
        self._seen: dict[str, float] = {}
        self._played = 0
        self._scores: dict[str, list[float]] = {"in": [0.0, 0.0], "out": [0.0, 0.0]}

    def look(self, stats: Stats, plane: Played, far_buffer_ms: float) -> dict[str, Period]:
        """The directions of which enough packets are known, by name: ``in``, ``out``.

        ``far_buffer_ms``: what the caller's jitter buffer holds back.
        """
        since = {name: value - self._seen.get(name, 0.0) for name, value in stats.items()}
        # One way; each end has one packet in hand before it can send or decode it.
        network_ms = stats.get("round_trip_ms", 0.0) / 2 + PACKET_MS
        periods = {}
        if since.get("expected", 0.0) >= LEAST_PACKETS:
            periods["in"] = self._inbound(stats, since, network_ms)
            self._forget(stats, "expected", "lost", "fec", "received", "frames", "waited_ms")
        if since.get("sent", 0.0) >= LEAST_PACKETS and stats.get("remote_reports", 0.0):
            periods["out"] = self._outbound(stats, since, plane, network_ms + far_buffer_ms)
            self._forget(stats, "sent", "remote_lost", "redundant")
        for direction, period in periods.items():
            score = self._scores[direction]
            score[0] += period.mos
            score[1] += 1
        return periods

    def mean_mos(self, direction: str) -> float | None:
        """Over all periods so far; None before the first."""
        total, count = self._scores[direction]
        return total / count if count else None

    def _inbound(self, stats: Stats, since: Stats, network_ms: float) -> Period:
        expected = since["expected"]
        loss = _share(expected - since["received"], expected)
        residual = _share(since["lost"] - since["fec"], expected)
        waited_ms = since.get("waited_ms", 0.0) / max(since.get("frames", 0.0), 1.0)
        jitter_ms = 1000 * stats.get("jitter", 0.0) / max(stats.get("clock_hz", 0.0), 1.0)
        return Period(loss, residual, jitter_ms, self._mos(residual, network_ms + waited_ms))

    def _outbound(self, stats: Stats, since: Stats, plane: Played, delay_ms: float) -> Period:
        sent = since["sent"]
        loss = _share(since.get("remote_lost", 0.0), sent)
        before, self._played = self._played, plane.played
        if stats.get("remote_feedback", 0.0) and self._played > before:
            missed = sum(end - start for start, end in plane.lost(before, self._played))
            residual = _share(missed, self._played - before)
        else:
            residual = residual_loss(loss, _share(since.get("redundant", 0.0), sent))
        jitter_ms = stats.get("remote_jitter_ms", 0.0)
        return Period(loss, residual, jitter_ms, self._mos(residual, delay_ms))

    def _mos(self, loss: float, delay_ms: float) -> float:
        return mos(rating(loss, delay_ms, self._codec))

    def _forget(self, stats: Stats, *names: str) -> None:
        self._seen.update((name, stats.get(name, 0.0)) for name in names)


def _share(part: float, whole: float) -> float:
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0
