r"""The caller has fallen silent; perhaps he has finished.

::

    caller  ¯¯¯¯¯\________________________________/¯¯¯ goes on: what was begun is discarded
                 |  settle  |           | wait
                 |  200 ms  | final     v
                 |          | text      the turn is over: the held answer is let go
                 |          v
                 |   LLM ► TTS begin, their voice is held
                 v
           silence is counted from here

How long the wait is says the endpoint policy, anew whenever more is known.
"""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.endpoint import PauseCues
from voicecore.core.state import State
from voicecore.core.turn_clock import TurnClock
from voicecore.core.turns import ending, speaking
from voicecore.core.turns.caller_turn import CallerTurn
from voicecore.core.turns.hearing import STALL_CAP_MS, listening_from, on_watch, watch
from voicecore.core.turns.memory import Actions, CallMemory, Pause
from voicecore.core.units import (
    HEAR_RATE_HZ,
    NS_PER_MS,
    ms_to_ns,
    ms_to_samples,
    samples_to_ns,
)

SETTLE_MS = 200
"""So much silence is a pause, and reason to ask the recogniser for its final text."""

_MEDIA_SLACK_MS = 64
"""What was judged of the caller's audio may lag the clock by a packet, a VAD frame and the
wait for a batch, not by more."""

_RECHECK_MS = (10, 40)
"""After a pause that was long enough on the clock: what is missing of it is awaited, but not
less than the first, and not more than the second, since after a stall all comes at once."""

_WORTH_MS = 1000
"""A pause that is waited out so long is most likely none's end: no reply is begun in it."""


def on_pause(call: CallMemory, event: ev.SpeechReleased, now_ns: int) -> Actions:
    """The caller's voice ended; wait whether he goes on."""
    turn = _turn(call)
    turn.add_speech(event.sample)
    return pause(call, event.sample, event.at_ns)


def pause(call: CallMemory, sample: int, at_ns: int) -> Actions:
    """The caller has been silent since ``sample``."""
    call.state = State.PAUSING
    call.pause = Pause(sample, at_ns)
    call.clock = TurnClock(at_ns)
    turn = _turn(call)
    _aim(call)
    return [act.JudgePause(turn.number, turn.begins_at, sample, turn.text)]


def on_voice_again(call: CallMemory, event: ev.SpeechOnset, now_ns: int) -> Actions:
    """Perhaps he goes on: nothing is decided before it is known."""
    break_pause(call, event.sample, now_ns)
    return []


def break_pause(call: CallMemory, sample: int, now_ns: int) -> None:
    """Something is voiced again from ``sample`` on."""
    _pause(call).broken = True
    watch(call, sample, now_ns)


def on_no_voice(call: CallMemory, event: ev.SpeechReleased, now_ns: int) -> Actions:
    """It was too short to be a voice: the pause goes on as if it had not been."""
    _pause(call).broken = False
    return reconsider(call, now_ns)


def on_goes_on(call: CallMemory, event: ev.SpeechConfirmed, now_ns: int) -> Actions:
    """It was a pause: learn from it, forget what was begun in it, listen on."""
    turn, pause = _turn(call), _pause(call)
    call.endpoint.resumed((event.sample - pause.sample) * 1000 / HEAR_RATE_HZ)
    if call.speculating:
        call.budget.waste(now_ns)
    actions = speaking.discard(call)
    call.state = State.HEARING
    call.pause = call.clock = None
    turn.voice_from = event.sample
    watch(call, event.sample, now_ns)
    if not turn.is_heard and not turn.failed:
        actions.append(turn.listen(listening_from(call, event.sample)))
    return actions


def on_pause_timeout(call: CallMemory, event: ev.Timeout, now_ns: int) -> Actions:
    """Perhaps the pause was long enough, if it really was silence that arrived."""
    if call.deadline_ns is None or now_ns < call.deadline_ns:
        return []
    turn, pause = _turn(call), _pause(call)
    if pause.broken:
        return on_watch(call, event, now_ns)
    wait_ms = _wait_ms(call)
    if call.settings.settles and turn.is_heard:
        if not _has_arrived(call, pause, min(SETTLE_MS, wait_ms), event.media_sample, now_ns):
            return []
        settled = ending.settle(call, turn, pause.sample)
    else:
        settled = []
    if not _has_arrived(call, pause, wait_ms, event.media_sample, now_ns):
        return [*settled]
    return [*settled, *ending.end_of_turn(call, pause.sample, pause.at_ns, now_ns)]


def on_scored(call: CallMemory, event: ev.TurnScored, now_ns: int) -> Actions:
    """The turn-detection model has looked at the pause."""
    pause = call.pause
    if pause is None or event.turn != call.turn or event.sample != pause.sample:
        return call.stale()
    pause.score = event.probability
    _aim(call)
    return []


def reconsider(call: CallMemory, now_ns: int) -> Actions:
    """More of the turn is understood: wait as long as that asks for, begin to answer."""
    if _pause(call).broken:
        return []
    _aim(call)
    return _speculate(call, now_ns)


def on_reply_failed(call: CallMemory, event: ev.EngineFailed, now_ns: int) -> Actions:
    """What was begun early failed: the turn's end begins it anew."""
    return speaking.discard(call) if event.turn == call.turn else []


def _speculate(call: CallMemory, now_ns: int) -> Actions:
    turn = _turn(call)
    if call.reply is not None or call.awaited or not turn.is_settled or turn.failed:
        return []
    if call.parting is not None:
        return []
    if not turn.text or ending.is_nothing(call, turn.text) or not call.budget.allows(now_ns):
        return []
    if _wait_ms(call) >= _WORTH_MS:
        return []
    call.speculating = True
    call.begin_reply(turn.number, call.clock)
    return [act.Hold(), act.StartReply(turn.number, turn.text)]


def _wait_ms(call: CallMemory) -> float:
    turn = _turn(call)
    cues = PauseCues(
        text=turn.text,
        settled=turn.is_settled,
        asked=call.last_words.rstrip().endswith("?"),
        speech_ms=turn.speech_ms,
        model=_pause(call).score,
    )
    return call.endpoint.wait_ms(cues)


def _aim(call: CallMemory) -> None:
    """Set the deadline at what is due next in this pause."""
    wait_ms = _wait_ms(call)
    if call.settings.settles and _turn(call).is_heard:
        wait_ms = min(wait_ms, SETTLE_MS)
    call.deadline_ns = _pause(call).at_ns + ms_to_ns(wait_ms)


def _has_arrived(
    call: CallMemory, pause: Pause, silence_ms: float, media_sample: int, now_ns: int
) -> bool:
    """Whether so much silence has come; if not, the deadline says when to look again."""
    due_ns = pause.at_ns + ms_to_ns(silence_ms)
    if now_ns < due_ns:
        call.deadline_ns = due_ns
        return False
    enough = ms_to_samples(silence_ms - _MEDIA_SLACK_MS, HEAR_RATE_HZ)
    missing = pause.sample + enough - media_sample
    if missing <= 0 or now_ns >= due_ns + STALL_CAP_MS * NS_PER_MS:
        return True
    least_ns, most_ns = (ms_to_ns(ms) for ms in _RECHECK_MS)
    wait_ns = samples_to_ns(missing, HEAR_RATE_HZ)
    call.deadline_ns = now_ns + min(max(wait_ns, least_ns), most_ns)
    return False


def _turn(call: CallMemory) -> CallerTurn:
    assert call.caller is not None
    return call.caller


def _pause(call: CallMemory) -> Pause:
    assert call.pause is not None
    return call.pause
