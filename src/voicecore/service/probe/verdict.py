"""What a call's events and the sound of it come to: answered, spoiled, or how far it came. Pure.

Events are those of docs/events.md. "Since we spoke" leaves out a greeting's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Event = Mapping[str, Any]

LOUD_FRAMES = 10
"""200 ms of sound: an agent that speaks, and no click."""


def first(events: Sequence[Event], kind: str) -> Event | None:
    """The first event of ``kind``."""
    return next((event for event in events if event.get("type") == kind), None)


def states(events: Sequence[Event]) -> list[str]:
    """Whose turn it was said to be, in order."""
    return [str(event.get("state")) for event in events if event.get("type") == "state"]


def spoiled(events: Sequence[Event]) -> tuple[str, str] | None:
    """Stage (``""``: the one under way) and reason why the call is no longer any good."""
    error, bye = first(events, "error"), first(events, "bye")
    if error is not None:
        return str(error.get("stage") or ""), f"{error.get('code')}: {error.get('message')}"
    if bye is not None:
        return "", f"the service ended the call: {bye.get('reason')}"
    return None


def answered(since_we_spoke: Sequence[Event], loud_frames: int) -> bool:
    """Said to be answered, and heard to be: ``loud_frames`` came after our speech."""
    said = "speaking" in states(since_we_spoke) and first(since_we_spoke, "latency") is not None
    return said and loud_frames >= LOUD_FRAMES


def given_up(since_we_spoke: Sequence[Event]) -> bool:
    """There will be no answer, for the agent listens again."""
    told = states(since_we_spoke)
    return "hearing" in told and told[-1] == "listening" and "speaking" not in told


def unanswered(since_we_spoke: Sequence[Event]) -> tuple[str, str]:
    """How far our question came: the stage to blame, and a sentence."""
    told = states(since_we_spoke)
    finals = [e for e in since_we_spoke if e.get("type") == "transcript" and e.get("final")]
    understood = any(str(event.get("text", "")).strip() for event in finals)
    if "hearing" not in told:
        return "hearing", "the service did not notice our speech: does our audio reach it?"
    if "speaking" in told:
        return "answer", "the agent is said to speak, but only silence arrives"
    if given_up(since_we_spoke):
        if understood:
            return "llm", "the agent has nothing to say to our question"
        return "stt", "the recogniser understood nothing of our speech"
    if "thinking" not in told:
        return "endpoint", "our turn was not taken as over"
    if not finals:
        return "stt", "the recogniser does not come to an end"
    return "llm", "the agent has not said anything: is its model or its voice slow?"
