"""The call begins, falls silent, and ends."""

from __future__ import annotations

from voicecore.core import events as ev
from voicecore.core.conversation import Message
from voicecore.core.state import State
from voicecore.core.turns import ending, speaking
from voicecore.core.turns.memory import Actions, CallMemory, transcript
from voicecore.core.turns.resting import aim, idle_due_ns, leave, rest, wait_for_caller
from voicecore.core.units import HEAR_RATE_HZ, ns_to_ms


def on_connected(call: CallMemory, event: ev.Connected, now_ns: int) -> Actions:
    """Greet, or wait for the caller's first words."""
    settings = call.settings
    if not settings.greeting:
        return rest(call, now_ns)
    call.state = State.THINKING
    reply = call.begin_reply(call.turn)
    return speaking.say(reply, (settings.greeting, settings.greeting_protected))


def on_hangup(call: CallMemory, event: ev.Hangup, now_ns: int) -> Actions:
    """The call is over."""
    return leave(call, event.reason)


def ignore(call: CallMemory, event: ev.Event, now_ns: int) -> Actions:
    """Nothing to do in this state."""
    return []


def on_stale(call: CallMemory, event: ev.Event, now_ns: int) -> Actions:
    """Something of a turn that is over: counted, never spoken."""
    return call.stale()


def on_quiet_timeout(call: CallMemory, event: ev.Timeout, now_ns: int) -> Actions:
    """An entry of keys is complete, or the caller has been silent for long."""
    if call.deadline_ns is None or now_ns < call.deadline_ns:
        return []
    keys_ns = call.keypad.due_ns
    if keys_ns is not None and now_ns >= keys_ns:
        return _take_keys(call, now_ns)
    since_ns, reminded = call.quiet
    due_ns, came_from = idle_due_ns(call), call.quiet_sample
    if came_from is None or due_ns is None or now_ns < due_ns:
        call.quiet_sample = event.media_sample if came_from is None else came_from
        aim(call)
        return []
    # A network that stalls is no caller who is silent: what came of him counts.
    came_ms = (event.media_sample - came_from) * 1000 / HEAR_RATE_HZ
    if came_ms < ns_to_ms(now_ns - since_ns) / 2:
        wait_for_caller(call, now_ns, reminded)
        return []
    return _goodbye(call) if reminded else _remind(call, now_ns)


def _take_keys(call: CallMemory, now_ns: int) -> Actions:
    """Keys are words like any others: answer them."""
    text = call.keypad.take()
    call.turn = call.next_number()
    call.caller = call.clock = None
    call.deadline_ns = None
    call.state = State.THINKING
    call.conversation.add(Message("user", text))
    call.unanswered = True
    shown = transcript(call.turn, text, final=True)
    # What he had said before may still be on its way to be understood.
    return [shown] if call.awaited else [*ending.answer(call, now_ns), shown]


def _remind(call: CallMemory, now_ns: int) -> Actions:
    call.quiet = (now_ns, call.quiet[1] + 1)
    call.reminding = True
    return _by_itself(call, call.settings.idle_prompt)


def _goodbye(call: CallMemory) -> Actions:
    call.leaving = "caller_silent"
    return _by_itself(call, call.settings.idle_goodbye)


def _by_itself(call: CallMemory, text: str) -> Actions:
    call.state = State.THINKING
    call.deadline_ns = None
    call.turn = call.next_number()
    reply = call.begin_reply(call.turn)
    return speaking.say(reply, (text, False))
