"""The stages of a barge-in: the agent falls silent, then is cut or goes on."""

from __future__ import annotations

import math

import pytest

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.core.turn_settings import TurnSettings

STORY = "one two three four five six"


def speaking(**settings: object) -> ScriptedCall:
    """An agent in the middle of its third word, well after it began."""
    call = ScriptedCall(**{"bargein_policy": "staged", **settings})
    call.caller_says("tell me a story", 0, 1000)
    call.reply(STORY)
    call.play_to(2400 * 2 + 1300)
    call.actions.clear()
    return call


def outcomes(call: ScriptedCall) -> list[str]:
    return [a.outcome for a in call.actions if isinstance(a, act.RecordSuspicion)]


def assert_goes_on(call: ScriptedCall) -> None:
    """Nothing was cut, and the answer ends as it would have."""
    assert call.state is State.SPEAKING
    assert not call.held
    assert outcomes(call) == ["nothing"]
    assert call.of(act.Flush) == call.of(act.CancelReply) == call.of(act.RecordBargeIn) == []
    assert call.notes("barge_in") == []
    call.play_to(call.written)
    assert call.state is State.LISTENING
    assert call.said == [("user", "tell me a story"), ("assistant", STORY)]


def assert_cut(call: ScriptedCall, turn: int = 2) -> None:
    """The floor is the caller's, and the words heard are exact."""
    assert call.state in (State.HEARING, State.PAUSING)
    assert call.session.turn == turn
    assert not call.held
    assert outcomes(call) == ["interruption"]
    kinds = call.kinds()
    assert kinds.index(act.Hold) < kinds.index(act.Flush) < kinds.index(act.CancelReply)
    assert kinds.count(act.Flush) == kinds.count(act.CancelReply) == 1
    assert kinds.count(act.RecordBargeIn) == 1
    assert call.notes("barge_in") == [{"turn": 1}]
    last = call.session.conversation.messages[-1]
    assert (last.text, last.interrupted, last.unheard) == ("one two three", True, "four five six")


def test_the_first_sign_of_a_voice_silences_the_agent_at_once() -> None:
    call = speaking()
    assert call.kinds(call.at(2032).onset(2000)) == [act.Hold]
    assert call.state is State.YIELDING
    assert call.session.deadline_ns is not None


def test_a_short_sound_leaves_no_trace() -> None:
    call = speaking()
    call.at(2032).onset(2000)
    call.at(2064).release(2040)
    call.at(2239)
    assert call.state is State.YIELDING
    call.at(2240)
    assert call.of(act.Listen) == []
    assert_goes_on(call)


def test_a_cough_that_was_taken_for_a_voice_ends_its_recogniser() -> None:
    call = speaking()
    call.caller_speaks(2000, 2150)
    (listen,) = call.of(act.Listen)
    assert listen == act.Listen(2, (2000 - 320) * 16)
    call.understand("")
    call.at(2400)
    assert call.of(act.CancelListening) == []  # It has told its final text.
    assert_goes_on(call)


def test_a_recogniser_that_has_not_answered_is_given_up() -> None:
    call = speaking()
    call.caller_speaks(2000, 2150)
    call.at(2599)
    assert call.state is State.YIELDING
    call.at(2601)
    assert call.of(act.CancelListening) == [act.CancelListening(2)]
    assert_goes_on(call)
    stale = call.session.stale_events
    call.send(ev.TranscriptFinal(2, "hello there"))
    assert call.session.stale_events == stale + 1


def test_speech_that_goes_on_cuts_the_agent() -> None:
    call = speaking()
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(2449)
    assert call.state is State.YIELDING
    call.at(2451)
    assert_cut(call)
    (listen,) = call.of(act.Listen)
    assert isinstance(listen, act.Listen)
    assert listen.from_sample <= 2000 * 16
    call.at(3064).release(3000)
    call.at(3480)
    call.understand("no the other one")
    assert call.said[-1] == ("user", "no the other one")
    assert call.of(act.StartReply) == [act.StartReply(2)]


@pytest.mark.parametrize("text", ["stop", "Wait, please", "hold on"])
def test_a_word_that_asks_for_the_floor_has_it_at_once(text: str) -> None:
    call = speaking()
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(2150)
    call.send(ev.TranscriptPartial(2, text))
    assert_cut(call)


def test_a_short_stop_has_the_floor_when_it_is_understood() -> None:
    call = speaking()
    call.caller_speaks(2000, 2200)
    call.at(2400)
    assert call.state is State.YIELDING
    call.understand("stop")
    assert_cut(call)
    assert call.state is State.PAUSING
    # Its end is where the voice ended, not where it was understood.
    call.at(2680)
    assert call.said[-1] == ("user", "stop")


def test_two_understood_words_are_enough_unless_they_acknowledge() -> None:
    call = speaking()
    call.caller_speaks(2000, 2200)
    call.understand("my card")
    assert_cut(call)
    call = speaking()
    call.caller_speaks(2000, 2200)
    call.understand("yeah okay")
    call.at(2500)
    assert_goes_on(call)


@pytest.mark.parametrize("how", ["text", "hum"])
@pytest.mark.parametrize(("long_ms", "cuts"), [(1000, False), (1300, True)])
def test_an_acknowledgement_may_be_long(how: str, long_ms: int, cuts: bool) -> None:
    call = speaking()
    call.change_db = 2.0 if how == "hum" else 9.0
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    if how == "text":
        call.at(2300)
        call.send(ev.TranscriptPartial(2, "mm-hm"))
    call.at(2000 + long_ms)
    assert (call.state is State.HEARING) is cuts
    if cuts:
        assert_cut(call)
        return
    call.release(2000 + long_ms)
    call.understand("mm-hm" if how == "text" else "")
    call.at(call.now_ms + 400)
    assert_goes_on(call)


def test_words_that_must_be_understood_are_waited_for() -> None:
    call = speaking(min_words=2)
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(2900)
    assert call.state is State.YIELDING
    call.send(ev.TranscriptPartial(2, "but"))
    assert call.state is State.YIELDING
    call.send(ev.TranscriptPartial(2, "but I"))
    assert_cut(call)


def test_an_uncertain_voice_is_waited_for_but_not_for_ever() -> None:
    call = speaking()
    call.confidence = 0.5
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(4500)
    assert call.state is State.YIELDING
    call.at(4540)
    assert_cut(call)


def test_its_own_echo_never_interrupts_the_agent() -> None:
    call = speaking()
    call.echo = 0.8
    call.at(2032).onset(2000)
    call.at(2064).confirm(2000)
    call.at(4540)
    # Then it speaks on, over what is still voiced.
    assert_goes_on(call)


def test_two_sounds_add_up() -> None:
    call = speaking()
    call.caller_speaks(2000, 2250)
    call.at(2382).onset(2350)
    call.at(2414).confirm(2350)
    # 250 ms and 200 ms; the pause between them is none of it.
    call.at(2545)
    assert call.state is State.YIELDING
    call.at(2555)
    assert_cut(call)
    assert len(call.of(act.Hold)) == 1
    assert [(a.turn, a.part) for a in call.of(act.Listen)] == [(2, 0), (2, 1)]  # type: ignore[attr-defined]


def test_a_gap_between_two_sounds_is_no_sound() -> None:
    """What was seen of the first one's beginning says nothing of the second's."""
    call = speaking()
    call.leads_ms = 20
    call.caller_speaks(2000, 2300)
    # 320 ms of sound, and some more that was not looked at yet: both edges come at once.
    call.at(2514).onset(2450)
    call.confirm(2450)
    assert call.state is State.YIELDING
    call.at(2555)
    assert call.state is State.YIELDING
    call.at(2595)
    assert_cut(call)


def test_what_is_voiced_again_when_a_word_decides_is_listened_to() -> None:
    call = speaking()
    call.caller_speaks(2000, 2200)
    call.at(2340).onset(2310)
    call.understand("stop")
    assert_cut(call)
    assert call.state is State.PAUSING
    call.at(2374).confirm(2310)
    assert call.state is State.HEARING
    listens = call.of(act.Listen)
    # The second part begins where the first one's voice ended: no word twice, none lost.
    assert listens[1:] == [act.Listen(2, 2200 * 16, 1)]
    call.at(3000).release()
    call.at(3500)
    call.understand("that's wrong")
    assert call.said[-1] == ("user", "stop that's wrong")


def test_a_blip_after_the_word_that_decided_ends_no_turn() -> None:
    call = speaking()
    call.caller_speaks(2000, 2200)
    call.at(2340).onset(2310)
    call.understand("stop")
    call.at(2372).release(2340)
    call.at(2681)
    assert call.said[-1] == ("user", "stop")
    assert call.of(act.StartReply) == [act.StartReply(2)]


# -- beside an answer that begins, ends or is awaited ------------------------------------------


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
