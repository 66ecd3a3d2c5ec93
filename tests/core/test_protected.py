"""Passages that may not be interrupted: spoken to their end, then the caller is judged."""

from __future__ import annotations

import pytest

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State

NOTICE = "This call is recorded. "
REST = "How can I help you today?"
WORD = 2400
NOTICE_END = 4 * WORD


def greeted(policy: str = "staged", **settings: object) -> ScriptedCall:
    """A protected greeting and nothing else, its second word being spoken."""
    call = ScriptedCall(
        **{
            "greeting": NOTICE.strip(),
            "greeting_protected": True,
            "bargein_policy": policy,
            **settings,
        }
    )
    call.speak(list(call.actions))
    call.at(100).play_to(WORD + 100)
    call.actions.clear()
    return call


def noticed(policy: str = "staged") -> ScriptedCall:
    """Protected words first, then others; the second word being spoken."""
    call = ScriptedCall(bargein_policy=policy)
    call.caller_says("hi", 0, 1000)
    call.speak(call.send(ev.ReplyText(1, NOTICE, protected=True)))
    call.reply(REST)
    call.play_to(WORD + 100)
    call.actions.clear()
    return call


def test_a_notice_is_spoken_on_and_the_caller_listened_to() -> None:
    call = noticed()
    assert call.at(2032).onset(2000) == []
    assert call.state is State.SPEAKING
    call.at(2064).confirm(2000)
    call.at(2600)
    assert call.state is State.SPEAKING
    assert [type(a) for a in call.actions if not isinstance(a, act.Notify)] == [act.Listen]
    call.send(ev.TranscriptPartial(2, "stop"))
    assert call.state is State.SPEAKING


@pytest.mark.parametrize("policy", ["staged", "immediate"])
def test_who_still_speaks_at_its_end_has_the_floor(policy: str) -> None:
    call = noticed(policy)
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.played = NOTICE_END
    call.at(2800)
    assert call.state is State.HEARING
    kinds = [type(a) for a in call.actions if not isinstance(a, act.Notify)]
    assert kinds[:4] == [act.Listen, act.Hold, act.Flush, act.CancelReply]
    assert not call.held
    last = call.session.conversation.messages[-1]
    assert (last.text, last.interrupted) == (NOTICE.strip(), True)


@pytest.mark.parametrize("policy", ["staged", "immediate"])
def test_its_end_is_seen_soon(policy: str) -> None:
    call = noticed(policy)
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(2700)
    call.played = NOTICE_END + 1
    call.at(2801)
    assert call.state is State.HEARING


def test_what_was_said_meanwhile_is_answered() -> None:
    call = noticed()
    call.caller_speaks(2000, 2600)
    call.understand("I have a question")
    call.played = NOTICE_END
    call.at(2900)
    assert call.notes("barge_in") == [{"turn": 1}]
    call.at(3400)
    assert call.said[-2:] == [("assistant", NOTICE.strip()), ("user", "I have a question")]
    assert call.of(act.StartReply) == [act.StartReply(2)]


def test_a_cough_meanwhile_is_nothing() -> None:
    call = noticed()
    call.caller_speaks(2000, 2040)
    call.played = NOTICE_END
    call.at(3000)
    assert call.state is State.SPEAKING
    assert not call.held
    assert call.of(act.Flush) == call.of(act.Listen) == []
    call.play_to(call.written)
    assert call.said == [("user", "hi"), ("assistant", NOTICE + REST)]


def test_a_sound_behind_it_is_judged_from_where_it_silences() -> None:
    """A cough long ago doesn't make a second one an interruption."""
    call = noticed()
    call.caller_speaks(2000, 2040)
    call.at(5000)
    call.played = NOTICE_END
    call.onset()
    assert call.state is State.YIELDING
    call.at(5050)
    assert call.state is State.YIELDING
    call.release(5030)
    call.at(5400)
    assert call.state is State.SPEAKING
    assert call.of(act.Flush) == []


@pytest.mark.parametrize("policy", ["staged", "immediate"])
def test_who_speaks_at_the_end_of_a_protected_answer_is_heard(policy: str) -> None:
    call = greeted(policy)
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(3000)
    call.play_to(call.written)
    assert call.said == [("assistant", NOTICE.strip())]
    call.at(3001)
    assert call.state is State.HEARING
    assert call.session.turn == 1
    assert call.of(act.Flush) == call.of(act.RecordBargeIn) == []
    assert [type(a) for a in call.of(act.Listen)] == [act.Listen]


def test_who_spoke_before_the_end_of_a_protected_answer_is_answered() -> None:
    call = greeted()
    call.caller_speaks(2000, 2700)
    call.understand("hello there")
    call.at(3000)
    call.play_to(call.written)
    call.at(3500)
    assert call.said == [("assistant", NOTICE.strip()), ("user", "hello there")]
    assert call.of(act.StartReply) == [act.StartReply(1)]


def test_a_cough_over_a_protected_answer_leaves_nobody() -> None:
    call = greeted()
    call.caller_speaks(2000, 2040)
    call.at(3000)
    call.play_to(call.written)
    call.at(3001)
    assert call.state is State.LISTENING
    assert call.of(act.Listen) == []


def test_only_the_passage_in_the_middle_is_protected() -> None:
    call = ScriptedCall(bargein_policy="staged")
    call.caller_says("hi", 0, 1000)
    call.speak(call.send(ev.ReplyText(1, "Good day to you. ")))
    call.speak(call.send(ev.ReplyText(1, NOTICE, protected=True)))
    call.reply(REST)
    begin, end = 4 * WORD, 8 * WORD
    call.play_to(begin - 1)
    call.at(2032).onset(2000)
    assert call.state is State.YIELDING
    call.at(2064).release(2040)
    call.at(2300)
    assert call.state is State.SPEAKING
    call.play_to(begin)
    call.at(2432).onset(2400)
    assert call.state is State.SPEAKING
    call.at(2464).release(2440)
    call.play_to(end - 1)
    call.at(3000)
    assert call.state is State.SPEAKING
    call.play_to(end)
    call.at(3400)  # The cough is forgotten with the passage.
    call.at(3432).onset(3400)
    assert call.state is State.YIELDING
    assert len([a for a in call.actions if isinstance(a, act.Speak)]) == 3


def test_a_clause_begun_unprotected_is_not_swept_along() -> None:
    call = ScriptedCall(bargein_policy="staged")
    call.caller_says("hi", 0, 1000)
    call.send(ev.ReplyText(1, "Hello there and"))
    done = call.send(ev.ReplyText(1, NOTICE, protected=True))
    assert [a.text for a in done if isinstance(a, act.Speak)] == ["Hello there and", NOTICE.strip()]


def test_a_protected_greeting_that_has_not_begun_is_not_held() -> None:
    call = ScriptedCall(bargein_policy="staged", greeting=NOTICE.strip(), greeting_protected=True)
    assert call.at(32).onset(0) == []
    assert call.state is State.THINKING
    assert not call.held
