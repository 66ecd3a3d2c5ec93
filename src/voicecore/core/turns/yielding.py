"""Somebody makes a sound while the agent has the floor.

The agent falls silent at once (the duck), keeps its place, and waits for the
policy's verdict: an interruption cuts the answer there, anything else lets it
go on from the very sample. A passage that may not be interrupted is spoken to
its end first; the caller is listened to meanwhile, and judged then.
"""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.barge_in import Verdict
from voicecore.core.state import State
from voicecore.core.turns import pausing, speaking
from voicecore.core.turns.caller_turn import CallerTurn
from voicecore.core.turns.hearing import begin, listening_from, take_floor
from voicecore.core.turns.memory import Actions, CallMemory, Suspicion
from voicecore.core.turns.resting import rest
from voicecore.core.units import HEAR_RATE_HZ, ms_to_ns, ms_to_samples, ns_to_ms

_START_TOGETHER_MS = 300
"""Who begins to speak so soon after the agent did didn't mean to interrupt: he was first to
speak, as far as he could hear."""

_TAIL = ms_to_samples(200, HEAR_RATE_HZ)
"""Of silence after it, for the recogniser."""

_MOST_UNKNOWN_MS = 1500
"""A sound of which nothing more arrives interrupts nobody."""


# -- the agent has the floor ---------------------------------------------------------------


def on_sound(call: CallMemory, event: ev.SpeechOnset, now_ns: int) -> Actions:
    """Perhaps the caller speaks: fall silent, unless what is being said is protected."""
    return _suspect(call, event, now_ns) if call.barge_in.ducks else []


def on_voice(call: CallMemory, event: ev.SpeechConfirmed, now_ns: int) -> Actions:
    """It is a voice: under the immediate policy that interrupts."""
    if not call.barge_in.ducks and call.suspicion is None and not _protects(call, event.played):
        turn = CallerTurn(call.next_number(), event.sample)
        return [*cut(call, turn.number, event.played), *begin(call, turn, now_ns)]
    ducked = _suspect(call, event, now_ns)
    return [*ducked, *on_confirmed(call, event, now_ns)]


def on_quiet(call: CallMemory, event: ev.SpeechReleased, now_ns: int) -> Actions:
    """The voice over a protected passage ended; it is judged when the passage has."""
    return [] if call.suspicion is None else _ask(call.suspicion, event)


def on_speaking_timeout(call: CallMemory, event: ev.Timeout, now_ns: int) -> Actions:
    """Tell the progress; after a protected passage turn to who spoke over it."""
    if call.deadline_ns is None or now_ns < call.deadline_ns:
        return []
    if (actions := cut_for_keys(call, event.played, now_ns)) is not None:
        return actions
    suspicion = call.suspicion
    told = speaking.progress(call, event.played, now_ns)
    if suspicion is None:
        return [*told, *_speaks_on(call, event, now_ns)]
    if _protects(call, event.played):
        return told
    suspicion.look(event.voice)
    ducked = _duck(call, suspicion, event.played, now_ns)
    return [*told, *ducked, *weigh(call, now_ns)]


def _suspect(call: CallMemory, event: ev.SpeechOnset | ev.SpeechConfirmed, now_ns: int) -> Actions:
    """Note that the caller seems to speak; fall silent if that is allowed."""
    reply, suspicion = call.reply, call.suspicion
    started_ns = None if reply is None else reply.started_ns
    if suspicion is None:
        suspicion = call.suspicion = Suspicion(
            onset=event.sample,
            onset_ns=event.at_ns,
            began_ns=now_ns,
            played=event.played,
            thinking=started_ns is None or now_ns - started_ns < ms_to_ns(_START_TOGETHER_MS),
            voice_from=event.sample,
        )
    suspicion.voice_from = event.sample
    if not _protects(call, event.played):
        return _duck(call, suspicion, event.played, now_ns)
    if call.deadline_ns is not None:
        call.deadline_ns = min(call.deadline_ns, now_ns + ms_to_ns(speaking.PROTECTED_LOOK_MS))
    return []


def _speaks_on(call: CallMemory, event: ev.Timeout, now_ns: int) -> Actions:
    """A voice that a stall had hidden is there again, and no edge tells of it."""
    voice, stalled = event.voice, call.stalled
    if stalled is None or not voice.voiced or voice.onset != stalled[0]:
        return []
    if event.media_sample <= stalled[1]:
        return []
    call.stalled = None
    sample, played = event.media_sample, event.played
    if call.barge_in.ducks:
        return on_sound(call, ev.SpeechOnset(sample, now_ns, played), now_ns)
    return on_voice(call, ev.SpeechConfirmed(sample, now_ns, played), now_ns)


def _protects(call: CallMemory, played: int) -> bool:
    return call.says_goodbye or (call.reply is not None and call.reply.protects(played))


def _duck(call: CallMemory, suspicion: Suspicion, played: int, now_ns: int) -> Actions:
    # Over a protected passage it began long ago; the agent is silent for it from here on.
    suspicion.began_ns, suspicion.played = now_ns, played
    call.state = State.YIELDING
    _aim(call, suspicion, now_ns)
    return [act.Hold()]


# -- the agent is silent for it --------------------------------------------------------------


def on_onset(call: CallMemory, event: ev.SpeechOnset, now_ns: int) -> Actions:
    """The voice is back: it is one sound with what came before."""
    suspicion = _suspicion(call)
    suspicion.voice_from = event.sample
    _aim(call, suspicion, now_ns)
    return []


def on_confirmed(call: CallMemory, event: ev.SpeechConfirmed, now_ns: int) -> Actions:
    """It is a voice: listen to its words."""
    suspicion = _suspicion(call)
    actions: Actions = []
    if suspicion.turn is None:
        turn = suspicion.turn = CallerTurn(call.next_number(), suspicion.onset)
        actions.append(turn.listen(listening_from(call, suspicion.onset)))
    elif not suspicion.turn.is_heard and not suspicion.turn.failed:
        actions.append(suspicion.turn.listen(suspicion.ended[0]))
    if call.state is not State.YIELDING:
        return actions
    return [*actions, *weigh(call, now_ns)]


def on_released(call: CallMemory, event: ev.SpeechReleased, now_ns: int) -> Actions:
    """The voice ended; perhaps that was all. What it said may tell."""
    return [*_ask(_suspicion(call), event), *weigh(call, now_ns)]


def on_yielding_timeout(call: CallMemory, event: ev.Timeout, now_ns: int) -> Actions:
    """Look at how long it has been a voice."""
    if call.deadline_ns is None or now_ns < call.deadline_ns:
        return []
    if (actions := cut_for_keys(call, event.played, now_ns)) is not None:
        return actions
    suspicion = _suspicion(call)
    suspicion.look(event.voice)
    held_ms = ns_to_ms(now_ns - suspicion.began_ns)
    came_ms = (event.media_sample - suspicion.onset) * 1000 / HEAR_RATE_HZ
    if held_ms > _MOST_UNKNOWN_MS and came_ms < held_ms / 2:
        # The network stalled in the middle of it: nothing says that he goes on.
        call.stalled = (event.voice.onset, event.media_sample) if event.voice.voiced else None
        return _go_on(call, now_ns)
    return weigh(call, now_ns)


def weigh(call: CallMemory, now_ns: int) -> Actions:
    """Ask the policy, and do what it says."""
    suspicion = _suspicion(call)
    if call.state is not State.YIELDING:
        return []
    evidence = suspicion.evidence(now_ns)
    verdict = call.barge_in.weigh(evidence)
    if verdict is Verdict.OPEN and suspicion.turn is not None and not _has_more_to_say(call):
        verdict = Verdict.INTERRUPTION
    if verdict is Verdict.INTERRUPTION:
        return _interrupt(call, suspicion, now_ns)
    if verdict is Verdict.NOTHING:
        return _go_on(call, now_ns)
    _aim(call, suspicion, now_ns)
    return []


def cut(call: CallMemory, by_turn: int, began: int | None) -> Actions:
    """Stop the answer for good: flush, cancel voice and model, remember what was heard."""
    reply = call.reply
    actions = speaking.fall_silent(call, by_turn, began)
    if reply is not None and reply.started_ns is not None:
        actions += [act.RecordBargeIn(), act.Notify("barge_in", {"turn": reply.turn})]
    return actions


def cut_for_keys(call: CallMemory, played: int, now_ns: int) -> Actions | None:
    """Let keys that were pressed have the floor; None: there are none, or they wait."""
    suspicion = call.suspicion
    if call.keypad.due_ns is None or _protects(call, played):
        return None
    if suspicion is not None and suspicion.turn is not None:
        # He speaks as well: his voice decides.
        return None
    actions = cut(call, call.next_number(), began=None)
    call.suspicion = None
    call.reminding, call.leaving = False, ""
    return [*actions, *rest(call, now_ns)]


def _interrupt(call: CallMemory, suspicion: Suspicion, now_ns: int) -> Actions:
    turn = suspicion.turn
    actions: Actions = [_record(suspicion, Verdict.INTERRUPTION, now_ns)]
    if turn is None:
        turn = CallerTurn(call.next_number(), suspicion.onset)
        actions.append(turn.listen(listening_from(call, suspicion.onset)))
    actions = [*cut(call, turn.number, suspicion.played), *actions]
    call.suspicion = None
    again_from = suspicion.voice_from
    if again_from is not None and turn.is_heard:
        turn.voice_from = again_from
        take_floor(call, turn, now_ns)
        return actions
    take_floor(call, turn, now_ns)
    turn.add_speech(suspicion.ended[0])
    call.listened_to = max(call.listened_to, suspicion.ended[0])
    actions += pausing.pause(call, *suspicion.ended)
    if again_from is not None:
        # Whether that is a voice is not known yet.
        pausing.break_pause(call, again_from, now_ns)
    return actions


def _go_on(call: CallMemory, now_ns: int) -> Actions:
    suspicion, call.suspicion = _suspicion(call), None
    actions: Actions = [act.Resume(), _record(suspicion, Verdict.NOTHING, now_ns)]
    if suspicion.turn is not None:
        actions += suspicion.turn.give_up()
    return [*actions, *speaking.speak_on(call, now_ns)]


def _has_more_to_say(call: CallMemory) -> bool:
    return call.reply is not None or call.unanswered or bool(call.awaited)


def _record(suspicion: Suspicion, verdict: Verdict, now_ns: int) -> act.RecordSuspicion:
    return act.RecordSuspicion(verdict.value, round(ns_to_ms(now_ns - suspicion.onset_ns), 1))


def _ask(suspicion: Suspicion, event: ev.SpeechReleased) -> Actions:
    """Its voice ended: ask for its words."""
    suspicion.end(event.sample, event.at_ns)
    turn = suspicion.turn
    return [] if turn is None else [*turn.settle(event.sample + _TAIL)]


def _aim(call: CallMemory, suspicion: Suspicion, now_ns: int) -> None:
    look_ms = call.barge_in.look_ms(suspicion.outlook(now_ns))
    call.deadline_ns = now_ns + ms_to_ns(look_ms)


def _suspicion(call: CallMemory) -> Suspicion:
    assert call.suspicion is not None
    return call.suspicion
