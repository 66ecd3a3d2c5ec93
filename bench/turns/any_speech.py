"""The peer of barge-in: any speech interrupts. And how much of each stimulus there is.

The agent stops when the gate confirms speech, whatever it is, as ``bargein_policy=immediate``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from report import Report
from turns.corpus import Corpus
from turns.listening import due_ns
from turns.stimuli import Stimulus
from voicecore.core.speech_gate import EdgeKind

POLICY = "any speech interrupts"


def stopped_ms(stimulus: Stimulus) -> float | None:
    """When the agent is told to stop, after the first speech sample; None: never."""
    for told in stimulus.heard.edges:
        if told.edge.kind is EdgeKind.CONFIRMED:
            return (told.told_ns - due_ns(stimulus.first)) / 1e6
    return None


def by_group(stimuli: Sequence[Stimulus]) -> dict[str, list[Stimulus]]:
    """In the order in which groups come."""
    groups: dict[str, list[Stimulus]] = {}
    for stimulus in stimuli:
        groups.setdefault(stimulus.group, []).append(stimulus)
    return groups


def measure(report: Report, corpus: Corpus) -> None:
    """One row a group: how many, on how many the VAD fires, how many end the agent's sentence."""
    print(
        f"\n{POLICY}{'':4}{'stimuli':>8}{'VAD fires':>11}{'stopped %':>11}"
        f"{'median ms':>11}{'p90':>7}"
    )
    for group, members in by_group(corpus.stimuli).items():
        times = [ms for ms in map(stopped_ms, members) if ms is not None]
        share = 100 * len(times) / len(members)
        middle, late = (float(np.percentile(times, q)) if times else None for q in (50, 90))
        report.rows.append(
            {
                "part": "barge-in",
                "policy": POLICY,
                "group": group,
                "interrupts": members[0].interrupts,
                "stimuli": len(members),
                "fires": sum(s.fires for s in members),
                "stopped_percent": share,
                "stopped_ms_median": middle,
                "stopped_ms_p90": late,
                "voiced_ms_median": float(np.median([s.voiced_ms for s in members])),
            }
        )
        times_text = f"{middle:>11.0f}{late:>7.0f}" if times else f"{'-':>11}{'-':>7}"
        fires = sum(s.fires for s in members)
        print(f"  {group:23}{len(members):>8}{fires:>11}{share:>11.0f}{times_text}")
