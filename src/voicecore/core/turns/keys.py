"""The caller presses keys."""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turns import yielding
from voicecore.core.turns.memory import Actions, CallMemory
from voicecore.core.turns.resting import aim, rest


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
        aim(call)
    elif call.state in (State.THINKING, State.SPEAKING, State.YIELDING):
        told += _interrupt(call, now_ns)
    return told


def _interrupt(call: CallMemory, now_ns: int) -> Actions:
    reply = call.reply
    if reply is not None and reply.protects_rest:
        # Heard to its end; the keys wait.
        return []
    if call.suspicion is not None and call.suspicion.turn is not None:
        # He speaks as well: his voice decides.
        return []
    actions = yielding.cut(call, call.next_number(), began=None)
    call.suspicion = None
    return [*actions, *rest(call, now_ns)]
