"""One tree of spans for each turn, made of events and actions alone."""

from __future__ import annotations

from typing import Any

from fakes.recorded_call import RecordedCall, conversation, plain
from voicecore.core import actions as act
from voicecore.core import events as ev
from voicecore.service.turn_spans import Span, TurnSpans

ENGINES = {"stt": "ears", "llm": "mind", "tts": "mouth", "vad": "gate"}


def spans_of(call: RecordedCall, engines: dict[str, str] | None = None) -> list[Span]:
    """The trees of a scripted call that ends now."""
    found: list[Span] = []
    turns = TurnSpans(ENGINES if engines is None else engines, found.append)
    for step in call.steps:
        if step.actions is not None:
            turns.step(step.event, step.now_ns, step.actions)
    turns.end(round(call.now_ms * 1e6))
    return found


def ms(span: Span) -> tuple[float, float]:
    return span.start_ns / 1e6, span.end_ns / 1e6


def by_name(turn: Span) -> dict[str, Span]:
    assert len({child.name for child in turn.children}) == len(turn.children)
    return {child.name: child for child in turn.children}


def test_a_plain_turn_has_all_its_stages() -> None:
    call = RecordedCall(**plain())
    call.caller_says("hello there", 1000, 2000)
    call.now_ms += 120
    call.reply("Good day to you.")
    call.now_ms += 30
    call.play_to(4800)
    call.now_ms += 400
    call.play_to(1 << 40)
    (turn,) = spans_of(call)
    stages = by_name(turn)
    assert turn.name == "turn"
    assert list(stages) == ["endpoint", "stt", "llm", "tts", "playout"]
    assert ms(stages["endpoint"]) == (2000, 2480)
    assert ms(stages["llm"]) == (2480, 2600)
    assert ms(stages["playout"]) == (2630, 3030)
    assert ms(turn) == (2000, 3030)
    assert [stages[name].attributes["voicecore.engine"] for name in ("stt", "llm", "tts")] == [
        "ears", "mind", "mouth",
    ]  # fmt: skip
    assert stages["llm"].attributes["voicecore.first_text_ms"] == 120
    told = turn.attributes
    assert (told["voicecore.turn"], told["voicecore.interrupted"]) == (1, False)
    assert told["voicecore.endpoint_ms"] == 480
    assert told["voicecore.total_ms"] == 630
    assert told["voicecore.engine.vad"] == "gate"


def test_spans_lie_within_their_turn_whatever_happens() -> None:
    for settings in ({}, {"speculate": True}, {"endpoint": "adaptive", "speculate": True}):
        turns = spans_of(conversation(**settings))
        assert len(turns) >= 2, settings
        for turn in turns:
            for child in turn.children:
                assert turn.start_ns <= child.start_ns <= child.end_ns <= turn.end_ns, child


def test_an_interrupted_answer_says_so() -> None:
    turns = spans_of(conversation())
    told = [(t.attributes["voicecore.interrupted"], "playout" in by_name(t)) for t in turns]
    # He had not finished; he was answered, and interrupted that; the last was heard to its end.
    assert told == [(True, False), (True, True), (False, True)]


def test_no_text_gets_into_a_span() -> None:
    call = conversation()
    words = {word.strip(".").lower() for _, text in call.said for word in text.split()}
    assert {"weather", "oslo", "please"} <= words

    def texts(span: Span) -> list[str]:
        own = [*span.attributes, *map(str, span.attributes.values()), span.failed]
        return own + [text for child in span.children for text in texts(child)]

    told = " ".join(text for turn in spans_of(call) for text in texts(turn)).lower()
    assert not [word for word in words if f" {word} " in f" {told} "]


def test_what_the_agent_says_unasked_begins_with_its_text() -> None:
    call = RecordedCall(**plain(greeting="Hello, who is there?"))
    call.now_ms = 40
    call.speak([step for step in call.actions if isinstance(step, act.Speak)])
    call.play_to(1 << 40)
    (turn,) = spans_of(call)
    assert list(by_name(turn)) == ["tts", "playout"]
    assert "voicecore.total_ms" not in turn.attributes


def test_a_failed_engine_is_named_with_its_code() -> None:
    call = RecordedCall(**plain())
    call.caller_says("hello there", 1000, 2000)
    call.send(ev.EngineFailed(call.session.turn, "llm", "llm_timeout"))
    (turn,) = spans_of(call)
    assert turn.failed == "llm_timeout"
    assert by_name(turn)["llm"].failed == "llm_timeout"
    assert by_name(turn)["stt"].failed == ""


def test_one_model_that_is_the_agent_is_one_stage() -> None:
    call = RecordedCall(**plain())
    call.caller_says("hello there", 1000, 2000)
    turn = call.session.turn
    call.now_ms += 100
    call.send(ev.ReplyText(turn, "Good day", voiced=True))
    call.send(ev.SpeechQueued(turn, 0, 0, 2400))
    call.written = 2400
    call.now_ms += 50
    call.send(ev.ReplyEnd(turn))
    call.send(ev.SegmentEnd(turn, 0))
    call.play_to(1 << 40)
    (answered,) = spans_of(call, {"s2s": "whole", "tts": "mouth"})
    stages = by_name(answered)
    assert list(stages) == ["endpoint", "stt", "s2s", "playout"]
    assert ms(stages["s2s"]) == (2480, 2580)


def test_turns_that_come_to_nothing_are_no_trees_and_do_not_pile_up() -> None:
    found: list[Span] = []
    turns = TurnSpans(ENGINES, found.append)
    event: Any = ev.Connected()
    for number in range(1000):
        turns.step(event, number, [act.FinishListening(number, 0)])
    turns.end(2000)
    assert found == []


def test_sounds_over_a_long_answer_do_not_displace_it() -> None:
    found: list[Span] = []
    turns = TurnSpans(ENGINES, found.append)
    event: Any = ev.Connected()
    turns.step(event, 1, [act.StartReply(1)])
    for number in range(2, 20):
        turns.step(event, number, [act.FinishListening(number, 0)])
    turns.step(event, 100, [act.CancelReply(1)])
    assert [(span.attributes["voicecore.turn"], span.end_ns) for span in found] == [(1, 100)]
