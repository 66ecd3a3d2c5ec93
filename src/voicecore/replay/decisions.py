"""What a session decided, in a table for people; two calls side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from voicecore.core import actions as act
from voicecore.core.units import ns_to_ms
from voicecore.replay.verbatim import Outcome

_SAME_MS = 20
"""A packet: what lies no further apart happened at the same time."""


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
    """The two aligned by what was decided, whatever the times."""
    one, other = ([(d.what, d.detail) for d in side] for side in (left, right))
    pairs: list[Pair] = []
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        if tag == "equal":
            pairs += map(Pair, left[i:i_end], right[j:j_end])
            continue
        alone = [Pair(d, None) for d in left[i:i_end]] + [Pair(None, d) for d in right[j:j_end]]
        pairs += sorted(alone, key=_time)
    return pairs


def _time(pair: Pair) -> float:
    one = pair.left or pair.right
    assert one is not None
    return one.at_ms


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
                return ("asks ahead" if getattr(action, "draft", "") else "asks the model"), ""
            case act.RecordBargeIn():
                return "is interrupted", ""
            case act.RecordFailure():
                return "fails", f"{action.stage}: {action.code}"
            case act.End():
                return "ends", action.reason
            case act.Notify():
                return self._told(action)
        return {"Hold": ("falls silent", ""), "Resume": ("goes on", "")}.get(type(action).__name__)

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
