"""An engine failed: it costs one answer, never the call."""

from __future__ import annotations

from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turns import pausing, speaking, understanding
from voicecore.core.turns.memory import Actions, CallMemory


def on_failed(call: CallMemory, event: ev.EngineFailed, now_ns: int) -> Actions:
    """Record it, then do without."""
    told = speaking.failure(event)
    if event.stage == "stt":
        return told + understanding.hearing_failed(call, event, now_ns)
    if call.state is State.PAUSING:
        # It costs the caller nothing: there is nothing to tell him.
        return told[:1] + pausing.on_reply_failed(call, event, now_ns)
    return told + speaking.on_engine_failed(call, event, now_ns)
