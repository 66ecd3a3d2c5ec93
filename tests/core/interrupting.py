"""A caller who makes a sound over an agent that tells a story."""

from __future__ import annotations

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core.state import State

STORY = "one two three four five six"


def speaking(**settings: object) -> ScriptedCall:
    """An agent in the middle of its third word, well after it began."""
    call = ScriptedCall(**{"bargein_policy": "staged", **settings})
    call.caller_says("tell me a story", 0, 1000)
    call.reply(STORY)
    call.play_to(2400 * 2 + 1300)
    call.actions.clear()
    return call


def outcomes(call: ScriptedCall) -> list[str]:
    return [a.outcome for a in call.actions if isinstance(a, act.RecordSuspicion)]


def assert_goes_on(call: ScriptedCall) -> None:
    """Nothing was cut, and the answer ends as it would have."""
    assert call.state is State.SPEAKING
    assert not call.held
    assert outcomes(call) == ["nothing"]
    assert call.of(act.Flush) == call.of(act.CancelReply) == call.of(act.RecordBargeIn) == []
    assert call.notes("barge_in") == []
    call.play_to(call.written)
    assert call.state is State.LISTENING
    assert call.said == [("user", "tell me a story"), ("assistant", STORY)]


def assert_cut(call: ScriptedCall, turn: int = 2) -> None:
    """The floor is the caller's, and the words heard are exact."""
    assert call.state in (State.HEARING, State.PAUSING)
    assert call.session.turn == turn
    assert not call.held
    assert outcomes(call) == ["interruption"]
    kinds = call.kinds()
    assert kinds.index(act.Hold) < kinds.index(act.Flush) < kinds.index(act.CancelReply)
    assert kinds.count(act.Flush) == kinds.count(act.CancelReply) == 1
    assert kinds.count(act.RecordBargeIn) == 1
    assert call.notes("barge_in") == [{"turn": 1}]
    last = call.session.conversation.messages[-1]
    assert (last.text, last.interrupted, last.unheard) == ("one two three", True, "four five six")
