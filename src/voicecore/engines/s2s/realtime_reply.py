"""One answer: a response, and those that follow when it asks for tools."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from voicecore.core.conversation import Conversation
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.llm.tool_rounds import ToolRounds
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


class Begun(NamedTuple):
    """An answer's first response, and what tools did that is told before it."""

    response: Response
    exchanges: list[ToolExchange]


class Asks(Protocol):
    """What a reply wants of its session."""

    def follow_up(self, exchange: ToolExchange, *, tools: bool) -> Response:
        """Tell what tools did and ask for what comes after it."""
        ...

    def reply_failed(self, reply: RealtimeReply) -> None:
        """It raised: the connection is not to be trusted."""

    def reply_ended(self, reply: RealtimeReply, played_ms: float | None) -> None:
        """Make unsaid what was not played."""


class RealtimeReply:
    """A :class:`~voicecore.engines.s2s.protocol.SpeechReply`.

    ``begin()`` gives its first response, which may have been asked for already. Tools
    run only while it is read: for a turn that isn't over none is.
    """

    def __init__(
        self,
        session: Asks,
        begin: Callable[[], Awaitable[Begun]],
        conversation: Conversation,
        rounds: ToolRounds,
        limits: ReplyLimits,
        faults: Faults,
    ) -> None:
        self.responses: list[Response] = []
        self.ended = False
        self._session = session
        self._begin = begin
        self._conversation = conversation
        self._rounds = rounds
        self._limits = limits
        self._faults = faults
        self._waiting_s = limits.first_s
        self._said = False
        self._texts_of = 0
        self._told: deque[ToolExchange] = deque()

    def __aiter__(self) -> RealtimeReply:
        """It is read once."""
        return self

    async def __anext__(self) -> SpeechItem:
        """The next piece of it."""
        try:
            if not self.responses:
                response, exchanges = await self._begin()
                self.responses.append(response)
                self._told.extend(exchanges)
            if self._told:
                return self._told.popleft()
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
        made = self._rounds.begin(self._conversation, response.calls)
        try:
            await made.wait()
        finally:
            # Whoever is cancelled here leaves calls without results, which are taken back
            # (`Response.unsay`); the next answer begins by telling what became of them.
            await self._rounds.leave(made)
        made.told += 1
        exchange = made.exchange()
        response.calls = []
        more = len(self.responses) < self._limits.tool_rounds
        self.responses.append(self._session.follow_up(exchange, tools=more))
        self._waiting_s = self._limits.first_s
        return exchange
