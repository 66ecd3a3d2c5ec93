"""The server is to stop: in every state the caller hears goodbye soon, and the call ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.driver import PLAY_HZ, ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation
from voicecore.core.session import Session
from voicecore.core.state import State
from voicecore.core.turn_settings import TurnSettings

GOODBYE = "I have to go. Goodbye."
WORD = 2400
WORD_MS = WORD * 1000 // PLAY_HZ


def spoken(call: ScriptedCall) -> list[str]:
    return [a.text for a in call.actions if isinstance(a, act.Speak)]


def part(call: ScriptedCall, text: str = GOODBYE) -> list[act.Action]:
    return call.send(ev.Farewell(text))


def hear_goodbye(call: ScriptedCall) -> None:
    """What is queued is played to its end; that was the goodbye, and then the call is over."""
    assert spoken(call)[-1] == GOODBYE
    assert call.of(act.Speak)[-1].canned  # type: ignore[attr-defined]
    assert call.state is State.THINKING
    call.speak(call.of(act.Speak)[-1:])
    call.play_to(call.written)
    assert call.state is State.ENDED
    assert call.notes("bye") == [{"reason": "server_drained"}]
    assert call.of(act.End) == [act.End("server_drained")]
    assert call.said[-1] == ("assistant", GOODBYE)


def test_who_is_silent_hears_it_at_once() -> None:
    call = ScriptedCall()
    call.at(1000)
    part(call)
    hear_goodbye(call)


def test_an_answer_that_has_not_begun_gives_way() -> None:
    call = ScriptedCall()
    call.caller_says("hi", 0, 1000)
    call.send(ev.ReplyText(1, "Well, I shall tell you. "))
    call.actions.clear()
    done = part(call)
    assert call.kinds(done)[:3] == [act.Flush, act.CancelReply, act.Speak]
    assert call.of(act.RecordBargeIn) == call.notes("barge_in") == []
    hear_goodbye(call)
    assert call.said == [("user", "hi"), ("assistant", GOODBYE)]


def hearing(**settings: object) -> ScriptedCall:
    call = ScriptedCall(**settings)
    call.at(1032).onset(1000)
    call.at(1064).confirm(1000)
    assert call.state is State.HEARING
    return call


def test_who_speaks_may_finish() -> None:
    call = hearing()
    assert part(call) == []
    call.at(2000).release()
    call.at(2479)
    assert call.state is State.PAUSING
    assert spoken(call) == []
    call.at(2500)
    hear_goodbye(call)
    assert call.of(act.StartReply) == []


def test_what_he_said_last_is_still_understood() -> None:
    call = hearing()
    part(call)
    call.at(2000).release()
    call.at(2500)
    call.understand("what is the time")
    assert call.notes("transcript")[-1] == {"turn": 1, "text": "what is the time", "final": True}
    hear_goodbye(call)
    assert call.said == [("user", "what is the time"), ("assistant", GOODBYE)]


@pytest.mark.parametrize("pauses", [False, True])
def test_who_goes_on_is_waited_for_two_seconds(pauses: bool) -> None:
    call = hearing(endpoint="adaptive", max_wait_ms=4000, min_wait_ms=4000)
    part(call)
    if pauses:
        call.at(2000).release()
    call.at(3063)
    assert spoken(call) == []
    call.at(3065)
    assert call.of(act.FinishListening)
    hear_goodbye(call)


def test_what_was_begun_in_a_pause_is_dropped() -> None:
    call = hearing(endpoint="adaptive", speculate=True, silence_ms=480)
    call.at(2000).release()
    call.at(2200)
    call.understand("what is the time")
    assert call.held
    part(call)
    call.at(4000)
    assert not call.held
    assert [a.outcome for a in call.of(act.RecordSpeculation)] == ["wasted"]  # type: ignore[attr-defined]
    hear_goodbye(call)
    assert call.said == [("user", "what is the time"), ("assistant", GOODBYE)]


def test_once_it_was_asked_for_nothing_is_begun_in_a_pause() -> None:
    call = hearing(endpoint="adaptive", speculate=True)
    part(call)
    call.at(2000).release()
    call.at(2200)
    call.understand("what is the time")
    call.at(3100)
    assert call.of(act.StartReply) == []
    hear_goodbye(call)


def speaking(
    text: str = "One two three. Four five six seven. ", **settings: object
) -> ScriptedCall:
    """An answer of two clauses in its second word, at 2000 ms."""
    call = ScriptedCall(**settings)
    call.caller_says("hi", 0, 1000)
    for clause in text.split(". ")[:-1]:
        call.speak(call.send(ev.ReplyText(1, f"{clause}. ")))
    call.speak(call.send(ev.ReplyEnd(1)))
    call.at(2000).play_to(WORD + 100)
    assert call.state is State.SPEAKING
    return call


def play_on(call: ScriptedCall, to_ms: int) -> None:
    """Time passes, and the agent's audio with it."""
    while call.now_ms < to_ms and call.state is State.SPEAKING:
        call.played = min(call.played + PLAY_HZ // 100, call.written)
        call.at(call.now_ms + 10)


def test_the_clause_that_is_being_said_is_finished() -> None:
    call = speaking()
    part(call)
    play_on(call, 2150)
    assert call.state is State.SPEAKING
    play_on(call, 9000)
    assert call.now_ms == pytest.approx(2000 + 2 * WORD_MS, abs=20)
    hear_goodbye(call)
    assert call.said[1:] == [("assistant", "One two three."), ("assistant", GOODBYE)]
    assert call.notes("agent_done")[0]["unheard"] == "Four five six seven."


def test_a_clause_without_end_is_cut_after_four_seconds() -> None:
    call = speaking(f"{'on and ' * 50}on. ")
    part(call)
    play_on(call, 5990)
    assert call.state is State.SPEAKING
    play_on(call, 9000)
    assert call.now_ms == pytest.approx(6000, abs=20)
    hear_goodbye(call)


def test_what_is_protected_is_said_to_its_end() -> None:
    call = ScriptedCall(greeting="This. Is. A. Notice.", greeting_protected=True)
    call.speak(list(call.actions))
    call.play_to(100)
    part(call)
    play_on(call, 9000)
    assert call.played == call.written
    hear_goodbye(call)
    assert call.said == [("assistant", "This. Is. A. Notice."), ("assistant", GOODBYE)]


def test_an_answer_that_ends_meanwhile_is_followed_at_once() -> None:
    call = speaking()
    part(call)
    call.play_to(call.written)
    assert call.state is State.LISTENING
    call.at(2001)
    hear_goodbye(call)


def yielding() -> ScriptedCall:
    call = speaking(bargein_policy="staged")
    call.at(2032).onset(2000)
    assert call.held
    return call


def test_who_interrupts_may_finish_too() -> None:
    call = yielding()
    part(call)
    call.at(2064).confirm(2000)
    call.at(2700)
    assert call.state is State.HEARING
    call.at(3000).release()
    call.at(3500)
    call.understand("stop please")
    hear_goodbye(call)
    assert call.said[-2:] == [("user", "stop please"), ("assistant", GOODBYE)]


def test_a_sound_that_stays_unclear_is_waited_for_two_seconds() -> None:
    call = yielding()
    call.confidence = 0.4
    part(call)
    for ms in range(2100, 4040, 200):
        call.at(ms)
    call.at(4100)
    assert not call.held
    assert spoken(call)[-1] == GOODBYE


def saying(**settings: object) -> ScriptedCall:
    """The goodbye's first word was played, at 1200 ms."""
    call = ScriptedCall(**settings)
    call.at(1000)
    part(call)
    call.speak(call.of(act.Speak))
    call.at(1200).play_to(WORD)
    assert call.state is State.SPEAKING
    return call


def shout(call: ScriptedCall) -> None:
    call.at(1332).onset(1300)
    call.at(1364).confirm(1300)
    call.send(ev.TranscriptPartial(1, "stop"))
    call.at(3000)


def press(call: ScriptedCall) -> None:
    for key in "12#":
        call.send(ev.Digit(key, 80))
    call.at(3000)


@pytest.mark.parametrize("disturb", [shout, press])
@pytest.mark.parametrize("policy", ["staged", "immediate"])
def test_nothing_interrupts_it(disturb: Callable[[ScriptedCall], None], policy: str) -> None:
    call = saying(bargein_policy=policy)
    disturb(call)
    assert call.state is State.SPEAKING
    assert call.of(act.Hold) == call.of(act.Flush) == []
    call.play_to(call.written)
    assert call.state is State.ENDED
    assert call.said == [("assistant", GOODBYE)]


@pytest.mark.parametrize("disturb", [shout, press])
def test_nothing_comes_before_it_either(disturb: Callable[[ScriptedCall], None]) -> None:
    call = ScriptedCall(bargein_policy="immediate")
    call.at(1000)
    part(call)
    disturb(call)
    hear_goodbye(call)


@pytest.mark.parametrize("begun", [False, True])
def test_a_voice_that_fails_ends_the_call(begun: bool) -> None:
    call = saying() if begun else ScriptedCall()
    if not begun:
        part(call)
    turn = call.session.turn
    call.send(ev.EngineFailed(turn, "tts", "tts_raised"))
    if begun:
        call.play_to(call.written)
    assert call.state is State.ENDED
    assert call.of(act.End) == [act.End("server_drained")]
    assert spoken(call) == [GOODBYE], "no apology, which would ask for more"


def test_one_that_is_never_played_ends_it_too() -> None:
    call = ScriptedCall()
    call.at(1000)
    part(call)
    call.at(10_499)
    assert call.state is State.THINKING
    call.at(10_500)
    assert call.of(act.End) == [act.End("server_drained")]


def test_it_is_said_once() -> None:
    call = ScriptedCall()
    part(call)
    assert part(call) == []
    hear_goodbye(call)
    assert part(call) == []
    assert spoken(call) == [GOODBYE]


def test_a_silent_caller_who_is_being_left_hears_it_instead() -> None:
    call = ScriptedCall(idle_prompt_s=5.0, idle_goodbye_s=8.0)
    call.at(5000)
    call.speak(call.of(act.Speak))
    call.play_to(call.written)
    call.at(14_000)
    part(call)
    hear_goodbye(call)


@pytest.mark.parametrize("text", ["", "  "])
@pytest.mark.parametrize("begin", [ScriptedCall, hearing, speaking, yielding])
def test_without_words_the_call_just_ends(begin: Callable[[], ScriptedCall], text: str) -> None:
    call = begin()
    part(call, text)
    assert call.of(act.End) == [act.End("server_drained")]
    assert call.session.deadline_ns is None


def test_a_call_that_has_not_begun_just_ends() -> None:
    session = Session(TurnSettings(), Conversation(), play_rate_hz=PLAY_HZ)
    done = session.handle(ev.Farewell(GOODBYE), 0)
    assert act.End("server_drained") in done
    assert session.state is State.ENDED
