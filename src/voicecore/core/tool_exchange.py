"""What a model asked of its tools and what they answered."""

from __future__ import annotations

from dataclasses import dataclass

from voicecore.core.conversation import Message


@dataclass(frozen=True, slots=True)
class ToolExchange:
    """Messages that belong into the conversation though nobody hears them.

    One ``assistant`` message with ``tool_calls``, then a ``tool`` message for each
    call, in their order.
    """

    messages: tuple[Message, ...]
