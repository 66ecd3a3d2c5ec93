r"""The transition table of a call: which event may come in which state, and where it leads.

::

    caller  ______/¯¯¯¯¯¯\__/¯¯¯\_____________________/¯\______/¯¯¯¯¯¯¯¯¯¯¯¯¯\____
    agent   ____________________________/¯¯¯¯¯¯¯¯¯¯¯¯¯¯\__/¯¯¯¯\___x______________
    state   LISTENING    |  |   |   |                  |  |    |   |
                  HEARING P  H   P   THINKING, SPEAKING Y  S    Y   HEARING     P

*LISTENING*: nobody speaks. *HEARING*: the caller has the floor. *PAUSING* (P): he
is silent, perhaps he has finished; an answer may be begun, but isn't heard.
*THINKING*: his turn is over, nothing of the answer has been sent. *SPEAKING*: the
agent has the floor until its audio is played. *YIELDING* (Y): the agent is silent
because the caller perhaps wants the floor; it goes on, or is cut.

An event of an engine that belongs to an earlier turn is legal everywhere and
changes nothing but a counter; an event that is not in the table is a bug of
the driver and raises. ``python -m voicecore.core.turn_table`` prints the
diagram of ARCHITECTURE.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from voicecore.core import events as ev
from voicecore.core.state import ALIVE, REPLYING, State
from voicecore.core.turns import (
    engines,
    farewell,
    hearing,
    keys,
    listening,
    pausing,
    speaking,
    understanding,
    yielding,
)
from voicecore.core.turns.memory import Actions, CallMemory

Handler = Callable[[CallMemory, Any, int], Actions]

CONNECTING, LISTENING, HEARING, PAUSING = (
    State.CONNECTING,
    State.LISTENING,
    State.HEARING,
    State.PAUSING,
)
THINKING, SPEAKING, YIELDING, ENDED = (
    State.THINKING,
    State.SPEAKING,
    State.YIELDING,
    State.ENDED,
)
_FLOOR = (THINKING, SPEAKING)
_SILENT = (LISTENING, HEARING)
# What a sound over the agent's voice may turn out to be.
_JUDGED = (HEARING, PAUSING, *_FLOOR, LISTENING)
# An answer that turns out to be over.
_OVER = (LISTENING, YIELDING, ENDED)

# (state, event) -> (handler, states it may lead to)
TABLE: dict[tuple[State, type[ev.Event]], tuple[Handler, frozenset[State]]] = {}


def _row(
    states: tuple[State, ...], event: type[ev.Event], handler: Handler, *leads_to: State
) -> None:
    for state in states:
        TABLE[state, event] = (handler, frozenset(leads_to) | {state})


_row((CONNECTING,), ev.Connected, listening.on_connected, LISTENING, THINKING)
_row((CONNECTING, *ALIVE), ev.Hangup, listening.on_hangup, ENDED)
_row((ENDED,), ev.Hangup, listening.ignore)
_row((CONNECTING, *ALIVE), ev.Farewell, farewell.on_farewell, ENDED)
_row((LISTENING,), ev.Farewell, farewell.on_farewell, THINKING, ENDED)

# The caller's voice.
_row((LISTENING,), ev.SpeechOnset, listening.ignore)
_row((LISTENING,), ev.SpeechConfirmed, hearing.on_turn_begins, HEARING)
_row((LISTENING,), ev.SpeechReleased, listening.ignore)
_row((HEARING,), ev.SpeechOnset, hearing.on_voice)
_row((HEARING,), ev.SpeechConfirmed, hearing.on_voice)
_row((HEARING,), ev.SpeechReleased, pausing.on_pause, PAUSING)
_row((PAUSING,), ev.SpeechOnset, pausing.on_voice_again)
_row((PAUSING,), ev.SpeechConfirmed, pausing.on_goes_on, HEARING)
_row((PAUSING,), ev.SpeechReleased, pausing.on_no_voice)
_row(_FLOOR, ev.SpeechOnset, yielding.on_sound, YIELDING)
_row(_FLOOR, ev.SpeechConfirmed, yielding.on_voice, YIELDING, HEARING)
_row(_FLOOR, ev.SpeechReleased, yielding.on_quiet)
_row((YIELDING,), ev.SpeechOnset, yielding.on_onset)
_row((YIELDING,), ev.SpeechConfirmed, yielding.on_confirmed, HEARING)
_row((YIELDING,), ev.SpeechReleased, yielding.on_released, *_JUDGED)
_row(ALIVE, ev.Digit, keys.on_digit)
_row((THINKING,), ev.Digit, keys.on_digit, LISTENING)

# Time: whatever else is due, a goodbye comes first.
_parting = farewell.first
_row((LISTENING,), ev.Timeout, _parting(listening.on_quiet_timeout), THINKING, ENDED)
_row((HEARING,), ev.Timeout, _parting(hearing.on_watch), THINKING, LISTENING, ENDED)
_row((PAUSING,), ev.Timeout, _parting(pausing.on_pause_timeout), THINKING, LISTENING, ENDED)
_row((THINKING,), ev.Timeout, _parting(listening.ignore), ENDED)
_row((SPEAKING,), ev.Timeout, _parting(yielding.on_speaking_timeout), *_JUDGED, YIELDING, ENDED)
_row((YIELDING,), ev.Timeout, _parting(yielding.on_yielding_timeout), *_JUDGED, ENDED)

# The engines.
_row(ALIVE, ev.TranscriptPartial, understanding.on_partial)
_row((YIELDING,), ev.TranscriptPartial, understanding.on_partial, *_JUDGED)
_row(ALIVE, ev.TranscriptFinal, understanding.on_final)
_row((THINKING,), ev.TranscriptFinal, understanding.on_final, LISTENING)
_row((YIELDING,), ev.TranscriptFinal, understanding.on_final, *_JUDGED)
_row(ALIVE, ev.TurnScored, pausing.on_scored)
_row(REPLYING, ev.ReplyText, speaking.on_reply_text)
_row(ALIVE, ev.ToolsUsed, speaking.on_tools_used)
_row(REPLYING, ev.ReplyEnd, speaking.on_reply_end, *_OVER)
_row(REPLYING, ev.SpeechQueued, speaking.on_speech_queued)
_row(REPLYING, ev.SegmentEnd, speaking.on_segment_end, *_OVER)
# What was begun in a pause can't be over before it was heard.
_row((PAUSING,), ev.ReplyEnd, speaking.on_reply_end)
_row((PAUSING,), ev.SegmentEnd, speaking.on_segment_end)
_row(ALIVE, ev.EngineFailed, engines.on_failed)
_row((THINKING,), ev.EngineFailed, engines.on_failed, LISTENING, ENDED)
_row((SPEAKING,), ev.EngineFailed, engines.on_failed, ENDED)
_row((YIELDING,), ev.EngineFailed, engines.on_failed, *_JUDGED)
for _late in (ev.ReplyText, ev.ReplyEnd, ev.SpeechQueued, ev.SegmentEnd):
    _row(_SILENT, _late, listening.on_stale)

# Playback.
_row((THINKING,), ev.PlayoutStarted, speaking.on_playout_started, SPEAKING)
_row((SPEAKING, YIELDING), ev.PlayoutStarted, speaking.on_playout_started)
_row((*_FLOOR, YIELDING), ev.PlayoutDrained, speaking.on_drained, *_OVER)
# Audio in flight around a flush: the ring reports what it did before it was told.
_row((*_SILENT, PAUSING), ev.PlayoutStarted, listening.ignore)
_row((*_SILENT, PAUSING), ev.PlayoutDrained, listening.ignore)
_row(ALIVE, ev.Flushed, speaking.on_flushed)

# Whatever was on its way when the call ended arrives nowhere.
for _event in ev.ALL_EVENTS:
    TABLE.setdefault((ENDED, _event), (listening.on_stale, frozenset({ENDED})))


def mermaid() -> str:
    """The table as a Mermaid state diagram (only the rows that change the state)."""
    labels: dict[tuple[str, str], list[str]] = {}
    for (state, event), (_, leads_to) in TABLE.items():
        for target in sorted(leads_to - {state}, key=lambda s: s.value):
            labels.setdefault((state.value, target.value), []).append(event.__name__)
    lines = ["stateDiagram-v2", "    [*] --> connecting"]
    lines += [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in sorted(labels.items())]
    return "\n".join([*lines, "    ended --> [*]"])


if __name__ == "__main__":
    print(mermaid())
