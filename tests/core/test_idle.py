"""A caller who says nothing, and an agent who says too much."""

from __future__ import annotations

import pytest

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State

IDLE = {"idle_prompt_s": 5.0, "idle_goodbye_s": 8.0, "bargein_policy": "staged"}
PROMPT, GOODBYE = "Are you still there?", "I can't hear you any more. Goodbye."


def idle(**settings: object) -> ScriptedCall:
    return ScriptedCall(**{**IDLE, **settings})


def spoken(call: ScriptedCall) -> list[str]:
    """All of it, clauses of one answer joined."""
    texts: dict[int, list[str]] = {}
    for a in call.actions:
        if isinstance(a, act.Speak):
            texts.setdefault(a.turn, []).append(a.text)
    return [" ".join(clauses) for clauses in texts.values()]


def say_all(call: ScriptedCall) -> None:
    """What the agent has to say is heard."""
    begin_to_say(call)
    call.play_to(call.written)


def begin_to_say(call: ScriptedCall) -> None:
    """It is synthesised."""
    turn = call.of(act.Speak)[-1].turn  # type: ignore[attr-defined]
    call.speak([a for a in call.actions if isinstance(a, act.Speak) and a.turn == turn])


def test_who_is_silent_is_asked_and_then_left() -> None:
    call = idle()
    call.at(4999)
    assert spoken(call) == []
    call.at(5000)
    assert spoken(call) == [PROMPT]
    assert call.state is State.THINKING
    call.at(6000)
    say_all(call)
    assert call.state is State.LISTENING
    call.at(13_999)
    assert spoken(call) == [PROMPT]
    call.at(14_000)
    assert spoken(call) == [PROMPT, GOODBYE]
    assert call.state is State.THINKING
    call.at(14_500)
    say_all(call)
    assert call.state is State.ENDED
    assert call.of(act.End) == [act.End("caller_silent")]
    assert call.notes("bye") == [{"reason": "caller_silent"}]
    assert call.said == [("assistant", PROMPT), ("assistant", GOODBYE)]


def test_without_settings_nobody_is_asked() -> None:
    call = ScriptedCall()
    call.at(3_600_000)
    assert spoken(call) == []
    assert call.session.deadline_ns is None


def test_a_goodbye_needs_its_setting() -> None:
    call = idle(idle_goodbye_s=0.0)
    call.at(5000)
    say_all(call)
    call.at(3_600_000)
    assert spoken(call) == [PROMPT]


def test_an_answer_begins_the_silence_anew() -> None:
    call = idle()
    call.at(5000)
    say_all(call)
    call.caller_says("yes", 6000, 7000)
    call.reply("Good.")
    call.play_to(call.written)
    rests_ms = call.now_ms
    call.at(rests_ms + 4999)
    assert spoken(call) == [PROMPT, "Good."]
    call.at(rests_ms + 5001)
    # Asked again, not left: he has been there in between.
    assert spoken(call) == [PROMPT, "Good.", PROMPT]


def test_a_cough_over_the_question_is_no_answer() -> None:
    call = idle()
    call.at(5000)
    begin_to_say(call)
    call.play_to(100)
    call.at(5532).onset(5500)
    call.at(5564).release(5540)
    call.at(5900)
    assert call.state is State.SPEAKING
    call.play_to(call.written)
    call.at(14_000)
    assert spoken(call) == [PROMPT, GOODBYE]


def test_who_speaks_over_the_goodbye_stays() -> None:
    call = idle()
    call.at(5000)
    say_all(call)
    call.at(14_000)
    begin_to_say(call)
    call.play_to(2500)
    begin_ms = call.now_ms + 500
    call.caller_speaks(begin_ms, begin_ms + 1000)
    call.at(begin_ms + 1500)
    call.understand("no wait I am here")
    call.reply("Good.")
    call.play_to(call.written)
    assert call.state is State.LISTENING


@pytest.mark.parametrize("stalls_ms", [100, 2000])
def test_a_network_that_stalls_is_no_silence(stalls_ms: int) -> None:
    call = idle()
    call.stalled_from_ms = stalls_ms
    call.at(7000)
    assert spoken(call) == []
    call.stalled_from_ms = float("inf")
    call.at(14_000)
    assert spoken(call) == [PROMPT]


def test_a_network_that_stalls_after_the_question_is_no_silence_either() -> None:
    call = idle()
    call.at(5000)
    say_all(call)
    call.stalled_from_ms = 5100
    call.at(20_000)
    assert spoken(call) == [PROMPT]


@pytest.mark.parametrize("state", [State.HEARING, State.THINKING, State.SPEAKING])
def test_only_who_has_the_word_can_be_silent(state: State) -> None:
    call = idle()
    if state is State.HEARING:
        call.at(1000).onset()
        call.at(1064).confirm(1000)
    else:
        call.caller_says("hi", 0, 1000)
    if state is State.SPEAKING:
        call.reply("one two three")
        call.play_to(100)
    call.at(60_000)
    assert call.state is state
    assert PROMPT not in spoken(call)


def test_a_long_answer_breaks_off_at_a_clause_and_asks() -> None:
    call = ScriptedCall(max_monologue_s=3.0)
    call.caller_says("tell me all", 0, 1000)
    for i in range(20):
        call.speak(call.send(ev.ReplyText(1, f"This is sentence number {i}. ")))
    call.speak(call.send(ev.ReplyEnd(1)))
    texts = [a.text for a in call.actions if isinstance(a, act.Speak)]
    assert texts == [f"This is sentence number {i}." for i in range(len(texts) - 1)] + [
        "Shall I go on?"
    ]
    assert 2 <= len(texts) <= 4
    call.play_to(call.written)
    assert call.state is State.LISTENING
    assert call.said[-1] == ("assistant", " ".join(texts))
    assert call.notes("agent")[-1]["text"] == " ".join(texts)


def test_an_answer_of_ordinary_length_is_said_whole() -> None:
    call = ScriptedCall(max_monologue_s=3.0)
    call.caller_says("hi", 0, 1000)
    call.reply("This is all I say.")
    assert spoken(call) == ["This is all I say."]


def test_a_model_that_fails_after_it_was_broken_off_fails_nobody() -> None:
    call = ScriptedCall(max_monologue_s=1.0)
    call.caller_says("tell me all", 0, 1000)
    call.speak(call.send(ev.ReplyText(1, "This is a sentence of some length. And another. ")))
    call.speak(call.send(ev.EngineFailed(1, "llm", "boom")))
    assert spoken(call) == ["This is a sentence of some length. And another. Shall I go on?"]
    call.play_to(call.written)
    assert call.state is State.LISTENING
