"""A sound beside an answer that begins, ends or is awaited, and through a network that stalls."""

from __future__ import annotations

import math

import pytest

from core.driver import ScriptedCall
from core.interrupting import STORY, assert_cut, assert_goes_on, outcomes, speaking
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turn_settings import TurnSettings


def thinking() -> ScriptedCall:
    """The turn is over and its words are awaited."""
    call = ScriptedCall(bargein_policy="staged")
    call.caller_speaks(0, 1000)
    call.at(1500)
    assert call.state is State.THINKING
    call.actions.clear()
    return call


def test_little_speech_takes_the_floor_from_who_only_thinks() -> None:
    call = thinking()
    call.at(1632).onset(1600)
    call.at(1664).confirm(1600)
    call.at(1799)
    assert call.state is State.YIELDING
    call.at(1801)
    assert call.state is State.HEARING
    assert call.kinds() == [act.Hold, act.Listen, act.Resume, act.RecordSuspicion]
    assert call.of(act.RecordBargeIn) == []
    assert not call.held
    call.send(ev.TranscriptFinal(1, "what is"))
    call.at(2464).release(2400)
    call.at(2900)
    call.understand("two plus two")
    assert call.said == [("user", "what is"), ("user", "two plus two")]
    assert call.of(act.StartReply) == [act.StartReply(2)]


def test_an_answer_that_is_being_made_gives_way_too() -> None:
    call = thinking()
    call.send(ev.TranscriptFinal(1, "what is"))
    call.send(ev.ReplyText(1, "I don't know. "))
    call.at(1632).onset(1600)
    call.at(1664).confirm(1600)
    call.at(1801)
    assert call.state is State.HEARING
    assert [a for a in call.actions if isinstance(a, act.Flush | act.CancelReply)] == [
        act.Flush(1),
        act.CancelReply(1),
    ]
    assert call.of(act.RecordBargeIn) == []  # Nobody has heard it.
    assert call.said == [("user", "what is")]


def test_words_that_are_understood_meanwhile_are_answered_unheard() -> None:
    call = thinking()
    call.at(1632).onset(1600)
    call.send(ev.TranscriptFinal(1, "hello"))
    assert call.state is State.YIELDING
    assert call.of(act.StartReply) == [act.StartReply(1)]
    call.reply("Hello you.")
    assert call.held
    call.at(1664).release(1640)
    call.at(1900)
    assert call.state is State.THINKING
    assert not call.held
    call.play_to(100)
    assert call.state is State.SPEAKING


def test_an_answer_that_is_over_leaves_the_sound_to_the_caller() -> None:
    call = speaking()
    call.play_to(call.written - 10)
    call.at(2032).onset(2000)
    # The last packet was on its way already.
    call.played = call.written
    call.send(ev.PlayoutDrained(call.played))
    assert call.said[-1] == ("assistant", STORY)
    assert call.state is State.YIELDING
    call.at(2064).confirm(2000)
    assert call.state is State.HEARING
    assert call.of(act.RecordBargeIn) == []
    assert not call.held


def test_an_answer_that_is_over_and_a_cough_leave_nobody() -> None:
    call = speaking()
    call.play_to(call.written - 10)
    call.at(2032).onset(2000)
    call.played = call.written
    call.send(ev.PlayoutDrained(call.played))
    call.at(2064).release(2040)
    call.at(2300)
    assert call.state is State.LISTENING
    assert not call.held


def test_a_network_that_stalls_in_a_sound_interrupts_nobody() -> None:
    call = speaking()
    call.stalled_from_ms = 2070
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(3400)
    assert call.state is State.YIELDING
    call.at(3700)
    assert call.of(act.CancelListening) == [act.CancelListening(2)]
    assert_goes_on(call)


@pytest.mark.parametrize(("after_ms", "needs_ms"), [(100, 200), (290, 200), (310, 450)])
def test_who_began_at_the_same_time_needs_little_speech(after_ms: int, needs_ms: int) -> None:
    call = ScriptedCall(bargein_policy="staged")
    call.caller_says("hi", 0, 1000)
    call.reply(STORY)
    call.play_to(2400)
    begin_ms = call.now_ms + after_ms
    call.at(begin_ms).onset()
    call.at(begin_ms + 64).confirm(begin_ms)
    call.at(begin_ms + needs_ms - 1)
    assert call.state is State.YIELDING
    call.at(begin_ms + needs_ms + 1)
    assert call.state is State.HEARING


def test_a_failing_recogniser_is_no_word_and_speech_still_interrupts() -> None:
    call = speaking()
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.send(ev.EngineFailed(2, "stt", "boom"))
    call.at(2451)
    assert_cut(call)
    call.at(3064).release(3000)
    call.at(3500)
    (apology,) = call.of(act.Speak)
    assert isinstance(apology, act.Speak)
    assert apology.canned


def test_a_recogniser_that_fails_for_the_question_beside_a_cough_is_apologised_for() -> None:
    call = thinking()
    call.at(1632).onset(1600)
    call.send(ev.EngineFailed(1, "stt", "boom"))
    call.at(1664).release(1640)
    call.at(1900)
    assert call.state is State.THINKING
    assert call.of(act.Speak) == [act.Speak(1, 0, TurnSettings().apology, canned=True)]


def test_a_recogniser_that_fails_for_the_words_before_loses_not_the_words_after() -> None:
    call = ScriptedCall()
    call.at(0).confirm()
    call.at(500).release()
    call.at(980)
    call.at(1100).confirm()
    call.at(1500).release()
    call.at(1980)
    call.send(ev.TranscriptFinal(2, "second"))
    assert call.of(act.StartReply) == []
    call.send(ev.EngineFailed(1, "stt", "boom"))
    assert call.of(act.StartReply) == [act.StartReply(2)]


def test_a_voice_known_by_its_confirmation_alone_silences_the_agent_too() -> None:
    """Its first sign came while nobody had the floor."""
    call = ScriptedCall(bargein_policy="staged", idle_prompt_s=2)
    call.at(1990).onset()
    call.at(2010)
    assert call.state is State.THINKING
    assert act.Hold in call.kinds(call.confirm(1990))
    assert call.held


def test_the_immediate_policy_ducks_for_nothing() -> None:
    call = speaking(bargein_policy="immediate")
    assert call.at(2032).onset(2000) == []
    assert call.state is State.SPEAKING
    done = call.at(2064).confirm(2000)
    assert call.kinds(done)[:4] == [act.Flush, act.CancelReply, act.RecordBargeIn, act.Listen]
    assert call.state is State.HEARING
    assert outcomes(call) == []


# -- a voice that a stall had hidden ------------------------------------------------------------


def test_who_speaks_on_behind_a_stall_is_noticed() -> None:
    """His gate never closed: no edge tells of him."""
    call = speaking()
    call.stalled_from_ms = 2070
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(6000)
    # As long as nothing arrives the agent is silenced once, and not again.
    assert call.state is State.SPEAKING
    assert len(call.of(act.Hold)) == 1
    call.stalled_from_ms = math.inf
    call.at(7000)
    assert call.state is State.HEARING
    assert outcomes(call) == ["nothing", "interruption"]
    assert not call.held
    call.at(8064).release(8000)
    call.at(8500)
    call.understand("can you hear me")
    assert call.said[-1] == ("user", "can you hear me")


def test_an_echo_that_was_judged_once_is_not_judged_again() -> None:
    call = speaking()
    call.echo = 0.8
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(9000)
    assert call.state is State.SPEAKING
    assert len(call.of(act.Hold)) == 1


@pytest.mark.parametrize("policy", ["staged", "immediate"])
def test_whose_turn_a_stall_ended_may_speak_on(policy: str) -> None:
    call = ScriptedCall(bargein_policy=policy)
    call.stalled_from_ms = 1000
    call.at(32).onset(0)
    call.at(64).confirm(0)
    call.at(6000)
    assert call.state is State.THINKING
    call.understand("I would like")
    call.reply(STORY)
    call.play_to(2400)
    call.at(8000)
    assert call.state is State.SPEAKING
    call.stalled_from_ms = math.inf
    call.at(9000)
    assert call.state is State.HEARING
    assert call.session.turn == 2
