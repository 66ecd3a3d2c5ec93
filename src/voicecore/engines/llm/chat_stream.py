"""The answer to a streamed chat-completions request: bytes in, text out, no I/O.

Each event's data is a JSON chunk whose ``choices[0].delta`` holds a piece of
text or fragments of tool calls; ``[DONE]`` ends the stream. Servers differ at
the edges: some leave out ``[DONE]``, the tool call's ``index`` or its ``id``, or
give several calls the same ``index``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from voicecore.core.conversation import ToolCall
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.sse import SseEvent, SseParser
from voicecore.errors import EngineError, PeerError

_CALLS_LIMIT = 32
_ARGUMENTS_LIMIT = 1 << 15


@dataclass(slots=True)
class _Fragments:
    call_id: str = ""
    name: str = ""
    arguments: str = ""


class ChatStream:
    """Reads one response. ``faults`` makes the errors.

    ``finished``: the answer is whole (a finish reason or ``[DONE]`` came).
    ``tokens``: how many text pieces and tool-call fragments came so far.
    """

    def __init__(self, faults: Faults) -> None:
        self.finished = False
        self.tokens = 0
        self._faults = faults
        self._parser = SseParser()
        self._done = False
        self._calls: dict[int, _Fragments] = {}
        self._last_index = -1
        self._arguments = 0
        # Which call a number stands for, where that is not the call of its number.
        self._slots: dict[int, int] = {}

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the pieces of text in ``data``; exhaust it before the next call.

        Raises EngineError ``llm_bad_message`` where the stream breaks its format,
        ``llm_refused`` where it reports an error of the server's, after the pieces
        that came before.
        """
        try:
            events = self._parser.feed(data)
        except PeerError as error:
            raise self._bad(str(error)) from error
        for event in events:
            if self._done:
                return
            text = self._take(event)
            if text:
                self.tokens += 1
                yield text

    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls asked for, in the order of their index; whole once finished."""
        return tuple(
            ToolCall(part.call_id or f"call_{uuid.uuid4().hex}", part.name, part.arguments or "{}")
            for _, part in sorted(self._calls.items())
        )

    def _take(self, event: SseEvent) -> str:
        if event.data.strip() == "[DONE]":
            self._done = self.finished = True
            return ""
        try:
            chunk = json.loads(event.data)
        except (ValueError, RecursionError):
            # Not chained: the decoder's error carries the whole text.
            raise self._bad("an event is not JSON") from None
        if not isinstance(chunk, dict):
            raise self._bad("an event is not a JSON object")
        if event.event == "error" or chunk.get("error"):
            raise self._faults.error("refused", "the server reported an error in mid-answer")
        choice = self._choice(chunk)
        text = self._take_delta(self._object(choice.get("delta"), "a delta"))
        if choice.get("finish_reason"):
            self.finished = True
        return text

    def _choice(self, chunk: dict[str, Any]) -> dict[str, Any]:
        choices = self._list(chunk.get("choices"), "`choices`")
        choice = self._object(choices[0] if choices else None, "a choice")
        # Only one choice was asked for; a server that sends more is not mixed up.
        return choice if choice.get("index", 0) in (0, None) else {}

    def _take_delta(self, delta: dict[str, Any]) -> str:
        for position, fragment in enumerate(self._list(delta.get("tool_calls"), "`tool_calls`")):
            self._take_fragment(self._object(fragment, "a tool call"), position)
        text = delta.get("content")
        if text is not None and not isinstance(text, str):
            raise self._bad("a delta's content is not a string")
        return text or ""

    def _take_fragment(self, fragment: dict[str, Any], position: int) -> None:
        function = self._object(fragment.get("function"), "a tool call's function")
        call_id, name = fragment.get("id") or "", function.get("name") or ""
        arguments = function.get("arguments") or ""
        if not all(isinstance(part, str) for part in (call_id, name, arguments)):
            raise self._bad("a tool call's id, name or arguments is not a string")
        index = fragment.get("index")
        if index is None:
            index = self._index_without_one(call_id, position)
        if not isinstance(index, int) or not 0 <= index < _CALLS_LIMIT:
            raise self._bad(f"a tool call's index is not within 0..{_CALLS_LIMIT - 1}")
        self._last_index = index
        index = self._slots.get(index, index)
        known = self._calls.get(index)
        if known is not None and name and call_id and known.call_id not in ("", call_id):
            # Another call under the same number, as Ollama 0.20 numbers all of them 0.
            index = self._slots[self._last_index] = max(self._calls) + 1
            if index >= _CALLS_LIMIT:
                raise self._bad(f"there are more than {_CALLS_LIMIT} tool calls")
        part = self._calls.setdefault(index, _Fragments())
        part.call_id = part.call_id or call_id
        # Some servers repeat the name with each fragment, others cut it in pieces.
        if name != part.name:
            part.name += name
        part.arguments += arguments
        self._arguments += len(arguments)
        if self._arguments > _ARGUMENTS_LIMIT:
            raise self._bad(f"the tool calls' arguments exceed {_ARGUMENTS_LIMIT} characters")
        self.tokens += 1

    def _index_without_one(self, call_id: str, position: int) -> int:
        """A new id begins a new call; a fragment without one continues the last."""
        known = [i for i, part in self._calls.items() if call_id and part.call_id == call_id]
        if known:
            return known[0]
        if call_id or position or self._last_index < 0:
            return max(self._calls, default=-1) + 1
        return self._last_index

    def _object(self, value: Any, what: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._bad(f"{what} is not an object")
        return value

    def _list(self, value: Any, what: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._bad(f"{what} is not a list")
        return value

    def _bad(self, reason: str) -> EngineError:
        return self._faults.bad_message(reason)
