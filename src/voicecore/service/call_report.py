"""What is told of one call: figures, log lines, a trace. It changes nothing of the call."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.units import NS_PER_S
from voicecore.service.call_quality import CallQuality
from voicecore.service.logs import tell
from voicecore.service.metrics import Metrics
from voicecore.service.tracing import CallTrace
from voicecore.transport.peer import AudioLink, Peer
from voicecore.transport.plane import MediaPlane

_LOG = logging.getLogger(__name__)

_COUNTED = (
    "received", "lost", "late", "duplicate", "reordered", "fec", "red", "malformed", "unknown_pt",
    "concealed_ms", "sent", "encoded", "redundant", "retransmitted", "rejected",
    "remote_lost", "stalls", "byes",
)  # fmt: skip
"""Counters of the media plane that ``/metrics`` shows."""

_REFUSED = ("offer_failed", "offer_refused", "no_relay")
"""Ends of calls that never had a description: nothing of ICE is to be told of them."""


class CallReport:
    """Belongs to one call. ``began_ns``: when it was opened, on the clock of all times here."""

    def __init__(self, metrics: Metrics, trace: CallTrace, began_ns: int) -> None:
        self._metrics = metrics
        self._trace = trace
        self._began_ns = began_ns
        self._connected = False
        self._quality: CallQuality | None = None
        self._counted: dict[str, int] = {}
        self._turns = 0
        self._barge_ins = 0

    def connected(self, peer: Peer, link: AudioLink, now_ns: int) -> None:
        """Media flow."""
        self._connected = True
        self._quality = CallQuality(link.format.codec)
        local, remote = link.selected_types()
        stages_ns = self._stages(peer, now_ns)
        seconds = {name: (end - start) / NS_PER_S for name, (start, end) in stages_ns.items()}
        seconds["total"] = (now_ns - self._began_ns) / NS_PER_S
        self._metrics.ice_result("connected", local, remote)
        self._metrics.connected(seconds)
        kinds = {"ice.local": local, "ice.remote": remote, "codec": link.format.codec}
        self._trace.connected(stages_ns, kinds)
        took_ms = {f"{name}_ms": round(1000 * took, 1) for name, took in seconds.items()}
        tell(_LOG, "call connected", local=local, remote=remote, codec=link.format.codec, **took_ms)

    @property
    def mos(self) -> dict[str, float | None]:
        """How it has sounded so far, ``in`` and ``out``: the mean MOS, None as long as unknown."""
        return {direction: self._mos(direction) for direction in ("in", "out")}

    def step(self, event: ev.Event, now_ns: int, actions: Sequence[act.Action]) -> None:
        """The session took ``event`` and answered with ``actions``."""
        self._trace.step(event, now_ns, actions)
        for action in actions:
            self._turns += isinstance(action, act.RecordTurn)
            self._barge_ins += isinstance(action, act.RecordBargeIn)

    def media(self, plane: MediaPlane, stale_events: int, far_buffer_ms: float) -> None:
        """Add what happened to packets since the last time to the metrics.

        ``far_buffer_ms``: what the caller's jitter buffer holds back.
        """
        stats = plane.stats()
        for name in _COUNTED:
            self._metrics.media(name, self._since(name, int(stats.get(name, 0))))
        self._metrics.stale_events(self._since("stale_events", stale_events))
        if self._quality is None:
            return
        periods = self._quality.look(stats, plane, far_buffer_ms)
        for direction, period in periods.items():
            self._metrics.quality(direction, period)
        if "out" in periods and stats.get("round_trip_ms", 0.0) > 0:
            self._metrics.round_trip(stats["round_trip_ms"] / 1000)

    def ended(self, reason: str, peer: Peer, now_ns: int) -> None:
        """The call is over; once."""
        if not self._connected and reason not in _REFUSED:
            self._metrics.ice_result(_ice_result(reason, described=peer.described_ns is not None))
        duration_s = round((now_ns - self._began_ns) / NS_PER_S, 3)
        heard, told = self._mos("in"), self._mos("out")
        counts = {"turns": self._turns, "barge_ins": self._barge_ins}
        scores = {"mos_in": heard, "mos_out": told}
        self._trace.end(now_ns, {"end_reason": reason, **counts, **scores})
        tell(_LOG, "call ended", reason=reason, duration_s=duration_s, **counts, **scores)

    def _stages(self, peer: Peer, now_ns: int) -> dict[str, tuple[int, int]]:
        """From one milestone to the next, as far as the peer has noted them."""
        stages, before = {}, self._began_ns
        for stage, at in (("signalling", peer.described_ns), ("ice", peer.ice_ns)):
            if at is not None:
                # ICE may be done before the answer to an offer has been handed out.
                at = min(max(at, before), now_ns)
                stages[stage] = (before, at)
                before = at
        if "ice" in stages:
            stages["dtls"] = (before, now_ns)
        return stages

    def _since(self, name: str, count: int) -> int:
        grown = max(count - self._counted.get(name, 0), 0)
        self._counted[name] = count
        return grown

    def _mos(self, direction: str) -> float | None:
        mean = None if self._quality is None else self._quality.mean_mos(direction)
        return None if mean is None else round(mean, 2)


def _ice_result(reason: str, *, described: bool) -> str:
    if not described:
        return "unanswered"
    if reason.startswith("peer_"):
        return "failed"
    return "timeout" if reason == "not_connected_in_time" else "abandoned"
