"""One answer: a response, and those that follow when it asks for tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from voicecore.core.conversation import Message, ToolCall
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.llm.tools import ToolBox
from voicecore.engines.s2s.protocol import SpeechItem
from voicecore.engines.s2s.realtime_response import Response
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """Seconds until a response's first piece, and between two; rounds of tools in an answer."""

    first_s: float = 8.0
    next_s: float = 5.0
    tool_rounds: int = 4


class Asks(Protocol):
    """What a reply wants of its session."""

    def follow_up(self, calls: list[ToolCall], results: list[str], *, tools: bool) -> Response:
        """Give the results of ``calls`` and ask for what comes after them."""
        ...

    def reply_failed(self, reply: RealtimeReply) -> None:
        """It raised: the connection is not to be trusted."""

    def reply_ended(self, reply: RealtimeReply, played_ms: float | None) -> None:
        """Make unsaid what was not played."""


class RealtimeReply:
    """A :class:`~voicecore.engines.s2s.protocol.SpeechReply`.

    ``begin()`` gives its first response, which may have been asked for already.
    """

    def __init__(
        self,
        session: Asks,
        begin: Callable[[], Awaitable[Response]],
        toolbox: ToolBox,
        limits: ReplyLimits,
        faults: Faults,
    ) -> None:
        self.responses: list[Response] = []
        self.ended = False
        self._session = session
        self._begin = begin
        self._toolbox = toolbox
        self._limits = limits
        self._faults = faults
        self._waiting_s = limits.first_s
        self._said = False
        self._texts_of = 0

    def __aiter__(self) -> RealtimeReply:
        """It is read once."""
        return self

    async def __anext__(self) -> SpeechItem:
        """The next piece of it."""
        try:
            if not self.responses:
                self.responses.append(await self._begin())
            response = self.responses[-1]
            item = await response.next(self._waiting_s)
            if item is not None:
                self._waiting_s = self._limits.next_s
                self._said = True
                return self._apart(item) if isinstance(item, str) else item
            if response.calls and not self.ended:
                return await self._run_tools(response)
            if not self._said and not self.ended:
                raise self._faults.error("refused", "the answer is empty")
        except EngineError:
            self._session.reply_failed(self)
            raise
        raise StopAsyncIteration

    def end(self, played_ms: float | None) -> None:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechReply`."""
        if not self.ended:
            self.ended = True
            self._session.reply_ended(self, played_ms)

    def _apart(self, text: str) -> str:
        """``text``, with a space where another response ended before it."""
        before, self._texts_of = self._texts_of, len(self.responses)
        return f" {text}" if 0 < before < self._texts_of else text

    async def _run_tools(self, response: Response) -> ToolExchange:
        # A call is given its result in the same step as it is taken off: who is cancelled
        # in between leaves calls without results, which `reply_ended` takes back.
        calls = response.calls
        results = await self._toolbox.run_all(calls)
        response.calls = []
        more = len(self.responses) < self._limits.tool_rounds
        self.responses.append(self._session.follow_up(calls, results, tools=more))
        self._waiting_s = self._limits.first_s
        return ToolExchange(
            (
                Message("assistant", "", tool_calls=tuple(calls)),
                *(
                    Message("tool", result, tool_call_id=call.call_id)
                    for call, result in zip(calls, results, strict=True)
                ),
            )
        )
