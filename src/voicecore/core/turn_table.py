r"""The transition table of a call: which event may come in which state, and where it leads.

::

    caller  ___________/¯¯¯¯¯¯¯\____480 ms____________________/¯¯¯¯¯¯¯\______
    agent   __________________________________/¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯¯x_____________
    state   LISTENING  HEARING          THINKING SPEAKING       HEARING

*LISTENING*: nobody speaks. *HEARING*: the caller has the floor; a pause of
``silence_ms`` ends his turn. *THINKING*: transcript, model and synthesiser are
at work, nothing of the answer has been sent. *SPEAKING*: the agent has the
floor until its audio is played, or until the caller takes it back: a confirmed
speech edge in THINKING or SPEAKING cancels the answer and leads to HEARING.

An event of an engine that belongs to an earlier turn is legal everywhere and
changes nothing but a counter; an event that is not in the table is a bug of
the driver and raises. ``python -m voicecore.core.turn_table`` prints the
diagram of ARCHITECTURE.md.
"""

from __future__ import annotations

from enum import Enum

from voicecore.core import events as ev


class State(Enum):
    """Who has the floor."""

    CONNECTING = "connecting"
    LISTENING = "listening"
    HEARING = "hearing"
    THINKING = "thinking"
    SPEAKING = "speaking"
    ENDED = "ended"


_ALIVE = (State.LISTENING, State.HEARING, State.THINKING, State.SPEAKING)

# (state, event) -> (name of the handler in Session, states it may lead to)
TABLE: dict[tuple[State, type[ev.Event]], tuple[str, frozenset[State]]] = {}


def _row(states: tuple[State, ...], event: type[ev.Event], handler: str, *leads_to: State) -> None:
    for state in states:
        TABLE[state, event] = (handler, frozenset(leads_to) | {state})


_row((State.CONNECTING,), ev.Connected, "on_connected", State.LISTENING, State.THINKING)
_row((State.CONNECTING, *_ALIVE), ev.Hangup, "on_hangup", State.ENDED)
_row((State.ENDED,), ev.Hangup, "ignore")

# The caller's voice.
_row((State.LISTENING,), ev.SpeechOnset, "ignore")
_row((State.LISTENING,), ev.SpeechConfirmed, "on_turn_begins", State.HEARING)
_row((State.LISTENING,), ev.SpeechReleased, "ignore")
_row((State.HEARING,), ev.SpeechOnset, "on_pause_over")
_row((State.HEARING,), ev.SpeechConfirmed, "on_pause_over")
_row((State.HEARING,), ev.SpeechReleased, "on_pause")
_row((State.THINKING, State.SPEAKING), ev.SpeechOnset, "ignore")
_row((State.THINKING, State.SPEAKING), ev.SpeechConfirmed, "on_barge_in", State.HEARING)
_row((State.THINKING, State.SPEAKING), ev.SpeechReleased, "ignore")

# Time.
_row((State.LISTENING, State.THINKING), ev.Timeout, "ignore")
_row((State.HEARING,), ev.Timeout, "on_hearing_timeout", State.THINKING)
_row((State.SPEAKING,), ev.Timeout, "on_progress_timeout")

# The engines.
_row(_ALIVE, ev.TranscriptPartial, "on_partial")
_row((State.LISTENING, State.HEARING, State.SPEAKING), ev.TranscriptFinal, "on_final")
_row((State.THINKING,), ev.TranscriptFinal, "on_final", State.LISTENING)
_row((State.THINKING, State.SPEAKING), ev.ReplyText, "on_reply_text")
_row((State.THINKING, State.SPEAKING), ev.ReplyEnd, "on_reply_end", State.LISTENING)
_row((State.THINKING, State.SPEAKING), ev.SpeechQueued, "on_speech_queued")
_row((State.THINKING, State.SPEAKING), ev.SegmentEnd, "on_segment_end", State.LISTENING)
_row(_ALIVE, ev.EngineFailed, "on_engine_failed")
for _late in (ev.ReplyText, ev.ReplyEnd, ev.SpeechQueued, ev.SegmentEnd):
    _row((State.LISTENING, State.HEARING), _late, "on_stale")

# Playback.
_row((State.THINKING,), ev.PlayoutStarted, "on_playout_started", State.SPEAKING)
_row((State.SPEAKING,), ev.PlayoutStarted, "ignore")
_row((State.THINKING, State.SPEAKING), ev.PlayoutDrained, "on_drained", State.LISTENING)
# Audio in flight around a flush: the ring reports what it did before it was told.
_row((State.LISTENING, State.HEARING), ev.PlayoutStarted, "ignore")
_row((State.LISTENING, State.HEARING), ev.PlayoutDrained, "ignore")
_row(_ALIVE, ev.Flushed, "on_flushed")

# Whatever was on its way when the call ended arrives nowhere.
for _event in ev.ALL_EVENTS:
    TABLE.setdefault((State.ENDED, _event), ("on_stale", frozenset({State.ENDED})))


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
