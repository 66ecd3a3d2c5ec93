"""What a session decided, in a table for people; two calls side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from voicecore.core import actions as act
from voicecore.core.units import ns_to_ms
from voicecore.replay.verbatim import Outcome

_SAME_MS = 20
"""A packet: what lies no further apart happened at the same time."""

_NEAR_MS = 3000
"""What lies further apart are two decisions, not one at another time."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``at_ms`` after the call began; ``detail`` says what of it two calls can differ in."""

    at_ms: float
    what: str
    turn: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same decision in two calls; None: it was made in the other alone."""

    left: Decision | None
    right: Decision | None

    @property
    def shift_ms(self) -> float | None:
        """How much later it was in the right one; None: it is in one alone."""
        if self.left is None or self.right is None:
            return None
        return self.right.at_ms - self.left.at_ms

    @property
    def same(self) -> bool:
        """Whether both made it, at the same time."""
        return self.shift_ms is not None and abs(self.shift_ms) <= _SAME_MS


def decisions(outcomes: Iterable[Outcome], began_ns: int) -> list[Decision]:
    """The decisions among ``outcomes``, in order."""
    reader = _Reader()
    return [
        Decision(ns_to_ms(outcome.now_ns - began_ns), what, turn, detail)
        for outcome in outcomes
        for what, turn, detail in reader.read(outcome)
    ]


def side_by_side(left: list[Decision], right: list[Decision]) -> list[Pair]:
    """The two aligned by what was decided: the nearest in time, within three seconds."""
    keyed: dict[tuple[str, str], tuple[list[Decision], list[Decision]]] = {}
    for side, all_of_it in enumerate((left, right)):
        for decision in all_of_it:
            key = (decision.what, decision.detail)
            keyed.setdefault(key, ([], []))[side].append(decision)
    pairs = [pair for ours, theirs in keyed.values() for pair in _matched(ours, theirs)]
    place = {id(d): i for side in (left, right) for i, d in enumerate(side)}
    # What one call decided at one moment stays in its order.
    return sorted(pairs, key=lambda pair: (_time(pair), place[id(pair.left or pair.right)]))


def _matched(left: list[Decision], right: list[Decision]) -> Iterator[Pair]:
    """Decisions of one kind, each side in the order of time."""
    i = j = 0
    while i < len(left) and j < len(right):
        apart = abs(left[i].at_ms - right[j].at_ms)
        nearer_left = i + 1 < len(left) and abs(left[i + 1].at_ms - right[j].at_ms) < apart
        nearer_right = j + 1 < len(right) and abs(left[i].at_ms - right[j + 1].at_ms) < apart
        if apart <= _NEAR_MS and not nearer_left and not nearer_right:
            yield Pair(left[i], right[j])
            i, j = i + 1, j + 1
        elif left[i].at_ms <= right[j].at_ms:
            yield Pair(left[i], None)
            i += 1
        else:
            yield Pair(None, right[j])
            j += 1
    yield from (Pair(decision, None) for decision in left[i:])
    yield from (Pair(None, decision) for decision in right[j:])


def _time(pair: Pair) -> float:
    return min(decision.at_ms for decision in (pair.left, pair.right) if decision is not None)


class _Reader:
    def __init__(self) -> None:
        self._state = ""
        self._turn = 0

    def read(self, outcome: Outcome) -> Iterator[tuple[str, int, str]]:
        if outcome.raised or outcome.actions is None:
            yield "refuses", self._turn, outcome.raised or type(outcome.event).__name__
            return
        for action in outcome.actions:
            found = self._decision(action)
            if found is not None:
                yield found[0], self._turn, found[1]

    def _decision(self, action: act.Action) -> tuple[str, str] | None:
        match action:
            case act.Listen() if action.turn != self._turn:
                self._turn = action.turn
                return "turn begins", ""
            case act.StartReply():
                return ("asks ahead" if action.draft else "asks the model"), ""
            case act.Hold():
                return "falls silent", ""
            case act.Resume():
                return "goes on", ""
            case act.RecordBargeIn():
                return "is interrupted", ""
            case act.RecordFailure():
                return "fails", f"{action.stage}: {action.code}"
            case act.End():
                return "ends", action.reason
            case act.Notify():
                return self._told(action)
        return None

    def _told(self, action: act.Notify) -> tuple[str, str] | None:
        told = action.fields
        if action.kind == "state":
            before, self._state = self._state, str(told.get("state"))
            if before == "hearing" and self._state != "ended":
                return "turn ends", ""
            return ("speaks", "") if self._state == "speaking" else None
        if action.kind == "transcript" and told.get("final"):
            return "understands", str(told.get("text"))
        if action.kind == "agent_done":
            cut = " [cut off]" if told.get("interrupted") else ""
            return "was heard", f"{told.get('heard')}{cut}"
        return None
