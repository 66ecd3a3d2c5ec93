"""Nobody has the floor."""

from __future__ import annotations

from voicecore.core.state import State
from voicecore.core.turns.memory import Actions, CallMemory
from voicecore.core.units import ms_to_ns


def rest(call: CallMemory, now_ns: int) -> Actions:
    """Wait for the caller; how long he has been silent counts from here."""
    reminded = call.quiet[1] if call.reminding else 0
    call.reminding = False
    call.state = State.LISTENING
    call.quiet = (now_ns, reminded)
    aim(call)
    return []


def aim(call: CallMemory) -> None:
    """Set the deadline at what is due next while nobody speaks."""
    since_ns, reminded = call.quiet
    settings = call.settings
    idle_s = settings.idle_goodbye_s if reminded else settings.idle_prompt_s
    dues = [] if not idle_s else [since_ns + ms_to_ns(idle_s * 1000)]
    if call.keypad.due_ns is not None:
        dues.append(call.keypad.due_ns)
    call.deadline_ns = min(dues, default=None)
