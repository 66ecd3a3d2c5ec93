r"""One call's conversation with a model behind the Realtime API.

::

    caller   ¯¯¯¯¯¯¯\____________________________/¯¯¯¯¯¯¯¯¯\______
    append   ■ ■ ■ ■                              ■ ■ ■ ■ ■
    commit           ▲ response.create            ▲         ▲ response.create
    answer           ░░░ unheard ░░▓▓▓▓ played ▓▓▓│ cancel, truncate at what was played
    words               ▲ transcript; answer() is asked for when the turn is over

The answer is asked for with the end of each stretch of speech, before its words are
known: what the transcription takes costs the caller nothing. If the caller goes on
it is dropped, and nothing of it stays in the model's memory. How often that may be in
vain is a budget of the kind :mod:`voicecore.core.speculation` has; beyond it, answers
are asked for when they are wanted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from itertools import takewhile

from voicecore.core.conversation import Conversation, Message
from voicecore.core.speculation import SpeculationBudget
from voicecore.core.tool_exchange import ToolExchange
from voicecore.core.units import NS_PER_S
from voicecore.engines.llm.tool_rounds import ToolRounds
from voicecore.engines.protocols import Pcm, SttStream
from voicecore.engines.s2s import realtime_wire as wire
from voicecore.engines.s2s.protocol import UNKNOWN_WORDS
from voicecore.engines.s2s.realtime_link import Endpoint, RealtimeLink
from voicecore.engines.s2s.realtime_queue import ResponseQueue
from voicecore.engines.s2s.realtime_reply import Begun, RealtimeReply, ReplyLimits
from voicecore.engines.s2s.realtime_response import Response
from voicecore.engines.s2s.realtime_utterance import RealtimeUtterance
from voicecore.engines.s2s.realtime_wire import Json
from voicecore.engines.wire.client import WireClient
from voicecore.errors import EngineError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What bounds one call's session.

    ``transcript_s``: how long an utterance's words are waited for after its end.
    ``wasted_per_minute``: answers begun in vain; 0: none is begun before it is wanted.
    ``remembered``: messages told to a new connection. ``age_s``: of a connection that
    is replaced by a new one between two answers (the provider ends it after an hour).
    """

    transcript_s: float = 1.5
    wasted_per_minute: int = 12
    remembered: int = 60
    age_s: float = 3300.0
    reply: ReplyLimits = field(default_factory=ReplyLimits)


class RealtimeSession:
    """A :class:`~voicecore.engines.s2s.protocol.SpeechSession`."""

    def __init__(
        self,
        client: WireClient,
        endpoint: Endpoint,
        conversation: Conversation,
        *,
        rounds: ToolRounds,
        transcribed: bool,
        limits: SessionLimits,
    ) -> None:
        self.encoded = False
        self._client = client
        self._endpoint = endpoint
        self._conversation = conversation
        self._rounds = rounds
        self._transcribed = transcribed
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._budget = SpeculationBudget(limits.wasted_per_minute)
        self._link: RealtimeLink | None = None
        self._connecting: asyncio.Task[RealtimeLink] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False
        # Utterances: the first of `_open` has the input buffer.
        self._open: deque[RealtimeUtterance] = deque()
        self._uncommitted: deque[RealtimeUtterance] = deque()
        self._awaited: list[RealtimeUtterance] = []
        self._spoken: list[tuple[str, RealtimeUtterance]] = []
        self._given: Message | None = None
        self._responses = ResponseQueue(self._send, client.faults)
        self._early: Response | None = None
        self._reply: RealtimeReply | None = None

    # -- for the driver -------------------------------------------------------------

    async def warm(self) -> None:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechSession`."""
        try:
            await self._connected()
        except EngineError as error:
            _LOG.warning("%s can't be reached yet: %s", error.engine, error.code)

    async def open(self, on_partial: Callable[[str], None]) -> SttStream:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechSession`.

        Words are known only after the end of an utterance: ``on_partial`` is told none.
        """
        await self._connected()
        self._drop_early()
        utterance = RealtimeUtterance(self, self._transcribed, self._limits.transcript_s)
        self._open.append(utterance)
        return utterance

    def answer(self) -> RealtimeReply:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechSession`."""
        return self._reply_of(self._begin_answer)

    def say(self, text: str) -> RealtimeReply:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechSession`."""

        async def begin() -> Begun:
            await self._connected()
            self._drop_early()
            return Begun(self._responses.ask(wire.create_response(text)), [])

        return self._reply_of(begin)

    async def close(self) -> None:
        """See :class:`~voicecore.engines.s2s.protocol.SpeechSession`."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        self._lose(self._client.faults.error("closed", "the call is over"))
        await asyncio.gather(*self._leaving, return_exceptions=True)

    # -- the connection -----------------------------------------------------------------

    async def _connected(self) -> RealtimeLink:
        link = self._link
        if link is not None and link.is_open and not self._is_worn(link):
            return link
        if self._closed:
            raise self._client.faults.error("closed", "the call is over")
        if self._connecting is None:
            self._connecting = self._loop.create_task(self._connect(), name="s2s-connect")
            self._connecting.add_done_callback(self._on_connected)
        # Whoever gives up waiting doesn't spoil it for the others.
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> RealtimeLink:
        if self._link is not None:
            self._lose(self._client.faults.error("closed", "it was closed by us"))
        link: RealtimeLink = await RealtimeLink.open(
            self._client,
            self._endpoint,
            lambda event: self._on_event(event) if self._link is link else None,
            lambda error: self._lose(error) if self._link is link else None,
        )
        self._link = link
        messages = self._conversation.messages
        for item in wire.history(messages, self._limits.remembered, UNKNOWN_WORDS):
            link.send(wire.create_item(item))
        self._given = messages[-1] if messages else None
        return link

    def _on_connected(self, task: asyncio.Task[RealtimeLink]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # whoever waited has it

    def _lose(self, error: EngineError) -> None:
        """The connection is dead, or not to be trusted: whatever lived on it is over."""
        link, self._link = self._link, None
        if link is not None:
            closing = self._loop.create_task(link.close(), name="s2s-close")
            self._leaving.add(closing)
            closing.add_done_callback(self._leaving.discard)
        for utterance in (*self._open, *self._uncommitted, *self._awaited):
            utterance.lose(error)
        self._responses.lose(error)
        self._open.clear()
        self._uncommitted.clear()
        self._awaited.clear()
        self._spoken.clear()
        self._early = None

    def _is_worn(self, link: RealtimeLink) -> bool:
        """Whether it should be replaced now, that nothing lives on it."""
        busy = self._open or self._awaited or self._reply is not None or self._early is not None
        return link.age_s > self._limits.age_s and not busy and self._responses.is_idle

    def _send(self, message: Json) -> str:
        return self._link.send(message) if self._link is not None else ""

    # -- utterances -----------------------------------------------------------------------

    def has_floor(self, utterance: RealtimeUtterance) -> bool:
        """See :class:`TakesAudio`."""
        return bool(self._open) and self._open[0] is utterance

    def append(self, pcm: Pcm) -> None:
        """See :class:`TakesAudio`."""
        if self._link is not None:
            self._link.send_audio(wire.append(pcm))

    def commit(self, utterance: RealtimeUtterance) -> None:
        """See :class:`TakesAudio`."""
        utterance.commit_id = self._send({"type": "input_audio_buffer.commit"})
        self._uncommitted.append(utterance)
        self._awaited.append(utterance)
        self._leave_floor(utterance)
        self._drop_early()
        if self._reply is None and self._budget.allows(self._now_ns()):
            self._early = self._responses.ask(wire.create_response())

    def clear(self, utterance: RealtimeUtterance) -> None:
        """See :class:`TakesAudio`."""
        if self.has_floor(utterance):
            self._send({"type": "input_audio_buffer.clear"})
        self._leave_floor(utterance)

    def understood(self, utterance: RealtimeUtterance, text: str) -> None:
        """See :class:`TakesAudio`."""
        if utterance in self._awaited:
            self._awaited.remove(utterance)
        if not text.strip():
            self.take_back(utterance)
        else:
            self._spoken.append((text.strip(), utterance))

    def take_back(self, utterance: RealtimeUtterance) -> None:
        """See :class:`TakesAudio`."""
        if utterance in self._awaited:
            self._awaited.remove(utterance)
        if not self._open and not self._awaited:
            self._drop_early()
        self._forget(utterance)

    def _forget(self, utterance: RealtimeUtterance) -> None:
        if utterance.item_id:
            self._send(wire.delete(utterance.item_id))
        utterance.unwanted = True

    def _leave_floor(self, utterance: RealtimeUtterance) -> None:
        if utterance in self._open:
            self._open.remove(utterance)
        if self._open:
            self._open[0].take_floor()

    # -- answers --------------------------------------------------------------------------

    def _reply_of(self, begin: Callable[[], Awaitable[Begun]]) -> RealtimeReply:
        limits, faults = self._limits.reply, self._client.faults
        reply = RealtimeReply(self, begin, self._conversation, self._rounds, limits, faults)
        self._reply = reply
        return reply

    async def _begin_answer(self) -> Begun:
        await self._connected()
        early, self._early = self._early, None
        typed, exchanges = self._untold(), self._rounds.untold(self._conversation)
        if early is not None and not typed and not exchanges:
            return Begun(early, [])
        if early is not None:
            self._responses.give_up(early, 0.0)
        news = [message for exchange in exchanges for message in exchange.messages]
        if typed:
            news.append(Message("user", typed))
        self._tell(news)
        return Begun(self._responses.ask(wire.create_response()), exchanges)

    def _untold(self) -> str:
        """What the caller said by other means than his voice (keys), and is unanswered.

        Of what he spoke, items that the conversation doesn't hold are deleted: they
        turned out to be no part of it.
        """
        messages = self._conversation.messages
        fresh = list(takewhile(lambda m: m is not self._given, reversed(messages)))
        if len(fresh) == len(messages):
            fresh = list(takewhile(lambda m: m.role != "assistant", fresh))
        said = " ".join(m.text for m in reversed(fresh) if m.role == "user")
        for text, utterance in self._spoken:
            if text in said:
                said = said.replace(text, "", 1)
            else:
                self._forget(utterance)
        self._spoken.clear()
        self._given = messages[-1] if messages else None
        return " ".join(said.split())

    def follow_up(self, exchange: ToolExchange, *, tools: bool) -> Response:
        """See :class:`Asks`."""
        # The calls are the model's own items already.
        self._tell(message for message in exchange.messages if message.role == "tool")
        return self._responses.ask(wire.create_response(tools=tools))

    def _tell(self, messages: Iterable[Message]) -> None:
        for message in messages:
            for item in wire.message_items(message):
                self._send(wire.create_item(item))

    def reply_failed(self, reply: RealtimeReply) -> None:
        """See :class:`Asks`."""
        if self._link is not None and reply.responses and not reply.responses[-1].over:
            self._lose(self._client.faults.error("closed", "it did not go on"))

    def reply_ended(self, reply: RealtimeReply, played_ms: float | None) -> None:
        """See :class:`Asks`."""
        if self._reply is reply:
            self._reply = None
        if not reply.responses:
            self._drop_early()
        for response in reply.responses:
            if played_ms is not None:
                played_ms = self._responses.give_up(response, played_ms)

    def _drop_early(self) -> None:
        """Nobody will hear what was begun early."""
        early, self._early = self._early, None
        if early is not None:
            self._budget.waste(self._now_ns())
            self._responses.give_up(early, 0.0)

    # -- what the server tells ----------------------------------------------------------------

    def _on_event(self, event: Json) -> None:
        kind = event["type"]
        if kind.startswith("response."):
            self._responses.take(event)
        elif kind == "input_audio_buffer.committed":
            self._on_committed(wire.text_of(event, "item_id"))
        elif kind.startswith("conversation.item.input_audio_transcription."):
            self._on_transcript(kind.rpartition(".")[2], event)
        elif kind == "error":
            self._on_error(event)

    def _on_committed(self, item_id: str) -> None:
        if self._uncommitted:
            utterance = self._uncommitted.popleft()
            utterance.item_id = item_id
            if utterance.unwanted:
                self._send(wire.delete(item_id))

    def _on_transcript(self, kind: str, event: Json) -> None:
        item_id = wire.text_of(event, "item_id")
        utterance = next((u for u in self._awaited if u.item_id == item_id), None)
        if utterance is None or utterance.text.done():
            return
        if kind == "delta":
            utterance.heard_so_far += wire.text_of(event, "delta")
        elif kind == "completed":
            utterance.text.set_result(wire.text_of(event, "transcript").strip())
        elif kind == "failed":
            utterance.text.set_result(utterance.heard_so_far.strip() or UNKNOWN_WORDS)

    def _on_error(self, event: Json) -> None:
        faults = self._client.faults
        error = wire.refusal(event.get("error"), faults)
        about = wire.text_of(event, "error", "event_id")
        if wire.text_of(event, "error", "code") == "session_expired":
            self._lose(error)
            return
        if self._responses.refused(event):
            return
        for utterance in self._uncommitted:
            if about and utterance.commit_id == about:
                self._uncommitted.remove(utterance)
                self._on_not_committed(utterance, event, error)
                return
        # Of a cancellation or truncation that came too late: it changes nothing.
        _LOG.info("the provider reported an error (%s)", error.code)

    def _on_not_committed(
        self, utterance: RealtimeUtterance, event: Json, error: EngineError
    ) -> None:
        if wire.text_of(event, "error", "code") == "input_audio_buffer_commit_empty":
            if not utterance.text.done():
                utterance.text.set_result("")
        else:
            utterance.lose(error)

    def _now_ns(self) -> int:
        return round(self._loop.time() * NS_PER_S)
