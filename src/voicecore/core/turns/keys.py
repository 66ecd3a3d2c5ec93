"""The caller presses keys."""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turns import yielding
from voicecore.core.turns.memory import Actions, CallMemory
from voicecore.core.turns.resting import wait_for_caller


def on_digit(call: CallMemory, event: ev.Digit, now_ns: int) -> Actions:
    """Collect it; a key takes the floor from an agent that may be interrupted.

    While the caller speaks too, his keys belong to what he says.
    """
    told: Actions = [act.Notify("digit", {"digit": event.digit, "duration_ms": event.duration_ms})]
    if not call.settings.keypad_wait_ms:
        return told
    call.keypad.press(event.digit, now_ns)
    if call.keypad.due_ns is None:
        return told
    if call.state is State.LISTENING:
        wait_for_caller(call, now_ns, 0)
    elif call.state is State.THINKING:
        # Nothing of the answer was played.
        told += yielding.cut_for_keys(call, 0, now_ns) or []
    elif call.state in (State.SPEAKING, State.YIELDING):
        # How far the agent has come is learnt with the next look.
        call.deadline_ns = now_ns
    return told
