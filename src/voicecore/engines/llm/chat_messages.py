"""A conversation as the ``messages`` of a chat-completions request.

The model sees what the caller heard. An answer that was cut off holds the heard
words and a mark; what was generated but not heard is never sent.
"""

from __future__ import annotations

from typing import Any

from voicecore.core.conversation import Conversation, Message, ToolCall
from voicecore.core.tool_exchange import ToolExchange

INTERRUPTED_MARK = "[the user interrupted you here]"
"""Ends an assistant message of which the caller heard only the beginning."""

_WORDS_QUOTED = 4

JsonObject = dict[str, Any]


def request_messages(system_prompt: str, conversation: Conversation) -> list[JsonObject]:
    """Return the messages to send: the system prompt, then the conversation.

    Servers refuse a tool call without its result and a result without its call
    (one of them may have been forgotten, or the call cut off before it ran), so
    such halves are left out; results follow their call at once. An empty message
    is left out too.
    """
    messages = conversation.messages
    results = {m.tool_call_id: m.text for m in messages if m.role == "tool"}
    sent: list[JsonObject] = []
    if system_prompt:
        sent.append({"role": "system", "content": system_prompt})
    for message in messages:
        if message.role == "assistant":
            calls = tuple(c for c in message.tool_calls if c.call_id in results)
            sent += assistant_message(_heard(message), calls)
            sent += [tool_message(call.call_id, results[call.call_id]) for call in calls]
        elif message.role != "tool" and message.text:
            sent.append({"role": message.role, "content": message.text})
    return sent


def exchange_messages(exchange: ToolExchange) -> list[JsonObject]:
    """What tools did, as messages."""
    sent: list[JsonObject] = []
    for message in exchange.messages:
        if message.role == "tool":
            sent.append(tool_message(message.tool_call_id, message.text))
        else:
            sent += assistant_message(message.text, message.tool_calls)
    return sent


def assistant_message(text: str, calls: tuple[ToolCall, ...]) -> list[JsonObject]:
    """One assistant message with its tool calls, or none if there is nothing in it."""
    if not calls:
        return [{"role": "assistant", "content": text}] if text else []
    tool_calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in calls
    ]
    return [{"role": "assistant", "content": text or None, "tool_calls": tool_calls}]


def tool_message(call_id: str, result: str) -> JsonObject:
    """The result of a call as a message."""
    return {"role": "tool", "tool_call_id": call_id, "content": result}


def _heard(message: Message) -> str:
    if not message.interrupted:
        return message.text
    return f"{message.text.rstrip()} {interrupted_mark(message)}".lstrip()


def interrupted_mark(message: Message) -> str:
    """Where the user interrupted, and after which words he had begun to speak, if before that.

    What came after those words he heard over his own voice: a model that is asked
    "the second one" wants to know which was the second one by then.
    """
    began = message.heard_when_began.split()
    if not began or began == message.text.split():
        return INTERRUPTED_MARK
    words = " ".join(began[-_WORDS_QUOTED:])
    return f'{INTERRUPTED_MARK[:-1]}, having begun to speak after "{words}"]'
