"""Replies begun in a pause: used at its end, or discarded without a trace."""

from __future__ import annotations

from core.driver import ScriptedCall
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.core.speculation import SpeculationBudget
from voicecore.core.state import State
from voicecore.core.units import NS_PER_S

SAID = "I lost my card"


def begun(text: str = SAID, **settings: object) -> ScriptedCall:
    """A pause at 1 s, understood at 1.25 s; the reply is begun."""
    call = ScriptedCall(**{"endpoint": "adaptive", "speculate": True, **settings})
    call.caller_speaks(0, 1000)
    call.at(1250)
    call.understand(text)
    return call


def outcomes(call: ScriptedCall) -> list[str]:
    return [a.outcome for a in call.of(act.RecordSpeculation)]  # type: ignore[attr-defined]


def test_a_reply_is_begun_in_silence() -> None:
    call = begun()
    assert call.state is State.PAUSING
    kinds = call.kinds()
    assert kinds.index(act.Hold) < kinds.index(act.StartReply)
    assert call.of(act.StartReply) == [act.StartReply(1, SAID)]
    call.reply("Let me block it for you.")
    assert len(call.of(act.Speak)) == 1
    assert call.held
    assert call.notes("agent") == []
    assert [note["final"] for note in call.notes("transcript")] == [False]
    assert call.said == []


def test_at_the_end_of_the_turn_it_is_let_go() -> None:
    call = begun()
    call.reply("Let me block it for you.")
    call.at(1300)
    call.actions.clear()
    while call.state is State.PAUSING:
        call.at(call.now_ms + 10)
    ended_ms = call.now_ms
    assert call.state is State.THINKING
    assert not call.held
    assert call.of(act.StartReply) == call.of(act.Flush) == []
    assert outcomes(call) == ["used"]
    assert call.said == [("user", SAID)]
    assert [note["text"] for note in call.notes("agent")] == ["Let me block it for you."]
    call.now_ms += 7
    call.play_to(call.written)
    assert call.said[1:] == [("assistant", "Let me block it for you.")]
    (latency,) = call.notes("latency")
    assert latency["packet_ms"] == ended_ms - 1000 + 7
    assert latency["stt_ms"] == 250.0
    assert ended_ms - 1010 < latency["endpoint_ms"] <= ended_ms - 1000  # type: ignore[operator]
    (stages,) = call.of(act.RecordTurn)
    assert isinstance(stages, act.RecordTurn)
    assert stages.stages["total"] == (ended_ms - 1000 + 7) / 1000
    assert min(stages.stages.values()) >= 0


def test_text_that_comes_after_the_commit_belongs_to_it() -> None:
    call = begun()
    call.speak(call.send(ev.ReplyText(1, "Let me block it. ")))
    call.at(3000)
    assert call.state is State.THINKING
    call.reply("And that is it.")
    call.play_to(call.written)
    assert call.said[-1] == ("assistant", "Let me block it. And that is it.")


def test_who_goes_on_finds_no_trace_of_it() -> None:
    call = begun()
    call.reply("Let me block it for you.")
    call.actions.clear()
    call.caller_speaks(1350, 2000)
    kinds = call.kinds()
    assert kinds[:2] == [act.Flush, act.CancelReply]
    assert outcomes(call) == ["wasted"]
    assert not call.held
    assert call.of(act.RecordBargeIn) == []
    assert call.said == []
    for kind in ("agent", "agent_done", "barge_in", "latency", "heard"):
        assert call.notes(kind) == []
    assert call.session.turn == 1


def test_what_comes_late_of_a_discarded_reply_is_counted_and_never_spoken() -> None:
    call = begun()
    call.send(ev.ReplyText(1, "Let me"))
    call.caller_speaks(1350, 2000)
    call.actions.clear()
    stale = call.session.stale_events
    assert call.send(ev.ReplyText(1, " block it for you. ")) == []
    assert call.send(ev.SpeechQueued(1, 0, 0, 2400)) == []
    assert call.send(ev.SegmentEnd(1, 0)) == []
    assert call.send(ev.ReplyEnd(1)) == []
    assert call.session.stale_events == stale + 4
    assert call.of(act.Speak) == []
    call.at(2250)
    call.understand("yesterday.")
    assert call.of(act.StartReply) == [act.StartReply(1, f"{SAID} yesterday.")]
    call.at(4000)
    call.reply("I see.")
    call.play_to(call.written)
    assert call.said == [("user", f"{SAID} yesterday."), ("assistant", "I see.")]


def test_a_caller_who_goes_on_and_on_wastes_no_more_than_the_budget() -> None:
    call = ScriptedCall(endpoint="adaptive", speculate=True, speculation_budget=2)
    begin_ms = 0
    for _ in range(5):
        call.caller_speaks(begin_ms, begin_ms + 1000)
        call.at(begin_ms + 1210)
        call.understand("I said it")
        begin_ms += 1300
    assert outcomes(call) == ["wasted", "wasted"]
    assert len(call.of(act.StartReply)) == 2
    call.at(begin_ms + 3000)
    # Without a reply begun early the turn is answered all the same.
    assert call.of(act.StartReply)[-1] == act.StartReply(1)


def test_the_budget_is_of_any_minute() -> None:
    budget = SpeculationBudget(2)
    for at_s in (0, 30):
        assert budget.allows(at_s * NS_PER_S)
        budget.waste(at_s * NS_PER_S)
    assert not budget.allows(60 * NS_PER_S - 1)
    assert budget.allows(60 * NS_PER_S)
    budget.waste(60 * NS_PER_S)
    assert not budget.allows(89 * NS_PER_S)
    assert budget.allows(90 * NS_PER_S)
    assert not SpeculationBudget(0).allows(0)


def test_a_reply_that_is_used_costs_nothing() -> None:
    call = ScriptedCall(endpoint="adaptive", speculate=True, speculation_budget=1)
    for turn in range(1, 4):
        begin_ms = call.now_ms + 1000
        call.caller_speaks(begin_ms, begin_ms + 1000)
        call.at(begin_ms + 1250)
        call.understand("where is it?")
        call.at(begin_ms + 2500)
        call.send(ev.ReplyEnd(turn))
    assert outcomes(call) == ["used"] * 3


def test_a_failure_in_a_pause_costs_nothing() -> None:
    call = begun(speculation_budget=1)
    call.send(ev.ReplyText(1, "Let me"))
    call.actions.clear()
    call.send(ev.EngineFailed(1, "llm", "boom"))
    assert call.kinds() == [act.RecordFailure, act.Flush, act.CancelReply, act.RecordSpeculation]
    assert call.notes("error") == []
    assert call.of(act.Speak) == []
    assert not call.held
    call.at(3000)
    assert call.said == [("user", SAID)]
    assert call.of(act.StartReply) == [act.StartReply(1)]
    call.now_ms += 100
    call.reply("Hello.")
    call.play_to(call.written)
    (latency,) = call.notes("latency")
    # The failed one's first word is no word of this one.
    assert latency["llm_ms"] == call.now_ms - 1000


def test_nothing_is_begun_where_a_long_wait_says_that_more_will_come() -> None:
    call = begun("my number is")
    assert call.of(act.StartReply) == call.of(act.Hold) == []
    assert call.state is State.PAUSING


def test_nothing_is_begun_for_nothing() -> None:
    assert begun("").of(act.StartReply) == []


def test_nothing_is_begun_while_something_is_voiced_but_as_soon_as_it_was_none() -> None:
    call = ScriptedCall(endpoint="adaptive", speculate=True)
    call.caller_speaks(0, 1000)
    call.at(1232).onset(1200)
    call.understand(SAID)
    assert call.of(act.StartReply) == []
    call.at(1280).release(1240)
    assert call.of(act.StartReply) == [act.StartReply(1, SAID)]


def test_a_fixed_silence_is_used_as_well() -> None:
    call = begun(endpoint="fixed", silence_ms=800)
    assert call.of(act.StartReply) == [act.StartReply(1, SAID)]
    call.reply("Yes.")
    call.at(1799)
    assert call.held
    call.at(1800)
    assert not call.held
    assert outcomes(call) == ["used"]


def test_keys_pressed_in_the_pause_make_another_question_of_it() -> None:
    call = begun()
    call.reply("Which one?")
    call.send(ev.Digit("7", 80))
    assert call.state is State.PAUSING
    call.actions.clear()
    call.at(3000)
    assert outcomes(call) == ["wasted"]
    assert call.said == [("user", f"{SAID} [keys: 7]")]
    kinds = call.kinds()
    assert kinds.index(act.Flush) < kinds.index(act.CancelReply) < kinds.index(act.StartReply)
    assert call.of(act.StartReply) == [act.StartReply(1)]
    assert not call.held
    call.reply("Seven.")
    call.play_to(call.written)
    assert call.said[-1] == ("assistant", "Seven.")


def test_an_empty_answer_begun_early_is_over_at_the_commit() -> None:
    call = begun()
    call.send(ev.ReplyEnd(1))
    assert call.state is State.PAUSING
    call.at(3000)
    assert call.state is State.LISTENING
    assert not call.held


def test_a_hangup_in_the_pause_ends_it() -> None:
    call = begun()
    call.send(ev.Hangup("caller_hung_up"))
    assert call.state is State.ENDED
    assert call.said == []
