"""Nobody has the floor (any more)."""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.core.state import State
from voicecore.core.turns.memory import Actions, CallMemory
from voicecore.core.units import ms_to_ns


def rest(call: CallMemory, now_ns: int) -> Actions:
    """Wait for the caller; how long he has been silent counts from here."""
    reminded = call.quiet[1] if call.reminding else 0
    call.reminding = False
    call.ended_at = None
    call.state = State.LISTENING
    wait_for_caller(call, now_ns, reminded)
    return []


def leave(call: CallMemory, reason: str) -> Actions:
    """The call is over."""
    call.state = State.ENDED
    call.deadline_ns = None
    return [act.Notify("bye", {"reason": reason}), act.End(reason)]


def wait_for_caller(call: CallMemory, now_ns: int, reminded: int) -> None:
    """He has been silent since ``now_ns``, after so many reminders."""
    call.quiet, call.quiet_sample = (now_ns, reminded), None
    aim(call)


def aim(call: CallMemory) -> None:
    """Set the deadline at what is due next while nobody speaks."""
    dues = [call.keypad.due_ns, idle_due_ns(call)]
    if dues[1] is not None and call.quiet_sample is None:
        # How far his audio has come is learnt by looking.
        dues[1] = call.quiet[0]
    call.deadline_ns = min((due for due in dues if due is not None), default=None)


def idle_due_ns(call: CallMemory) -> int | None:
    """When the caller has been silent for too long; None: he may be."""
    since_ns, reminded = call.quiet
    settings = call.settings
    idle_s = settings.idle_goodbye_s if reminded else settings.idle_prompt_s
    return since_ns + ms_to_ns(idle_s * 1000) if idle_s else None
