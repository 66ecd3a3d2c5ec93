"""Keys: entries that are words like any others."""

from __future__ import annotations

import pytest

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State


def press(call: ScriptedCall, digits: str, *, every_ms: float = 100) -> None:
    for digit in digits:
        call.send(ev.Digit(digit, 80))
        call.at(call.now_ms + every_ms)


def users(call: ScriptedCall) -> list[str]:
    return [text for role, text in call.said if role == "user"]


def answering(**settings: object) -> ScriptedCall:
    call = ScriptedCall(**{"bargein_policy": "staged", **settings})
    call.caller_says("hi", 0, 1000)
    call.reply("one two three four")
    call.play_to(2400 + 1300)
    return call


def test_a_hash_ends_an_entry_at_once() -> None:
    call = ScriptedCall()
    press(call, "12#")
    assert users(call) == ["[keys: 12#]"]
    assert call.of(act.StartReply) == [act.StartReply(1)]
    assert call.notes("transcript") == [{"turn": 1, "text": "[keys: 12#]", "final": True}]
    assert [note["digit"] for note in call.notes("digit")] == ["1", "2", "#"]
    call.reply("Thanks.")
    call.play_to(call.written)
    assert call.state is State.LISTENING


def test_without_a_hash_an_entry_ends_with_the_wait_after_its_last_key() -> None:
    call = ScriptedCall(keypad_wait_ms=2000)
    press(call, "42", every_ms=1500)
    call.at(1500 + 1999)
    assert users(call) == []
    call.at(1500 + 2000)
    assert users(call) == ["[keys: 42]"]
    press(call, "7")
    call.at(call.now_ms + 3000)


@pytest.mark.parametrize("state", [State.SPEAKING, State.YIELDING])
def test_a_key_interrupts_the_agent(state: State) -> None:
    call = answering()
    if state is State.YIELDING:
        call.at(2032).onset(2000)
    assert call.state is state
    press(call, "1")
    assert call.state is State.LISTENING
    assert call.of(act.Flush) == [act.Flush(1)]
    assert call.of(act.CancelReply) == [act.CancelReply(1)]
    assert call.said[-1] == ("assistant", "one two")
    assert not call.held
    call.at(call.now_ms + 2000)
    assert users(call) == ["hi", "[keys: 1]"]
    assert call.state is State.THINKING


def test_a_key_stops_an_answer_that_is_only_thought_of() -> None:
    call = ScriptedCall()
    call.caller_says("hi", 0, 1000)
    press(call, "1#")
    assert call.of(act.CancelReply) == [act.CancelReply(1)]
    assert users(call) == ["hi", "[keys: 1#]"]
    assert call.of(act.StartReply)[-1] == act.StartReply(call.session.turn)
    assert call.of(act.RecordBargeIn) == []


@pytest.mark.parametrize("order", ["keys first", "words first"])
def test_keys_pressed_while_words_are_awaited_are_answered_with_them(order: str) -> None:
    call = ScriptedCall(keypad_wait_ms=2000)
    call.at(0).confirm()
    call.at(1000).release()
    call.at(1500)
    assert call.state is State.THINKING
    press(call, "1")
    if order == "words first":
        call.understand("my pin is")
        press(call, "2")
    call.at(call.now_ms + 2500)
    assert call.state is State.THINKING
    if order == "keys first":
        assert call.of(act.StartReply) == []
        call.understand("my pin is")
    assert sorted(users(call)) == sorted(
        ["my pin is", "[keys: 12]" if order == "words first" else "[keys: 1]"]
    )
    assert len(call.of(act.StartReply)) == 1
    assert call.of(act.Speak) == []


def test_a_key_does_not_break_a_protected_passage_but_waits_for_its_end() -> None:
    call = ScriptedCall(bargein_policy="staged")
    call.caller_says("hi", 0, 1000)
    call.speak(call.send(ev.ReplyText(1, "This is a legal notice. ", protected=True)))
    call.reply("And this is something else.")
    call.play_to(2400)
    press(call, "1#")
    call.at(call.now_ms + 1000)
    assert call.state is State.SPEAKING
    assert call.of(act.Flush) == []
    call.played = 5 * 2400
    call.at(call.now_ms + 200)
    assert call.of(act.Flush) == [act.Flush(1)]
    assert call.said[-2:] == [("assistant", "This is a legal notice."), ("user", "[keys: 1#]")]
    assert call.state is State.THINKING


def test_what_comes_before_a_protected_passage_can_be_interrupted() -> None:
    call = ScriptedCall(bargein_policy="staged")
    call.caller_says("hi", 0, 1000)
    call.speak(call.send(ev.ReplyText(1, "And this is something else. ")))
    call.reply("This is a legal notice.", protected=True)
    call.play_to(2400)
    press(call, "1")
    assert call.of(act.Flush) == [act.Flush(1)]


def test_a_key_over_a_protected_answer_is_answered_after_it() -> None:
    call = ScriptedCall(greeting="Hello you there.", greeting_protected=True)
    call.speak(list(call.actions))
    press(call, "1#")
    assert call.of(act.Flush) == []
    call.play_to(100)
    call.at(call.now_ms + 500)
    call.play_to(call.written)
    call.at(call.now_ms + 10)
    assert call.said == [("assistant", "Hello you there."), ("user", "[keys: 1#]")]


def test_keys_beside_speech_belong_to_what_is_said() -> None:
    call = ScriptedCall()
    call.at(32).onset(0)
    call.at(64).confirm(0)
    press(call, "3#")
    call.at(1000)
    press(call, "4")
    call.at(3064).release(3000)
    call.at(3500)
    call.understand("my number is")
    assert users(call) == ["my number is [keys: 3#4]"]
    assert call.of(act.StartReply) == [act.StartReply(1)]
    call.at(9000)
    assert len(call.of(act.StartReply)) == 1


def test_keys_are_kept_when_what_was_said_beside_them_can_not_be_understood() -> None:
    call = ScriptedCall()
    call.at(0).confirm()
    press(call, "3")
    call.at(1000).release()
    call.at(1500)
    call.send(ev.EngineFailed(1, "stt", "boom"))
    assert users(call) == ["[keys: 3]"]
    assert call.of(act.StartReply) == [act.StartReply(1)]


def test_while_he_speaks_over_the_agent_his_voice_decides() -> None:
    call = answering()
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    press(call, "5", every_ms=10)
    assert call.state is State.YIELDING
    call.at(2451)
    assert call.state is State.HEARING
    call.at(3064).release(3000)
    call.at(3500)
    call.understand("it is")
    assert users(call)[-1] == "it is [keys: 5]"


def test_his_keys_decide_once_his_voice_was_nothing() -> None:
    call = answering()
    call.caller_speaks(2000, 2100)
    press(call, "5", every_ms=10)
    assert call.state is State.YIELDING
    call.understand("")
    call.at(2700)
    assert call.state is State.LISTENING
    call.at(4400)
    assert users(call) == ["hi", "[keys: 5]"]


def test_an_entry_is_bounded() -> None:
    call = ScriptedCall()
    press(call, "1" * 500, every_ms=1)
    call.at(call.now_ms + 2000)
    assert users(call) == [f"[keys: {'1' * 64}]"]


def test_a_hook_flash_is_no_key() -> None:
    call = answering()
    press(call, "!")
    assert call.state is State.SPEAKING
    call.at(9000)
    assert users(call) == ["hi"]
    assert call.notes("digit")[-1]["digit"] == "!"


def test_without_a_wait_keys_are_told_and_nothing_else() -> None:
    call = answering(keypad_wait_ms=0)
    press(call, "1#")
    assert call.state is State.SPEAKING
    call.at(9000)
    assert users(call) == ["hi"]


def test_who_presses_keys_is_not_silent() -> None:
    call = ScriptedCall(idle_prompt_s=3.0, idle_goodbye_s=3.0, keypad_wait_ms=4000)
    call.at(2500)
    press(call, "12", every_ms=2000)
    call.at(5000)
    assert call.of(act.Speak) == []
    # The wait for the next key is longer than his silence may be: he is asked.
    call.at(7501)
    assert len(call.of(act.Speak)) == 1


def test_a_key_over_the_goodbye_keeps_the_call() -> None:
    call = ScriptedCall(idle_prompt_s=3.0, idle_goodbye_s=3.0)
    for _ in range(2):
        call.at(call.now_ms + 3000)
        call.speak([call.of(act.Speak)[-1]])
        call.play_to(call.written - 1)
        if call.session.turn == 1:
            call.play_to(call.written)
    press(call, "1#")
    call.reply("Good.")
    call.play_to(call.written)
    assert call.state is State.LISTENING
    assert call.said[-1] == ("assistant", "Good.")
