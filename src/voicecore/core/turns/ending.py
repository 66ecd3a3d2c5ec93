"""The caller's turn is over: understand it, and answer."""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.core.conversation import Message
from voicecore.core.phrases import is_backchannel
from voicecore.core.state import State
from voicecore.core.turn_clock import TurnClock
from voicecore.core.turns import speaking
from voicecore.core.turns.caller_turn import CallerTurn
from voicecore.core.turns.memory import Actions, CallMemory, transcript
from voicecore.core.turns.resting import rest
from voicecore.core.units import HEAR_RATE_HZ, ms_to_samples

_TAIL_MS = 200
"""Silence after the last word that a recogniser gets: it settles the last phonemes."""


def settle(call: CallMemory, turn: CallerTurn, sample: int) -> Actions:
    """Ask the recogniser for what was said up to ``sample``."""
    to_sample = sample + ms_to_samples(_TAIL_MS, HEAR_RATE_HZ)
    asked = turn.settle(to_sample)
    if asked:
        call.listened_to = to_sample
    return [*asked]


def end_of_turn(call: CallMemory, sample: int, at_ns: int, now_ns: int) -> Actions:
    """The caller has finished, at ``sample``, which was due at ``at_ns``."""
    turn = call.caller
    assert turn is not None
    call.state = State.THINKING
    call.pause = call.deadline_ns = None
    call.ended_at = sample
    call.clock = call.clock or TurnClock(at_ns)
    call.clock.mark("endpoint", now_ns)
    actions = settle(call, turn, sample)
    if turn.is_settled or turn.failed:
        return actions + understood(call, turn, now_ns)
    call.awaited[turn.number] = turn
    return actions


def understood(call: CallMemory, turn: CallerTurn, now_ns: int) -> Actions:
    """All of ``turn`` is known, and it is over: answer, if it is the caller's last."""
    call.awaited.pop(turn.number, None)
    newest = turn.number == call.turn
    answers = call.state in (State.THINKING, State.YIELDING)
    # Keys are no part of a turn after which they began: they are awaited by themselves.
    entry = call.keypad.take() if newest and answers else ""
    if turn.failed and not entry:
        return _not_heard(call, turn, now_ns)
    if newest and call.clock is not None:
        call.clock.mark("stt", now_ns)
    nothing = _says_nothing(call, turn)
    text = " ".join(filter(None, (turn.text, entry)))
    if text and not (nothing and not entry):
        call.conversation.add(Message("user", text))
        call.unanswered = True
    shown = transcript(turn.number, text, final=True)
    if not answers or call.awaited:
        return [shown]
    forgotten = speaking.discard(call) if entry else []
    # Asking comes first: showing can wait a microsecond, the caller can't.
    return [*forgotten, *answer(call, now_ns), shown]


def answer(call: CallMemory, now_ns: int) -> Actions:
    """Answer what is unanswered, or go on with what a mere sound interrupted."""
    if call.parting is not None:
        # There is no time for an answer: a goodbye comes in its place.
        return speaking.discard(call)
    if call.speculating:
        return speaking.commit(call, now_ns)
    if call.reply is not None:
        return []
    if call.unanswered:
        call.cut_short = None
        call.begin_reply(call.turn, call.clock)
        call.asked = call.turn
        return [act.StartReply(call.turn)]
    cut, call.cut_short = call.cut_short, None
    if cut is not None and cut[0] == call.turn:
        return _go_on(call, cut[1])
    return rest(call, now_ns) if call.state is State.THINKING else []


def is_nothing(call: CallMemory, text: str) -> bool:
    """Whether ``text``, said over the agent's voice, asks for no answer."""
    cut = call.cut_short
    interrupted = cut is not None and cut[0] == call.turn
    return interrupted and is_backchannel(text, call.settings.language)


def _says_nothing(call: CallMemory, turn: CallerTurn) -> bool:
    return turn.number == call.turn and is_nothing(call, turn.text)


def _go_on(call: CallMemory, rest_of_it: list[tuple[str, bool]]) -> Actions:
    """Nobody wanted the floor: say what the interrupted answer still had to say."""
    call.conversation.not_interrupted()
    (first, protected), *others = rest_of_it
    reply = call.begin_reply(call.turn)
    return speaking.say(reply, (first.lstrip(), protected), *others)


def _not_heard(call: CallMemory, turn: CallerTurn, now_ns: int) -> Actions:
    if call.state not in (State.THINKING, State.YIELDING) or call.awaited:
        return []
    if turn.number != call.turn and call.unanswered:
        # He has said more since, and that was understood.
        return answer(call, now_ns)
    actions = speaking.discard(call)
    if call.reply is not None or call.parting is not None:
        return actions
    reply = call.begin_reply(call.turn)
    reply.give_up_text()
    return [*actions, *speaking.apologise(call, reply)]
