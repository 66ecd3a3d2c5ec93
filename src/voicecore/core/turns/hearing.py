"""The caller has the floor."""

from __future__ import annotations

from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turns import ending
from voicecore.core.turns.caller_turn import CallerTurn
from voicecore.core.turns.memory import Actions, CallMemory
from voicecore.core.units import HEAR_RATE_HZ, ms_to_ns, ms_to_samples

WATCH_MS = 500
"""How often is looked whether a caller who speaks still arrives."""

STALL_CAP_MS = 2000
"""A stalled network holds a turn open no longer than this."""


def on_turn_begins(call: CallMemory, event: ev.SpeechConfirmed, now_ns: int) -> Actions:
    """The caller takes the floor."""
    return begin(call, CallerTurn(call.next_number(), event.sample), now_ns)


def begin(call: CallMemory, turn: CallerTurn, now_ns: int) -> Actions:
    """Listen to ``turn`` from before its first sample."""
    listen = turn.listen(listening_from(call, turn.voice_from))
    take_floor(call, turn, now_ns)
    return [listen]


def listening_from(call: CallMemory, sample: int) -> int:
    """Where a recogniser begins for a voice that begins at ``sample``."""
    preroll = ms_to_samples(call.settings.preroll_ms, HEAR_RATE_HZ)
    # What an earlier part already took is not heard twice.
    return max(sample - preroll, call.listened_to, 0)


def take_floor(call: CallMemory, turn: CallerTurn, now_ns: int) -> None:
    """``turn`` is the caller's from here on."""
    if call.ended_at is not None:
        # He had not finished: the pause was longer than he was waited for. What no wait
        # would have spanned is no pause.
        pause_ms = max(turn.begins_at - call.ended_at, 0) * 1000 / HEAR_RATE_HZ
        if pause_ms <= call.settings.max_wait_ms:
            call.endpoint.resumed(pause_ms)
        call.ended_at = None
    call.state = State.HEARING
    call.turn = turn.number
    call.caller = turn
    call.pause = None
    call.clock = None
    call.reminding, call.leaving = False, ""
    watch(call, turn.voice_from, now_ns)


def on_voice(call: CallMemory, event: ev.SpeechOnset | ev.SpeechConfirmed, now_ns: int) -> Actions:
    """He is heard."""
    watch(call, event.sample, now_ns)
    return []


def watch(call: CallMemory, sample: int, now_ns: int) -> None:
    """The caller speaks; what was heard of him reaches ``sample`` or beyond."""
    call.arrived = (sample, now_ns)
    call.deadline_ns = now_ns + ms_to_ns(WATCH_MS)


def on_watch(call: CallMemory, event: ev.Timeout, now_ns: int) -> Actions:
    """A stall in the middle of a word tells no pause: it is seen here."""
    if call.deadline_ns is None or now_ns < call.deadline_ns:
        return []
    reached, since_ns = call.arrived
    end_ns = since_ns + ms_to_ns(call.settings.silence_ms + STALL_CAP_MS)
    if event.media_sample > reached:
        watch(call, event.media_sample, now_ns)
    elif now_ns < end_ns:
        call.deadline_ns = min(now_ns + ms_to_ns(WATCH_MS), end_ns)
    else:
        call.stalled = (event.voice.onset, reached) if event.voice.voiced else None
        return ending.end_of_turn(call, reached, since_ns, now_ns)
    return []
