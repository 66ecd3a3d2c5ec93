from __future__ import annotations

import random

import pytest

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.state import State
from voicecore.errors import MisuseError


def test_a_turn_is_heard_answered_and_remembered() -> None:
    call = ScriptedCall()
    call.caller_says("what time is it", 1000, 2000)
    assert call.state is State.THINKING
    assert call.of(act.StartReply) == [act.StartReply(1)]
    call.reply("It is noon.")
    call.play_to(100)
    assert call.state is State.SPEAKING
    call.play_to(call.written)
    assert call.state is State.LISTENING
    assert call.said == [("user", "what time is it"), ("assistant", "It is noon.")]
    assert call.notes("agent_done")[0]["interrupted"] is False


def test_listening_begins_before_the_first_syllable() -> None:
    call = ScriptedCall(preroll_ms=320)
    call.at(1000).onset()
    call.at(1064).confirm(1000)
    listen = call.of(act.Listen)[0]
    assert isinstance(listen, act.Listen)
    assert listen.from_sample == (1000 - 320) * 16


def test_a_click_is_no_turn() -> None:
    call = ScriptedCall()
    call.at(1000).onset()
    call.at(1032).release()
    call.at(5000)
    assert call.state is State.LISTENING
    assert call.of(act.Listen) == []


@pytest.mark.parametrize("pause_ms", [32, 200, 479])
def test_a_pause_shorter_than_silence_keeps_the_turn(pause_ms: float) -> None:
    call = ScriptedCall(silence_ms=480)
    call.at(0).onset()
    call.at(64).confirm(0)
    call.at(1000).release()
    call.at(1000 + pause_ms).onset()
    assert call.state is State.PAUSING
    call.confirm()
    call.at(3000)
    assert call.state is State.HEARING
    call.release()
    call.at(3480)
    assert call.state is State.THINKING
    assert call.session.turn == 1


def test_silence_is_counted_from_the_end_of_speech_not_from_when_it_was_noticed() -> None:
    call = ScriptedCall(silence_ms=480)
    call.at(0).onset()
    call.at(64).confirm(0)
    call.at(1090).release(at_ms=1000)
    call.at(1479)
    assert call.state is State.PAUSING
    call.at(1480)
    assert call.state is State.THINKING


def test_a_stalled_network_is_not_the_end_of_a_turn() -> None:
    call = ScriptedCall(silence_ms=480)
    call.at(0).onset()
    call.at(64).confirm(0)
    call.release(at_ms=60)
    # Nothing more arrived than 60 ms of audio: the clock alone ends no turn ...
    for now_ms in range(540, 2500, 10):
        call.now_ms = now_ms
        call.send(ev.Timeout(60 * 16, 0))
    assert call.state is State.PAUSING
    # ... but a turn is not held open for ever.
    call.now_ms = 60 + 480 + 2001
    call.send(ev.Timeout(60 * 16, 0))
    assert call.state is State.THINKING


@pytest.mark.parametrize(("lag_ms", "looks"), [(40, 1), (90, 2), (104, 2), (144, 3), (200, 5)])
def test_what_is_still_to_arrive_of_a_pause_is_awaited_and_not_asked_for(
    lag_ms: int, looks: int
) -> None:
    """Packets, frames and batches: what is judged lags the clock by ``lag_ms``, steadily."""
    call = ScriptedCall(silence_ms=480)
    call.at(0).onset()
    call.at(64).confirm(0)
    call.at(1000).release()
    asked = 0
    while call.state is State.PAUSING:
        assert call.session.deadline_ns is not None
        call.now_ms = call.session.deadline_ns / 1e6
        call.send(ev.Timeout(round((call.now_ms - lag_ms) * 16), 0))
        asked += 1
    assert asked == looks
    assert 1480 <= call.now_ms <= max(1480, 1480 + lag_ms - 64 + 10)


def test_progress_is_told_when_it_changes() -> None:
    call = ScriptedCall()
    call.caller_says("tell me a story", 0, 1000)
    call.reply("one two three four five six")
    call.play_to(100)
    began_ms, words = call.now_ms, 6
    for half_seconds in range(1, 20):
        call.played = min(half_seconds, 3) * 4800 + 100
        call.at(began_ms + half_seconds * 500 + 50)
    told = [note["chars"] for note in call.notes("heard")]
    assert told == sorted(set(told))
    assert 2 <= len(told) <= words
    assert call.state is State.SPEAKING


def test_barge_in_does_all_five_things() -> None:
    call = ScriptedCall()
    call.caller_says("tell me a story", 0, 1000)
    call.reply("one two three four five six")
    call.play_to(2400 * 2 + 1300)  # two words and more than half of the third
    call.at(2000).onset()
    call.actions.clear()
    call.at(2064).confirm(2000)
    kinds = [type(a) for a in call.actions]
    assert kinds.index(act.Flush) < kinds.index(act.CancelReply) < kinds.index(act.Listen)
    assert act.CancelReply(1) in call.actions
    listen = call.of(act.Listen)[0]
    assert isinstance(listen, act.Listen)
    assert listen.from_sample <= 2000 * 16
    last = call.session.conversation.messages[-1]
    assert (last.text, last.interrupted, last.unheard) == ("one two three", True, "four five six")
    assert call.notes("barge_in") == [{"turn": 1}]
    assert call.state is State.HEARING


@pytest.mark.parametrize(("fraction", "heard"), [(0.49, "one"), (0.51, "one two")])
def test_a_word_counts_from_half_of_it(fraction: float, heard: str) -> None:
    call = ScriptedCall()
    call.caller_says("hi", 0, 1000)
    call.reply("one two three")
    call.play_to(2400 + int(2400 * fraction))
    call.at(2000).confirm()
    assert call.said[-1] == ("assistant", heard)


def test_what_comes_late_for_a_cut_turn_is_dropped_and_counted() -> None:
    call = ScriptedCall()
    call.caller_says("hi", 0, 1000)
    call.speak(call.send(ev.ReplyText(1, "First sentence. ")))
    call.play_to(100)
    call.at(2000).confirm()
    before = call.session.stale_events
    assert call.send(ev.ReplyText(1, "Second sentence. ")) == []
    assert call.send(ev.SpeechQueued(1, 0, 0, 10)) == []
    assert call.send(ev.ReplyEnd(1)) == []
    assert call.session.stale_events == before + 3
    assert call.state is State.HEARING


def test_interrupting_before_a_word_was_heard_leaves_the_question_open() -> None:
    call = ScriptedCall()
    call.caller_says("what is", 0, 1000)
    call.at(1500).confirm()  # goes on while we think
    assert call.state is State.HEARING
    assert call.notes("barge_in") == []
    call.at(2000).release()
    call.at(2480)
    call.send(ev.TranscriptFinal(2, "two plus two"))
    assert call.said == [("user", "what is"), ("user", "two plus two")]
    assert call.of(act.StartReply)[-1] == act.StartReply(2)


def test_noise_while_thinking_does_not_lose_the_question() -> None:
    call = ScriptedCall()
    call.caller_says("what is two plus two", 0, 1000)
    call.at(1500).confirm()
    call.at(1700).release()
    call.at(2180)
    call.send(ev.TranscriptFinal(2, ""))
    assert call.state is State.THINKING
    assert call.of(act.StartReply)[-1] == act.StartReply(2)


def test_finals_out_of_order_are_waited_for() -> None:
    call = ScriptedCall()
    call.at(0).confirm()
    call.at(500).release()
    call.at(980)
    assert call.state is State.THINKING
    call.at(1100).confirm()
    call.at(1500).release()
    call.at(1980)
    call.send(ev.TranscriptFinal(2, "second"))
    assert call.of(act.StartReply) == []
    call.send(ev.TranscriptFinal(1, "first"))
    assert call.of(act.StartReply) == [act.StartReply(2)]


def test_nothing_understood_waits_for_more() -> None:
    call = ScriptedCall()
    call.caller_says("", 0, 1000)
    assert call.state is State.LISTENING
    assert call.of(act.StartReply) == []


def test_a_clause_is_spoken_while_the_model_still_writes() -> None:
    call = ScriptedCall()
    call.caller_says("hi", 0, 1000)
    assert not call.of(act.Speak)
    call.send(ev.ReplyText(1, "Well, hello there my friend, it is"))
    first = call.of(act.Speak)[0]
    assert isinstance(first, act.Speak)
    assert first.text == "Well, hello there my friend,"


def test_greeting_is_spoken_and_can_be_interrupted() -> None:
    call = ScriptedCall(greeting="Hello, I am here.")
    call.speak(list(call.actions))
    call.play_to(2400)
    assert call.state is State.SPEAKING
    call.at(900).confirm()
    assert call.said == [("assistant", "Hello,")]


@pytest.mark.parametrize("stage", ["llm", "tts"])
def test_a_failing_engine_ends_in_an_apology_and_the_call_lives(stage: str) -> None:
    call = ScriptedCall(apology="Sorry about that.")
    call.caller_says("hi", 0, 1000)
    call.speak(call.send(ev.ReplyText(1, "All is well. And the")))
    call.play_to(1200)
    done = call.send(ev.EngineFailed(1, stage, "boom"))
    apology = [a for a in done if isinstance(a, act.Speak)]
    assert [(a.canned, a.text) for a in apology] == [(True, "Sorry about that.")]
    assert act.RecordFailure(stage, "boom") in done
    call.speak(done)
    call.play_to(call.written)
    assert call.state is State.LISTENING
    assert call.said[-1] == ("assistant", "All is well. Sorry about that.")
    call.caller_says("again", 5000, 6000)
    assert call.state is State.THINKING


@pytest.mark.parametrize("when", ["while hearing", "while thinking"])
def test_a_failing_recogniser_ends_in_an_apology(when: str) -> None:
    call = ScriptedCall(apology="Sorry.")
    call.at(0).confirm()
    if when == "while hearing":
        call.send(ev.EngineFailed(1, "stt", "boom"))
        assert call.of(act.Speak) == []
    call.at(1000).release()
    call.at(1480)
    if when == "while thinking":
        call.send(ev.EngineFailed(1, "stt", "boom"))
    assert call.of(act.Speak) == [act.Speak(1, 0, "Sorry.", canned=True)]
    assert call.state is State.THINKING


def test_an_illegal_event_raises() -> None:
    call = ScriptedCall()
    with pytest.raises(MisuseError, match="Connected is not possible while listening"):
        call.send(ev.Connected())


def test_latency_is_told_once_per_turn_and_rises() -> None:
    call = ScriptedCall()
    call.caller_says("hi", 0, 1000)
    call.now_ms += 5
    call.reply("Hello.")
    call.now_ms += 5
    call.play_to(100)
    (latency,) = call.notes("latency")
    order = [latency[f"{s}_ms"] for s in ("endpoint", "stt", "llm", "tts", "packet")]
    assert order == sorted(order)  # type: ignore[type-var]
    assert order[0] == 480.0
    assert order[-1] == 490.0
    assert len(call.of(act.RecordTurn)) == 1


def test_hangup_ends_from_any_state_and_later_events_do_nothing() -> None:
    call = ScriptedCall()
    call.caller_says("hi", 0, 1000)
    call.send(ev.Hangup("caller_hung_up"))
    assert call.state is State.ENDED
    assert call.of(act.End) == [act.End("caller_hung_up")]
    assert call.send(ev.ReplyText(1, "late")) == []
    assert call.session.deadline_ns is None


@pytest.mark.parametrize("seed", range(40))
def test_any_legal_order_of_events_is_survived(seed: int) -> None:
    """Random calls: state and table agree, the conversation holds only what was played."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    call = ScriptedCall(greeting=rng.choice(["", "Hello there."]))
    call.speak(list(call.actions))
    for _ in range(200):
        call.at(call.now_ms + rng.choice([1, 20, 100, 600]))
        turn = call.session.turn - rng.choice([0, 0, 0, 1])
        step = rng.randrange(9)
        if step == 0:
            call.onset()
        elif step == 1:
            call.confirm()
        elif step == 2:
            call.release()
        elif step == 3:
            call.send(ev.TranscriptFinal(turn, rng.choice(["", "hello", "go on"])))
        elif step == 4 and call.state in (State.THINKING, State.SPEAKING):
            call.speak(call.send(ev.ReplyText(turn, rng.choice(["One. ", "two, three "]))))
        elif step == 5 and call.state in (State.THINKING, State.SPEAKING):
            call.speak(call.send(ev.ReplyEnd(turn)))
        elif step == 6:
            call.send(ev.EngineFailed(turn, rng.choice(["stt", "llm", "tts"]), "x"))
        elif step == 7:
            call.play_to(call.played + rng.randrange(1, 9600))
        else:
            call.send(ev.TranscriptPartial(turn, "par"))
    call.send(ev.Hangup("test"))
    assert call.state is State.ENDED
    for message in call.session.conversation:
        assert message.text


def test_a_text_that_is_voiced_already_is_heard_as_one_segment_that_grows() -> None:
    call = ScriptedCall()
    call.caller_says("what time is it", 1000, 2000)
    call.send(ev.ReplyText(1, "", voiced=True))
    call.send(ev.SpeechQueued(1, 0, 0, 12_000, energy=bytes([70] * 50)))
    call.send(ev.ReplyText(1, "It is **noon** now. ", voiced=True))
    call.send(ev.SpeechQueued(1, 0, 12_000, 12_000, energy=bytes([70] * 50)))
    call.written = 24_000
    call.play_to(12_000)
    call.send(ev.ReplyText(1, "Anything else that I can do for you?", voiced=True))
    assert call.of(act.Speak) == []
    call.at(4000).onset()
    call.at(4064).confirm(4000)
    call.send(ev.Flushed(1, 12_000))
    (done,) = call.notes("agent_done")
    # As it was said, not as a text would be read out.
    assert done["text"] == "It is **noon** now. Anything else that I can do for you?"
    assert str(done["text"]).startswith(str(done["heard"]))
    assert 1 <= len(str(done["heard"]).split()) <= 3
    assert done["interrupted"] is True


def test_a_speech_to_speech_model_that_fails_is_apologised_for_behind_what_was_said() -> None:
    call = ScriptedCall()
    call.caller_says("what time is it", 1000, 2000)
    call.send(ev.ReplyText(1, "It is nearly noon. ", voiced=True))
    call.send(ev.SpeechQueued(1, 0, 0, 24_000))
    call.written = 24_000
    call.play_to(2400)
    call.send(ev.EngineFailed(1, "s2s", "s2s_closed"))
    assert call.of(act.CancelReply) == [act.CancelReply(1)]
    assert call.of(act.RecordFailure) == [act.RecordFailure("s2s", "s2s_closed")]
    *_, apology = call.of(act.Speak)
    assert isinstance(apology, act.Speak)
    assert apology.canned
