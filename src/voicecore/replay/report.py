"""What ``python -m voicecore.replay`` prints, as lines for people or one JSON object."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from voicecore.core.timeline import TIMELINE
from voicecore.core.turn_settings import TurnSettings
from voicecore.core.units import NS_PER_S, ns_to_ms
from voicecore.replay.decisions import Decision, Pair
from voicecore.replay.recording_file import Recording
from voicecore.replay.verbatim import Difference

_SHOWN = 5
"""Differences in full; the first is the one that counts, the rest often follow from it."""

_CONTEXT = 2
"""Steps shown before one."""


def about(recording: Recording) -> dict[str, Any]:
    """The call, for both forms."""
    header = recording.header
    return {
        "session_id": header.session_id,
        "started_utc": header.started_utc,
        "voicecore": header.voicecore,
        "seconds": round((recording.end_ns - header.began_ns) / NS_PER_S, 3),
        "events": len(recording.steps),
        "warnings": recording.warnings,
    }


def title(recording: Recording) -> list[str]:
    """The call, in lines."""
    facts = about(recording)
    line = (
        f"call {facts['session_id']} of {facts['started_utc']}, {facts['seconds']:.1f} s, "
        f"{facts['events']} events, recorded by voicecore {facts['voicecore']}"
    )
    return [line, *(f"warning: {text}" for text in recording.warnings)]


def difference_lines(recording: Recording, found: list[Difference]) -> list[str]:
    """The first differences, each with what came before it."""
    lines: list[str] = []
    for difference in found[:_SHOWN]:
        lines.append("")
        for step in recording.steps[max(difference.index - _CONTEXT, 0) : difference.index]:
            lines.append(f"  {_at(recording, step.now_ns)}  {step.event}")
        recorded, replayed = difference.recorded, difference.replayed
        lines.append(f"> {_at(recording, recorded.now_ns)}  {recorded.event}")
        lines += [f"    recorded  {text}" for text in _actions(recorded.actions, "")]
        lines += [f"    replayed  {text}" for text in _actions(replayed.actions, replayed.raised)]
    if len(found) > _SHOWN:
        lines.append(f"\n{len(found) - _SHOWN} more")
    return lines


def difference_json(recording: Recording, difference: Difference) -> dict[str, Any]:
    """One difference for machines."""
    recorded, replayed = difference.recorded, difference.replayed
    return {
        "step": difference.index,
        "at_ms": ns_to_ms(recorded.now_ns - recording.header.began_ns),
        "event": TIMELINE.encode(recorded.event),
        "recorded": TIMELINE.encode(recorded.actions),
        "replayed": TIMELINE.encode(replayed.actions),
        "raised": replayed.raised,
    }


def changed(before: TurnSettings, after: TurnSettings) -> dict[str, tuple[object, object]]:
    """Each setting that differs, with both values."""
    values = ((f.name, getattr(before, f.name), getattr(after, f.name)) for f in fields(before))
    return {name: (old, new) for name, old, new in values if old != new}


def pair_line(pair: Pair) -> str:
    """Two decisions side by side: ``~`` at another time, ``-`` only left, ``+`` only right."""
    mark = " "
    if not pair.same:
        mark = "-" if pair.right is None else "+" if pair.left is None else "~"
    shift = "" if pair.same or pair.shift_ms is None else f"{pair.shift_ms:+.0f} ms"
    one = pair.left or pair.right
    assert one is not None
    detail = f"  {one.detail!r}" if one.detail else ""
    return (
        f"{mark} {_time(pair.left)} {_time(pair.right)}  {shift:>9}"
        f"  turn {one.turn}  {one.what}{detail}"
    )


def pair_json(pair: Pair) -> dict[str, Any]:
    """The same for machines."""
    left, right = (asdict(d) if d is not None else None for d in (pair.left, pair.right))
    return {"recorded_settings": left, "other_settings": right, "same": pair.same}


def _time(decision: Decision | None) -> str:
    return f"{decision.at_ms / 1000:10.3f}" if decision is not None else " " * 9 + "-"


def _at(recording: Recording, now_ns: int) -> str:
    return f"{(now_ns - recording.header.began_ns) / NS_PER_S:10.3f} s"


def _actions(actions: tuple[object, ...] | None, raised: str) -> list[str]:
    if raised:
        return [f"raised {raised}"]
    if actions is None:
        return ["refused as illegal"]
    return [str(action) for action in actions] or ["nothing"]
