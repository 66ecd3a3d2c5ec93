"""The session's records, put where they are counted."""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.service.metrics import Metrics


def record(metrics: Metrics, action: act.Action) -> None:
    """Count what ``action`` tells; one that tells nothing changes nothing."""
    match action:
        case act.RecordTurn():
            metrics.turn(action.stages)
        case act.RecordBargeIn():
            metrics.barge_in()
        case act.RecordSuspicion():
            metrics.suspicion(action.outcome, action.decided_ms / 1000)
        case act.RecordSpeculation():
            metrics.speculation(action.outcome)
        case act.RecordFailure():
            metrics.engine_failed(action.stage, action.code)
