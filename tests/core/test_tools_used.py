"""What tools did enters the conversation: in its place, once, and whole."""

from __future__ import annotations

import random

from core.driver import ScriptedCall
from voicecore.core import events as ev
from voicecore.core.conversation import Conversation, Message, ToolCall
from voicecore.core.state import State
from voicecore.core.timeline import TIMELINE
from voicecore.core.tool_exchange import ToolExchange

SAID = "I lost my card"


def exchange(name: str = "block", result: str = "done") -> ToolExchange:
    call = ToolCall(f"id-{name}", name, "{}")
    return ToolExchange(
        (
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", result, tool_call_id=call.call_id),
        )
    )


def roles(call: ScriptedCall) -> list[str]:
    return [message.role for message in call.session.conversation]


def answered(**settings: object) -> ScriptedCall:
    """The caller's first turn is over, its answer asked for."""
    call = ScriptedCall(**settings)
    call.caller_says(SAID, 0, 1000)
    assert call.state is State.THINKING
    return call


def test_it_stands_before_the_answer_it_led_to() -> None:
    call = answered()
    call.speak(call.send(ev.ReplyText(1, "Let me see. ")))
    assert call.send(ev.ToolsUsed(1, exchange())) == []
    call.reply("It is blocked.")
    call.play_to(call.written)
    assert roles(call) == ["user", "assistant", "tool", "assistant"]
    assert call.said[-1] == ("assistant", "Let me see. It is blocked.")
    assert call.session.conversation.messages[1:3] == exchange().messages
    assert call.session.stale_events == 0


def test_an_interruption_keeps_what_has_happened() -> None:
    call = answered()
    call.speak(call.send(ev.ReplyText(1, "Let me look that up for you. ")))
    call.send(ev.ToolsUsed(1, exchange()))
    call.at(call.now_ms + 100)
    call.play_to(4800)
    call.at(call.now_ms + 100).onset()
    call.at(call.now_ms + 64).confirm()
    assert call.state is State.HEARING
    assert roles(call) == ["user", "assistant", "tool", "assistant"]
    assert call.session.conversation.messages[-1].interrupted


def test_what_comes_after_the_interruption_is_kept_too() -> None:
    call = answered()
    call.speak(call.send(ev.ReplyText(1, "Let me look that up for you. ")))
    call.at(call.now_ms + 100)
    call.play_to(4800)
    call.at(call.now_ms + 100).onset()
    call.at(call.now_ms + 64).confirm()
    call.send(ev.ToolsUsed(1, exchange()))
    assert roles(call) == ["user", "assistant", "assistant", "tool"]
    assert call.session.stale_events == 1


def begun_in_a_pause() -> ScriptedCall:
    call = ScriptedCall(endpoint="adaptive", speculate=True)
    call.caller_speaks(0, 1000)
    call.at(1250)
    call.understand(SAID)
    assert call.state is State.PAUSING
    call.send(ev.ToolsUsed(1, exchange()))
    assert roles(call) == []
    return call


def test_of_a_reply_begun_in_a_pause_it_comes_behind_the_callers_words() -> None:
    call = begun_in_a_pause()
    call.reply("It is blocked.")
    while call.state is State.PAUSING:
        call.at(call.now_ms + 10)
    assert roles(call) == ["user", "assistant", "tool"]
    call.play_to(call.written)
    assert roles(call) == ["user", "assistant", "tool", "assistant"]


def test_of_a_reply_begun_in_vain_nothing_remains() -> None:
    call = begun_in_a_pause()
    call.at(1300).onset()
    call.at(1364).confirm(1300)
    assert call.state is State.HEARING
    call.send(ev.ToolsUsed(1, exchange("late")))
    assert roles(call) == []
    assert call.session.stale_events == 1


def test_after_the_end_it_goes_nowhere() -> None:
    call = answered()
    call.send(ev.Hangup("x"))
    call.send(ev.ToolsUsed(1, exchange()))
    assert roles(call) == ["user"]


def test_it_comes_back_from_a_recording_as_it_was() -> None:
    event = ev.ToolsUsed(3, exchange("größe", '{"error": "cancelled"}'))
    assert TIMELINE.decode(TIMELINE.encode(event)) == event


def test_calls_and_results_are_forgotten_together() -> None:
    seed = 11
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(200):
        talk = Conversation(limit=rng.randrange(5, 9))
        talk.add(Message("system", "be kind"))
        for i in range(rng.randrange(30)):
            if rng.random() < 0.4:
                calls = tuple(ToolCall(f"{i}-{n}", "f", "{}") for n in range(rng.randrange(1, 4)))
                talk.add(Message("assistant", "", tool_calls=calls))
                for one in calls:
                    talk.add(Message("tool", "x", tool_call_id=one.call_id))
            else:
                talk.add(Message(rng.choice(("user", "assistant")), str(i)))
            assert talk.messages[0].role == "system"
            assert len(talk) <= talk.limit
            asked = {call.call_id for m in talk for call in m.tool_calls}
            told = {m.tool_call_id for m in talk if m.role == "tool"}
            assert told <= asked
            assert len(talk) < 2 or talk.messages[1].role != "tool"


def test_an_answer_is_whole_again_though_tools_were_told_since() -> None:
    talk = Conversation()
    talk.add(Message("assistant", "one two", True, unheard="three"))
    for message in exchange().messages:
        talk.add(message)
    talk.not_interrupted()
    assert talk.messages[0] == Message("assistant", "one two")
    assert talk.messages[1:] == exchange().messages
