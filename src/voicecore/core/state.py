"""The states of a call: who has the floor."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """See ``turn_table`` for what each means and where it leads."""

    CONNECTING = "connecting"
    LISTENING = "listening"
    HEARING = "hearing"
    PAUSING = "pausing"
    THINKING = "thinking"
    SPEAKING = "speaking"
    YIELDING = "yielding"
    ENDED = "ended"


ALIVE = (
    State.LISTENING,
    State.HEARING,
    State.PAUSING,
    State.THINKING,
    State.SPEAKING,
    State.YIELDING,
)
"""Media flows."""

REPLYING = (State.PAUSING, State.THINKING, State.SPEAKING, State.YIELDING)
"""An answer may be on its way."""

TOLD = {State.PAUSING: "hearing"}
"""To the client a pause is the caller's turn still."""
