"""What the recogniser says."""

from __future__ import annotations

from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turns import ending, pausing, yielding
from voicecore.core.turns.caller_turn import CallerTurn
from voicecore.core.turns.memory import Actions, CallMemory, transcript


def on_partial(call: CallMemory, event: ev.TranscriptPartial, now_ns: int) -> Actions:
    """Show what is being understood; it may decide who has the floor."""
    turn = _turn_of(call, event.turn)
    if turn is None or not turn.take_partial(event.part, event.text):
        return call.stale()
    if _is_suspected(call, turn):
        return yielding.weigh(call, now_ns)
    return [transcript(turn.number, turn.text, final=False)]


def on_final(call: CallMemory, event: ev.TranscriptFinal, now_ns: int) -> Actions:
    """The words of a part are known."""
    turn = _turn_of(call, event.turn)
    if turn is None or not turn.take_final(event.part, event.text):
        return call.stale()
    if turn.number in call.awaited:
        return ending.understood(call, turn, now_ns) if turn.is_settled else []
    if _is_suspected(call, turn):
        return yielding.weigh(call, now_ns)
    shown = transcript(turn.number, turn.text, final=False)
    if call.state is State.PAUSING:
        if call.clock is not None:
            call.clock.mark("stt", now_ns)
        return [*pausing.reconsider(call, now_ns), shown]
    return [shown]


def hearing_failed(call: CallMemory, event: ev.EngineFailed, now_ns: int) -> Actions:
    """A part can't be understood: let the caller finish, then say so."""
    turn = _turn_of(call, event.turn)
    if turn is None or not turn.fail(event.part):
        return []
    if turn.number in call.awaited:
        return ending.understood(call, turn, now_ns)
    if _is_suspected(call, turn):
        return yielding.weigh(call, now_ns)
    return []


def _turn_of(call: CallMemory, number: int) -> CallerTurn | None:
    """The turn that is being heard, suspected or awaited under this number."""
    suspicion = call.suspicion
    if suspicion is not None and suspicion.turn is not None and suspicion.turn.number == number:
        return suspicion.turn
    if number in call.awaited:
        return call.awaited[number]
    caller = call.caller
    return caller if caller is not None and caller.number == number else None


def _is_suspected(call: CallMemory, turn: CallerTurn) -> bool:
    return call.suspicion is not None and call.suspicion.turn is turn
