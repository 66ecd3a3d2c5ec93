"""Pauses: settled early, waited out by what was said, joined if the caller goes on."""

from __future__ import annotations

import pytest

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State


def adaptive(**settings: object) -> ScriptedCall:
    return ScriptedCall(**{"endpoint": "adaptive", **settings})


def wait_after(text: str, *, call: ScriptedCall | None = None) -> float:
    """How many ms after the end of ``text`` its turn was over."""
    call = call or adaptive()
    begin_ms = call.now_ms + 100
    call.caller_speaks(begin_ms, begin_ms + 1000)
    call.at(begin_ms + 1200)
    call.understand(text)
    now_ms = call.now_ms
    while call.state is State.PAUSING:
        now_ms += 10
        call.at(now_ms)
    return now_ms - begin_ms - 1000


def test_a_pause_is_settled_before_the_turn_is_over() -> None:
    call = adaptive()
    call.caller_speaks(0, 1000)
    call.at(1199)
    assert call.of(act.FinishListening) == []
    call.at(1200)
    (settled,) = call.of(act.FinishListening)
    assert isinstance(settled, act.FinishListening)
    assert (settled.turn, settled.part) == (1, 0)
    assert settled.to_sample == 1200 * 16
    assert call.state is State.PAUSING


def test_who_goes_on_says_another_part_of_the_same_turn() -> None:
    call = adaptive()
    call.caller_speaks(0, 1000)
    call.at(1250)
    call.understand("I would like")
    call.caller_speaks(1500, 2500)
    listens = call.of(act.Listen)
    # What the first part heard is not heard twice.
    assert listens == [act.Listen(1, 0, 0), act.Listen(1, 1200 * 16, 1)]
    call.at(2700)
    call.understand("a table for two.")
    call.at(4500)
    assert call.said == [("user", "I would like a table for two.")]
    assert call.of(act.StartReply) == [act.StartReply(1)]


def test_parts_that_are_understood_late_are_joined_in_order() -> None:
    call = adaptive()
    call.caller_speaks(0, 1000)
    call.at(1200)
    call.caller_speaks(1500, 2500)
    call.at(2700)
    call.send(ev.TranscriptFinal(1, "two", 1))
    call.at(9000)
    assert call.state is State.THINKING
    assert call.of(act.StartReply) == []
    call.send(ev.TranscriptFinal(1, "one", 0))
    assert call.said == [("user", "one two")]


def test_partials_of_a_later_part_are_shown_with_the_parts_before() -> None:
    call = adaptive()
    call.caller_speaks(0, 1000)
    call.at(1200)
    call.understand("I would like")
    call.caller_speaks(1500, 2500)
    call.send(ev.TranscriptPartial(1, "a ta", 1))
    assert call.notes("transcript")[-1] == {"turn": 1, "text": "I would like a ta", "final": False}
    stale = call.session.stale_events
    call.send(ev.TranscriptPartial(1, "I would", 0))
    assert call.session.stale_events == stale + 1


def test_the_wait_depends_on_the_words() -> None:
    waits = [wait_after(text) for text in ("Where is it?", "book a table", "my number is")]
    assert waits == sorted(waits)
    assert waits[0] <= 400
    assert waits[2] >= 1500


def test_a_question_of_the_agent_makes_a_short_answer_a_whole_one() -> None:
    unasked = wait_after("no thanks")
    call = adaptive(greeting="May I help?")
    call.speak(list(call.actions))
    call.play_to(call.written)
    assert wait_after("no thanks", call=call) <= 330 < unasked


def test_it_learns_how_long_this_caller_pauses() -> None:
    patient = adaptive()
    patient.caller_speaks(0, 300)
    for i in range(1, 15):
        # 1.4 s of pause each time, waited out because "and" sounds open.
        patient.at(patient.now_ms + 200)
        patient.understand("and")
        patient.caller_speaks(i * 1700, i * 1700 + 300)
        assert patient.state is State.PAUSING
        assert patient.session.turn == 1
    patient.at(patient.now_ms + 1700)
    patient.understand("and")
    patient.send(ev.ReplyEnd(1))
    assert wait_after("I said it", call=patient) > wait_after("I said it") + 30


def test_it_learns_from_turns_that_it_ended_too_early() -> None:
    cut_off = adaptive(bargein_policy="staged")
    for _ in range(8):
        begin_ms = cut_off.now_ms + 1000
        cut_off.caller_speaks(begin_ms, begin_ms + 600)
        while cut_off.state is not State.THINKING:
            cut_off.at(cut_off.now_ms + 10)
        # He goes on before he hears an answer.
        cut_off.caller_speaks(cut_off.now_ms + 300, cut_off.now_ms + 900)
        while cut_off.state is not State.THINKING:
            cut_off.at(cut_off.now_ms + 10)
        for asked in cut_off.of(act.FinishListening):
            assert isinstance(asked, act.FinishListening)
            cut_off.send(ev.TranscriptFinal(asked.turn, "", asked.part))
        assert cut_off.state is State.LISTENING
    assert wait_after("I said it", call=cut_off) > wait_after("I said it") + 30


@pytest.mark.parametrize("again_ms", [1050, 1300])
def test_a_blip_in_a_pause_does_not_start_it_anew(again_ms: int) -> None:
    call = ScriptedCall(silence_ms=480)
    call.caller_speaks(0, 1000)
    call.at(again_ms + 32).onset(again_ms)
    call.at(again_ms + 96).release(again_ms + 40)
    call.at(1479)
    assert call.state is State.PAUSING
    call.at(1481)
    assert call.state is State.THINKING


def test_nothing_is_decided_while_something_is_voiced() -> None:
    call = ScriptedCall(silence_ms=480)
    call.caller_speaks(0, 1000)
    call.at(1460).onset()
    call.at(1520)
    assert call.state is State.PAUSING
    call.confirm(1460)
    assert call.state is State.HEARING
    assert call.session.turn == 1


def test_a_model_that_hears_the_end_shortens_the_wait() -> None:
    def wait_with(probability: float | None) -> float:
        call = adaptive()
        call.caller_speaks(0, 1000)
        (asked,) = call.of(act.JudgePause)
        assert isinstance(asked, act.JudgePause)
        if probability is not None:
            call.send(ev.TurnScored(asked.turn, asked.sample, probability))
        call.at(1200)
        call.understand("book a table")
        while call.state is State.PAUSING:
            call.at(call.now_ms + 10)
        return call.now_ms

    assert wait_with(1.0) < wait_with(None) < wait_with(0.0)


def test_a_models_word_on_another_pause_is_stale() -> None:
    call = adaptive()
    call.caller_speaks(0, 1000)
    (asked,) = call.of(act.JudgePause)
    assert isinstance(asked, act.JudgePause)
    call.caller_speaks(1200, 2000)
    stale = call.session.stale_events
    call.send(ev.TurnScored(asked.turn, asked.sample, 1.0))
    assert call.session.stale_events == stale + 1


@pytest.mark.parametrize("fails_ms", [500, 1250])
def test_a_part_that_can_not_be_understood_lets_the_caller_finish(fails_ms: int) -> None:
    call = adaptive(apology="Sorry.")
    call.at(32).onset(0)
    call.at(64).confirm(0)
    if fails_ms < 1000:
        call.at(fails_ms)
        call.send(ev.EngineFailed(1, "stt", "boom"))
    call.at(1064).release(1000)
    call.at(1250)
    if fails_ms > 1000:
        call.send(ev.EngineFailed(1, "stt", "boom"))
    assert call.of(act.Speak) == []
    call.caller_speaks(1300, 2000)
    assert len(call.of(act.Listen)) == 1  # What is left of it would be no answer's ground.
    call.at(4000)
    assert call.of(act.Speak) == [act.Speak(1, 0, "Sorry.", canned=True)]
    assert call.said == []
