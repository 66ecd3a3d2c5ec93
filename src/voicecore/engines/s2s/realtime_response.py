"""One response of the model's as its events come in, and how much of it was heard."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

from voicecore.core.conversation import ToolCall
from voicecore.engines.protocols import Pcm
from voicecore.engines.s2s.realtime_wire import (
    RATE_HZ,
    Json,
    audio_of,
    delete,
    refusal,
    text_of,
    truncate,
)
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError

LONGEST_S: Final = 240
"""Of audio a response may hold, some 12 MB: the API's 4096 tokens are less. Beyond it the
response is cancelled, and ends there."""


@dataclass(slots=True)
class OutputItem:
    """What the response puts into the conversation. ``samples``: of its audio, by now."""

    item_id: str
    is_message: bool
    content_index: int = 0
    samples: int = 0
    text: bool = False

    @property
    def length_ms(self) -> int:
        """Whole milliseconds of audio that came."""
        return self.samples * 1000 // RATE_HZ


class Response:
    """Text and audio wait here until they are asked for; one task reads them.

    ``request`` asks for it, and has the id ``request_id`` once it is sent.
    ``given_up``: nobody will hear the rest. ``over``: no more will come.
    ``calls``: the tools it asks for, complete when it is over; without those that
    have their results.
    """

    def __init__(self, faults: Faults, request: Json) -> None:
        self.request = request
        self.request_id = ""
        self.response_id = ""
        self.items: list[OutputItem] = []
        self.calls: list[ToolCall] = []
        self.given_up = False
        self.over = False
        self._faults = faults
        self._queue: deque[str | Pcm] = deque()
        self._failure: EngineError | None = None
        self._samples = 0
        self._full = False
        self._spoken = False
        self._wake = asyncio.Event()

    async def next(self, limit_s: float) -> str | Pcm | None:
        """The next piece; None at the end. EngineError if it fails, or says nothing for so long."""
        while not self._queue:
            if self._failure is not None:
                raise self._failure
            if self.over:
                return None
            self._wake.clear()
            try:
                async with asyncio.timeout(limit_s):
                    await self._wake.wait()
            except TimeoutError:
                raise self._faults.timed_out("the answer did not go on", limit_s) from None
        return self._queue.popleft()

    # -- what the server tells ------------------------------------------------------

    def take(self, event: Json) -> bool:
        """Note an event of this response's; False, once: it has become too long."""
        kind = event["type"]
        if kind == "response.output_audio.delta":
            return self._take_audio(event)
        if kind in ("response.output_audio_transcript.delta", "response.output_text.delta"):
            self._take_text(event)
        elif kind == "response.output_item.added":
            if item_id := text_of(event, "item", "id"):
                is_message = text_of(event, "item", "type") == "message"
                self.items.append(OutputItem(item_id, is_message))
        elif kind == "response.output_item.done" and _is_call(event):
            names = ("call_id", "name", "arguments")
            self.calls.append(ToolCall(*(text_of(event, "item", name) for name in names)))
        elif kind == "response.done":
            self._finish(event)
        return True

    def fail(self, error: EngineError) -> None:
        """Nothing more will come; what has come is still read first."""
        if not self.over:
            self._failure, self.over = error, True
            self._wake.set()

    def drop(self) -> None:
        """Nobody reads it any more."""
        self.given_up = True
        self._queue.clear()

    def _take_audio(self, event: Json) -> bool:
        pcm = audio_of(event, self._faults)
        item = self._item(text_of(event, "item_id"))
        if item is not None:
            item.samples += len(pcm)
            index = event.get("content_index")
            item.content_index = index if isinstance(index, int) else 0
        self._samples += len(pcm)
        was_full, self._full = self._full, self._samples > LONGEST_S * RATE_HZ
        self._put(pcm)
        return was_full or not self._full

    def _take_text(self, event: Json) -> None:
        text = text_of(event, "delta")
        item = self._item(text_of(event, "item_id"))
        if item is not None and not item.text and self._spoken:
            text = f" {text}"
        if item is not None:
            item.text = True
        self._spoken = True
        self._put(text)

    def _finish(self, event: Json) -> None:
        status = text_of(event, "response", "status")
        if status == "failed":
            response = event["response"]
            details = response.get("status_details")
            error = details.get("error") if isinstance(details, dict) else None
            self.fail(refusal(error, self._faults))
        elif status == "incomplete":
            # It was cut off by a limit: calls may be half written.
            self.calls.clear()
        self.over = True
        self._wake.set()

    def _put(self, piece: str | Pcm) -> None:
        if not self.given_up and not self._full and len(piece):
            self._queue.append(piece)
            self._wake.set()

    def _item(self, item_id: str) -> OutputItem | None:
        return next((item for item in self.items if item.item_id == item_id), None)

    # -- what the server is told --------------------------------------------------------

    def unsay(self, heard_ms: float) -> tuple[list[Json], float]:
        """What to send so that the conversation ends where hearing it did.

        ``heard_ms`` of its audio were played; returned with the rest of that, for the
        response after it.
        """
        messages: list[Json] = []
        for item in self.items:
            if not item.is_message:
                if self.calls or not self.over:
                    # A call without its result.
                    messages.append(delete(item.item_id))
                continue
            length_ms = item.length_ms
            upto_ms = min(int(heard_ms), length_ms)
            if upto_ms <= 0:
                # Before its first audio there is nothing that could be truncated.
                messages.append(delete(item.item_id))
            elif upto_ms < length_ms or not self.over:
                messages.append(truncate(item.item_id, item.content_index, upto_ms))
            heard_ms = max(heard_ms - length_ms, 0.0)
        return messages, heard_ms


def _is_call(event: Json) -> bool:
    return text_of(event, "item", "type") == "function_call"
