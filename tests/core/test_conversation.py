from __future__ import annotations

from voicecore.core.conversation import Conversation, Message


def test_the_last_words_of_the_caller() -> None:
    talk = Conversation()
    assert talk.last_user_text == ""
    talk.add(Message("user", "one"))
    talk.add(Message("assistant", "two"))
    assert talk.last_user_text == "one"


def test_it_is_bounded_and_keeps_the_system_message() -> None:
    talk = Conversation(limit=3)
    talk.add(Message("system", "be kind"))
    for i in range(10):
        talk.add(Message("user", str(i)))
    assert [m.text for m in talk] == ["be kind", "8", "9"]


def test_messages_are_a_copy() -> None:
    talk = Conversation()
    before = talk.messages
    talk.add(Message("user", "later"))
    assert before == ()
