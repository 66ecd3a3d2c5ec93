"""The stages of a barge-in: the agent falls silent, then is cut or goes on."""

from __future__ import annotations

import pytest

from core.interrupting import assert_cut, assert_goes_on, speaking
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State


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
