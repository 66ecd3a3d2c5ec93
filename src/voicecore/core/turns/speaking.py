"""The agent's answer: from the model's words to what was heard of it."""

from __future__ import annotations

from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Message
from voicecore.core.reply import Reply
from voicecore.core.state import State
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.turns.memory import Actions, CallMemory, Cut, agent_text
from voicecore.core.turns.resting import leave, rest
from voicecore.core.units import ms_to_ns

_PROGRESS_MS = 500
"""How often a speaking agent's progress is told to the client."""

PROTECTED_LOOK_MS = 100
"""How often is looked whether a passage is over that may not be interrupted."""

_FAILURES = {
    "stt": "The speech recogniser failed; please say that again.",
    "llm": "The language model failed; please ask again.",
    "tts": "The voice failed; please ask again.",
    "s2s": "The agent failed; please ask again.",
}


# -- the agent's words ------------------------------------------------------------------


def say(reply: Reply, *pieces: tuple[str, bool]) -> Actions:
    """Say these words, each protected or not, and nothing else."""
    spoken: Actions = []
    for text, protected in pieces:
        spoken += reply.add_words(text, protected=protected)
    return [*spoken, *reply.end_text(), agent_text(reply)]


def commit(call: CallMemory, now_ns: int) -> Actions:
    """The turn is over: what was begun in its last pause may be heard."""
    reply, call.speculating = call.reply, False
    assert reply is not None
    call.cut_short = None
    call.asked = reply.turn
    for exchange in reply.exchanges:
        _add(call, exchange)
    actions: Actions = [act.RecordSpeculation("used"), act.Resume()]
    if reply.text:
        actions.append(agent_text(reply))
    return [*actions, *finish_if_played(call, reply, now_ns)]


def discard(call: CallMemory) -> Actions:
    """Forget a reply that was begun in a pause, if there is one; nothing of it was heard."""
    if not call.speculating or call.reply is None:
        return []
    reply, call.reply, call.speculating = call.reply, None, False
    if reply.clock is not None:
        # Another answer may be begun for the same turn.
        reply.clock.forget("llm", "tts")
    return [
        act.Flush(reply.turn),
        act.CancelReply(reply.turn),
        act.RecordSpeculation("wasted"),
    ]


def fall_silent(call: CallMemory, by_turn: int, began: int | None) -> Actions:
    """Say no more of the answer; what was heard of it is told when playback has stopped.

    ``by_turn`` and ``began`` are those of :class:`~voicecore.core.turns.memory.Cut`.
    """
    reply, call.reply = call.reply, None
    if reply is None:
        # Nothing to flush, which would have ended the hold.
        return [act.Resume()] if call.state is State.YIELDING else []
    call.speculating = False
    call.cut = Cut(reply, by_turn, began)
    return [act.Flush(reply.turn), act.CancelReply(reply.turn)]


def on_reply_text(call: CallMemory, event: ev.ReplyText, now_ns: int) -> Actions:
    """Speak each clause as soon as it is complete."""
    reply = _current(call, event.turn)
    if reply is None:
        return []
    if event.text:
        mark(reply, "llm", now_ns)
    if event.voiced:
        reply.add_voiced(event.text)
        return [agent_text(reply)] if event.text else []
    spoken = reply.add_text(event.text, protected=event.protected)
    actions: Actions = [*spoken]
    if reply.spoken_s > call.settings.max_monologue_s > 0 and not reply.is_broken_off:
        actions += reply.break_off(call.settings.monologue_question)
    return actions if call.speculating else [*actions, agent_text(reply)]


def on_tools_used(call: CallMemory, event: ev.ToolsUsed, now_ns: int) -> Actions:
    """Keep what tools did, before the words it led to.

    It has happened even if nobody hears of it any more; only what was done for a turn
    that isn't over waits for its end, and goes with it if the caller speaks on.
    """
    reply = call.reply
    current = reply is not None and reply.turn == event.turn
    if current and call.speculating:
        assert reply is not None
        reply.exchanges.append(event.exchange)
        return []
    if not current:
        call.stale_events += 1
    if current or event.turn <= call.asked:
        _add(call, event.exchange)
    return []


def on_reply_end(call: CallMemory, event: ev.ReplyEnd, now_ns: int) -> Actions:
    """Speak what is left."""
    reply = _current(call, event.turn)
    if reply is None:
        return []
    known = reply.text
    spoken: Actions = [*reply.end_text()]
    if reply.text != known and not call.speculating:
        # What may have been the beginning of markup was none.
        spoken.append(agent_text(reply))
    return [*spoken, *finish_if_played(call, reply, now_ns)]


def on_speech_queued(call: CallMemory, event: ev.SpeechQueued, now_ns: int) -> Actions:
    """Note where the words lie in the playout."""
    reply = _current(call, event.turn)
    if reply is not None:
        mark(reply, "tts", now_ns)
        reply.add_audio(event)
    return []


def on_segment_end(call: CallMemory, event: ev.SegmentEnd, now_ns: int) -> Actions:
    """A clause has all its audio."""
    reply = _current(call, event.turn)
    if reply is None:
        return []
    reply.ledger.close_segment(event.segment)
    return finish_if_played(call, reply, now_ns)


def on_engine_failed(call: CallMemory, event: ev.EngineFailed, now_ns: int) -> Actions:
    """The model or the synthesiser failed: apologise for this turn; the call lives."""
    reply = call.reply
    if reply is None or reply.turn != event.turn:
        return []
    if event.stage == "llm" and reply.written:
        # It was broken off: nothing is missing.
        return []
    actions: Actions = []
    if event.stage in ("tts", "s2s"):
        actions.append(act.CancelReply(reply.turn))
        reply.abandon_audio()
    reply.give_up_text()
    if call.says_goodbye:
        # An apology asks for more, and there is nothing more.
        return [*actions, *finish_if_played(call, reply, now_ns)]
    return [*actions, *apologise(call, reply)]


def failure(event: ev.EngineFailed) -> Actions:
    """Record a failure and tell the client."""
    return [
        act.RecordFailure(event.stage, event.code),
        act.Notify(
            "error",
            {"code": event.code, "stage": event.stage, "message": _FAILURES[event.stage]},
        ),
    ]


def apologise(call: CallMemory, reply: Reply) -> Actions:
    """Say the canned apology."""
    return [reply.apologise(call.settings.apology), agent_text(reply)]


# -- playout ----------------------------------------------------------------------------


def on_playout_started(call: CallMemory, event: ev.PlayoutStarted, now_ns: int) -> Actions:
    """The first packet of the answer is out."""
    reply = call.reply
    if reply is None:
        return []
    reply.started_ns = now_ns
    call.ended_at = None
    if call.state is State.THINKING:
        call.state = State.SPEAKING
    if call.state is State.SPEAKING:
        _look_again(call, now_ns)
    clock = reply.clock
    if clock is None or clock.complete:
        return []
    clock.mark("packet", now_ns)
    return [
        act.RecordTurn(clock.durations()),
        act.Notify("latency", {"turn": reply.turn, **clock.milliseconds()}),
    ]


def speak_on(call: CallMemory, now_ns: int) -> Actions:
    """The agent has the floor (again)."""
    reply = call.reply
    if reply is None and not call.awaited:
        return rest(call, now_ns)
    if reply is None or reply.started_ns is None:
        call.state, call.deadline_ns = State.THINKING, None
        return []
    call.state = State.SPEAKING
    _look_again(call, now_ns)
    return []


def progress(call: CallMemory, played: int, now_ns: int) -> Actions:
    """Tell how much of the answer was played."""
    reply = call.reply
    if reply is None:
        return []
    _look_again(call, now_ns)
    chars = reply.ledger.heard_chars(played)
    if chars == reply.told_chars:
        return []
    reply.told_chars = chars
    return [act.Notify("heard", {"turn": reply.turn, "chars": chars})]


def on_drained(call: CallMemory, event: ev.PlayoutDrained, now_ns: int) -> Actions:
    """Everything queued was played; perhaps that was all."""
    call.drained_at = event.position
    if call.reply is None:
        return []
    call.reply.lost = event.lost
    return finish_if_played(call, call.reply, now_ns)


def on_flushed(call: CallMemory, event: ev.Flushed, now_ns: int) -> Actions:
    """Playback has stopped: what was heard by now is what was said."""
    cut, call.cut = call.cut, None
    if cut is None or cut.reply.turn != event.turn:
        return []
    reply, began = cut.reply, cut.began
    if began is not None:
        began -= round(event.far_delay_ms * call.play_rate_hz / 1000)
    reply.lost = event.lost
    message, told = remember(call, reply, event.position, began)
    rest_of_it = reply.rest(reply.ledger.heard_chars(event.position, event.lost))
    call.cut_short = (cut.by_turn, rest_of_it) if message.interrupted else None
    return told


def finish_if_played(call: CallMemory, reply: Reply, now_ns: int) -> Actions:
    """The answer is over once all of it was written, synthesised and played."""
    if call.speculating or not reply.finished(call.drained_at):
        return []
    call.reply = None
    _, told = remember(call, reply, call.drained_at)
    actions = [act.CancelReply(reply.turn), *told]
    if call.leaving:
        return [*actions, *leave(call, call.leaving)]
    if call.suspicion is not None:
        if call.state is not State.YIELDING:
            call.suspicion.began_ns = now_ns
        # Whoever is speaking has nobody left to interrupt; `yielding` sees to him.
        call.state, call.deadline_ns = State.YIELDING, now_ns
        return actions
    return [*actions, *rest(call, now_ns)]


def remember(
    call: CallMemory, reply: Reply, played: int, began: int | None = None
) -> tuple[Message, Actions]:
    """Put what was heard of ``reply`` into the conversation, and tell it."""
    message = reply.as_heard(played, began)
    if message.text:
        call.conversation.add(message)
        call.unanswered = False
        call.last_words = message.text
    told = {
        "turn": reply.turn,
        "text": reply.text,
        "heard": message.text,
        "unheard": message.unheard,
        "interrupted": message.interrupted,
    }
    return message, [act.Notify("agent_done", told)]


def mark(reply: Reply, stage: str, now_ns: int) -> None:
    """Note a stage of the answer's latency."""
    if reply.clock is not None:
        reply.clock.mark(stage, now_ns)


def _look_again(call: CallMemory, now_ns: int) -> None:
    waits = call.suspicion is not None or call.keypad.due_ns is not None
    call.deadline_ns = now_ns + ms_to_ns(PROTECTED_LOOK_MS if waits else _PROGRESS_MS)


def _add(call: CallMemory, exchange: ToolExchange) -> None:
    for message in exchange.messages:
        call.conversation.add(message)


def _current(call: CallMemory, turn: int) -> Reply | None:
    if call.reply is not None and call.reply.turn == turn:
        return call.reply
    call.stale_events += 1
    return None
