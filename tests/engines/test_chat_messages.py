"""What a model is told of an answer that was cut off."""

from __future__ import annotations

import pytest

from voicecore.core.conversation import Conversation, Message
from voicecore.engines.llm.chat_messages import INTERRUPTED_MARK, request_messages


def told(message: Message) -> str:
    conversation = Conversation()
    conversation.add(message)
    (sent,) = request_messages("", conversation)
    return str(sent["content"])


@pytest.mark.parametrize("began", ["", "one two three"])
def test_the_cut_is_marked_and_what_was_not_heard_is_left_out(began: str) -> None:
    message = Message(
        "assistant", "one two three", True, unheard="four five", heard_when_began=began
    )
    assert told(message) == f"one two three {INTERRUPTED_MARK}"


def test_it_says_after_which_words_the_user_began_to_speak() -> None:
    message = Message("assistant", "a b c d e f g", True, unheard="h", heard_when_began="a b c d e")
    assert told(message) == (
        'a b c d e f g [the user interrupted you here, having begun to speak after "b c d e"]'
    )


def test_an_answer_that_was_heard_has_no_mark() -> None:
    assert told(Message("assistant", "one two")) == "one two"
