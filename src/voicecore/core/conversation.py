"""What was said: the messages an agent answers from.

The conversation holds what was *heard*, not what was generated: an assistant
message that the caller cut off keeps only the words that reached him and is
marked ``interrupted``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function the model asks to run; ``arguments`` is the JSON text it wrote."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``unheard`` is for display only and never shown to a model.

    ``heard_when_began``: of an interrupted one, what had come to the caller's ear
    when he began to speak; ``text`` is what he had heard when it ceased.
    """

    role: Role
    text: str
    interrupted: bool = False
    unheard: str = ""
    heard_when_began: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Conversation:
    """An ordered list of messages, oldest first. One call's is one object.

    Bounded: beyond ``limit`` messages the oldest that is not a system message
    is forgotten, so a call of many hours can't grow without end. Calls of tools are
    forgotten with their results: a model refuses halves.
    """

    limit: int = 400
    _messages: list[Message] = field(default_factory=list)

    def add(self, message: Message) -> None:
        """Append ``message``; forget the oldest non-system one beyond the limit."""
        self._messages.append(message)
        if len(self._messages) > self.limit:
            oldest = next(i for i, m in enumerate(self._messages) if m.role != "system")
            end = oldest + 1
            while end < len(self._messages) and self._messages[end].role == "tool":
                end += 1
            del self._messages[oldest:end]

    def not_interrupted(self) -> None:
        """The agent's answer that ends the conversation was cut off by nobody, as it turns out."""
        # What its tools did may have come to be known since.
        last = len(self._messages) - 1
        while last >= 0 and _is_unspoken(self._messages[last]):
            last -= 1
        if last >= 0 and self._messages[last].role == "assistant":
            self._messages[last] = replace(
                self._messages[last], interrupted=False, unheard="", heard_when_began=""
            )

    def with_draft(self, text: str) -> Conversation:
        """A copy in which the caller has said ``text`` too."""
        draft = Conversation(self.limit, list(self._messages))
        draft.add(Message("user", text))
        return draft

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages, oldest first (a copy: later turns don't change it)."""
        return tuple(self._messages)

    @property
    def last_user_text(self) -> str:
        """What the caller said last, or ``""`` before his first words."""
        return next((m.text for m in reversed(self._messages) if m.role == "user"), "")

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self._messages)


def _is_unspoken(message: Message) -> bool:
    return message.role == "tool" or bool(message.tool_calls)
