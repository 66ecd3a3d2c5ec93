"""Cut by what turned out to say nothing: the agent goes on with what was not heard."""

from __future__ import annotations

import pytest

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State

STORY = "one two three four five six"


def cut_by_speech(*, played_words: float = 2.6, **settings: object) -> ScriptedCall:
    """Speech of 600 ms cut the story, and its turn is over; its text is awaited."""
    call = ScriptedCall(**{"bargein_policy": "staged", **settings})
    call.caller_says("tell me a story", 0, 1000)
    call.reply(STORY)
    call.play_to(int(2400 * played_words))
    call.caller_speaks(2000, 2600)
    assert call.state is State.PAUSING
    call.actions.clear()
    call.at(3100)
    assert call.state is State.THINKING
    return call


@pytest.mark.parametrize("text", ["", "mm-hm", "yeah okay", "right right"])
def test_what_was_not_heard_is_said_after_all(text: str) -> None:
    call = cut_by_speech()
    call.understand(text)
    assert call.of(act.StartReply) == []
    assert call.of(act.Speak) == [act.Speak(2, 0, "four five six")]
    call.speak(call.actions)
    call.play_to(call.written)
    assert call.state is State.LISTENING
    assert call.said == [
        ("user", "tell me a story"),
        ("assistant", "one two three"),
        ("assistant", "four five six"),
    ]
    # Nobody has interrupted it: the model is not told so.
    assert [m.interrupted for m in call.session.conversation] == [False, False, False]
    # The caller sees what he said nonetheless.
    assert call.notes("transcript")[-1] == {"turn": 2, "text": text, "final": True}


@pytest.mark.parametrize("text", ["no not that", "mm-hm but why"])
def test_what_says_something_is_answered(text: str) -> None:
    call = cut_by_speech()
    call.understand(text)
    assert call.of(act.StartReply) == [act.StartReply(2)]
    assert call.of(act.Speak) == []
    assert call.said[-1] == ("user", text)
    # What was cut then is never said any more, whatever comes.
    call.reply("Well.")
    call.play_to(call.written)
    call.actions.clear()
    call.caller_says("", call.now_ms + 1000, call.now_ms + 2000)
    assert call.state is State.LISTENING
    assert call.of(act.Speak) == []


def test_an_acknowledgement_begins_no_reply_in_its_pause() -> None:
    call = ScriptedCall(bargein_policy="staged", endpoint="adaptive", speculate=True)
    call.caller_says("tell me a story", 0, 1000)
    call.at(call.now_ms + 500)
    call.reply(STORY)
    call.play_to(6000)
    begin_ms = call.now_ms + 500
    call.caller_speaks(begin_ms, begin_ms + 600)
    call.actions.clear()
    call.at(begin_ms + 850)
    call.understand("yeah")
    assert call.of(act.StartReply) == call.of(act.Hold) == []
    call.at(begin_ms + 3000)
    assert [a.text for a in call.of(act.Speak)] == ["four five six"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["", "yeah"])
def test_nobody_goes_on_with_what_was_heard_whole(text: str) -> None:
    call = cut_by_speech(played_words=5.9)
    call.understand(text)
    assert call.of(act.Speak) == []
    assert ("assistant", STORY) in call.said
    # An agent that had said all may have asked something: "yeah" is an answer then.
    assert call.state is (State.THINKING if text else State.LISTENING)
    assert call.of(act.StartReply) == ([act.StartReply(2)] if text else [])


def test_a_reply_of_which_nothing_was_heard_is_begun_anew() -> None:
    call = cut_by_speech(played_words=0.2)
    call.understand("")
    assert call.of(act.StartReply) == [act.StartReply(2)]
    assert call.said == [("user", "tell me a story")]


def test_what_is_said_on_can_be_interrupted_again() -> None:
    call = cut_by_speech()
    call.understand("")
    call.speak(call.actions)
    call.play_to(call.written - 2400)
    call.actions.clear()
    begin_ms = call.now_ms + 1000
    call.caller_speaks(begin_ms, begin_ms + 600)
    assert call.of(act.RecordBargeIn) == [act.RecordBargeIn()]
    call.at(begin_ms + 1100)
    call.understand("mm")
    assert [a.text for a in call.of(act.Speak)] == ["six"]  # type: ignore[attr-defined]
    assert [text for role, text in call.said if role == "assistant"] == [
        "one two three",
        "four five",
    ]


def test_a_recogniser_that_fails_says_nothing_of_it() -> None:
    call = cut_by_speech(apology="Sorry.")
    call.send(ev.EngineFailed(2, "stt", "boom"))
    assert call.of(act.Speak) == [act.Speak(2, 0, "Sorry.", canned=True)]


def test_what_was_protected_is_protected_when_it_is_said_on() -> None:
    call = ScriptedCall(bargein_policy="staged")
    call.caller_says("hi", 0, 1000)
    call.speak(call.send(ev.ReplyText(1, "Good day to you. ")))
    call.speak(call.send(ev.ReplyText(1, "This call is recorded. ", protected=True)))
    call.reply("How can I help?")
    call.play_to(2400 * 2)
    call.caller_speaks(2000, 2600)
    call.actions.clear()
    call.at(3100)
    call.understand("")
    texts = ["to you.", "This call is recorded.", "How can I help?"]
    assert [a.text for a in call.of(act.Speak)] == texts  # type: ignore[attr-defined]
    assert call.notes("agent") == [{"turn": 2, "text": " ".join(texts)}]
    call.speak(call.actions)
    begin = call.played
    for word, protected in ((1, False), (2, True), (5, True), (6, False)):
        call.play_to(begin + 2400 * word)
        call.at(call.now_ms + 1000)
        call.onset()
        assert (call.state is State.SPEAKING) is protected
        call.release()
        call.at(call.now_ms + 500)
    call.play_to(call.written)
    assert [text for _, text in call.said] == ["hi", "Good day", " ".join(texts)]
