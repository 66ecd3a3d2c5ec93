"""The server is to stop: say goodbye as soon as the turn allows, and end.

::

    LISTENING, THINKING   at once: nothing of an answer was heard
    HEARING, PAUSING      when the caller's turn is over, but after 2 s at the latest
    YIELDING              when it is known who has the floor, likewise
    SPEAKING              behind the clause that is being said, but after 4 s at the latest;
                          what is protected is said to its end

From when it is asked for, no answer is begun. The goodbye is protected, and kept as PCM:
it needs no engine. Whatever comes, the call is over 9.5 s after it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turns import ending, speaking
from voicecore.core.turns.memory import Actions, CallMemory, Parting, agent_text
from voicecore.core.turns.resting import leave
from voicecore.core.units import ms_to_ns, samples_to_ns

REASON = "server_drained"

TURN_CAP_MS = 2000
"""So long a caller who speaks is let finish."""

CLAUSE_CAP_MS = 4000
"""So long the agent is let finish what it is saying."""

CALL_CAP_MS = 9500
"""The end of the call, from when the goodbye was asked for; its driver waits 10 s."""

SAFE_S = (CALL_CAP_MS - CLAUSE_CAP_MS) / 1000
"""A goodbye of this length is heard whole, unless a long protected passage comes before it."""

_LOOK_MS = (10, 100)
"""When is looked again whether a clause is over: not before, not later."""

_OnTimeout = Callable[[CallMemory, ev.Timeout, int], Actions]


def on_farewell(call: CallMemory, event: ev.Farewell, now_ns: int) -> Actions:
    """Say it at once if nobody speaks; without words the call just ends."""
    if call.parting is not None:
        return []
    text = event.text.strip()
    if not text or call.state is State.CONNECTING:
        return leave(call, REASON)
    call.parting = Parting(text, now_ns)
    if call.state in (State.LISTENING, State.THINKING):
        return _say(call, call.parting)
    return []


def due_ns(call: CallMemory) -> int | None:
    """When a goodbye that was asked for has to be looked after; None: never."""
    parting = call.parting
    if parting is None or call.state is State.ENDED:
        return None
    last_ns = parting.asked_ns + ms_to_ns(CALL_CAP_MS)
    if parting.said:
        return last_ns
    if call.state is State.SPEAKING:
        return min(parting.look_ns, last_ns)
    if call.state in (State.LISTENING, State.THINKING):
        return parting.asked_ns
    return parting.asked_ns + ms_to_ns(TURN_CAP_MS)


def first(on_timeout: _OnTimeout) -> _OnTimeout:
    """``on_timeout``, but the goodbye comes first where it is due."""

    @wraps(on_timeout)
    def look_first(call: CallMemory, event: ev.Timeout, now_ns: int) -> Actions:
        return _look(call, event, now_ns) or on_timeout(call, event, now_ns)

    return look_first


def _look(call: CallMemory, event: ev.Timeout, now_ns: int) -> Actions:
    parting, at_ns = call.parting, due_ns(call)
    if parting is None or at_ns is None or now_ns < at_ns:
        return []
    if now_ns >= parting.asked_ns + ms_to_ns(CALL_CAP_MS):
        return leave(call, REASON)
    if call.state is State.SPEAKING and not _clause_is_over(call, parting, event.played, now_ns):
        return []
    quiet = _end_turn(call, event.media_sample, now_ns)
    return [*quiet, *_say(call, parting)]


def _clause_is_over(call: CallMemory, parting: Parting, played: int, now_ns: int) -> bool:
    reply = call.reply
    if reply is None:
        return True
    clause = reply.ledger.segment_at(played)
    if parting.clause is None:
        parting.clause = clause
    by_ns = parting.asked_ns + ms_to_ns(CLAUSE_CAP_MS)
    if not reply.protects(played) and (clause != parting.clause or now_ns >= by_ns):
        return True
    least_ns, most_ns = (ms_to_ns(ms) for ms in _LOOK_MS)
    left = reply.ledger.left_at(played)
    wait_ns = most_ns if left is None else samples_to_ns(left, call.play_rate_hz)
    if now_ns < by_ns:
        wait_ns = min(wait_ns, by_ns - now_ns)
    parting.look_ns = now_ns + max(wait_ns, least_ns)
    return False


def _end_turn(call: CallMemory, reached: int, now_ns: int) -> Actions:
    """The caller has been waited for long enough: what he said so far is understood still."""
    begun = speaking.discard(call)
    if call.state not in (State.HEARING, State.PAUSING):
        return begun
    pause = call.pause
    if pause is None or pause.broken:
        return [*begun, *ending.end_of_turn(call, reached, now_ns, now_ns)]
    return [*begun, *ending.end_of_turn(call, pause.sample, pause.at_ns, now_ns)]


def _say(call: CallMemory, parting: Parting) -> Actions:
    """The goodbye in place of all that was going on."""
    actions = speaking.fall_silent(call, by_turn=-1, began=None)
    suspicion, call.suspicion = call.suspicion, None
    if suspicion is not None and suspicion.turn is not None:
        actions += suspicion.turn.give_up()
    call.state, call.deadline_ns = State.THINKING, None
    call.turn = call.next_number()
    call.reminding, call.leaving, parting.said = False, REASON, True
    reply = call.begin_reply(call.turn)
    return [*actions, reply.say_kept(parting.text, protected=True), agent_text(reply)]
