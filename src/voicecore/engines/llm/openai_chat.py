"""Any server that speaks OpenAI's streamed chat completions.

That is the wire format of Ollama, vLLM, llama.cpp and LM Studio, and of most
cloud vendors. One reply is one POST whose answer is read as it comes; a reply
that calls tools is a few of them, one after the other.
"""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Any, Literal

import aiohttp

from voicecore.core.conversation import Conversation, ToolCall
from voicecore.core.tool_exchange import ToolExchange
from voicecore.engines.llm.chat_messages import (
    JsonObject,
    assistant_message,
    exchange_messages,
    request_messages,
)
from voicecore.engines.llm.chat_stream import ChatStream
from voicecore.engines.llm.chat_wire import ChatTimeouts, ChatWire, chat_url
from voicecore.engines.llm.history import tokens_of, within
from voicecore.engines.llm.tool_loader import all_tools
from voicecore.engines.llm.tool_rounds import ToolRound, ToolRounds
from voicecore.engines.llm.tools import Tool, ToolBox
from voicecore.engines.options import Option, Secret
from voicecore.engines.wire.faults import Faults, shown_url
from voicecore.errors import MisuseError

_OWN_FIELDS = frozenset({"model", "messages", "stream", "tools", "tool_choice"})
_REPLY_FIELDS = frozenset({"max_tokens", "max_completion_tokens"})

_REPLY_TOKENS = 512
"""Left free for a reply of which no length is set."""

_LEAST_HISTORY_TOKENS = 256

_ALIVE_S = 3.0
"""How often a reply gives a sign of life while its tools run."""

SYSTEM_PROMPT = (
    "You are talking with a caller on the phone. Answer in one to three short spoken "
    "sentences: no lists, no markup, no emoji."
)
"""What the model is told when no other system prompt is given."""

PROGRESS = "One moment."
"""What the caller hears while tools take long, when nothing else is given."""


class OpenAiChat:
    """An LLM engine over HTTP, shared by all calls.

    ``url``: the server (``http://localhost:11434``), its API root (``…/v1``) or
    the full ``…/chat/completions``. ``key`` is sent as a bearer token and shown
    nowhere.

    ``tools``: functions the model may call (:mod:`~voicecore.engines.llm.tools`), or
    where they are (``module:name``, :func:`~voicecore.engines.llm.tool_loader.load_tools`),
    at most ``max_tool_rounds`` times in one reply, then it must answer without. If
    a round takes longer than ``progress_after_s``, ``progress`` (or the tool's own
    phrase) is said, once a reply; ``""``: nothing is.

    ``context_tokens`` bounds a request as :mod:`~voicecore.engines.llm.history`
    estimates it, the reply included. ``max_reply_tokens`` is sent as
    ``max_reply_field``, 0: not at all. ``options``: further fields of the request
    (``temperature``…). Times in seconds, above 0: ``connect_s`` until a connection
    stands, ``first_token_s`` from the request to the first piece, ``next_token_s``
    between two, ``tool_timeout_s`` for one run of a tool.

    Raises MisuseError for what can't be used. Event-loop thread only. Connections
    are kept for the next reply, one for each simultaneous one.
    """

    def __init__(
        self,
        url: Annotated[
            str, Option("the server, its API root (…/v1) or the address of its chat completions")
        ] = "https://api.openai.com/v1",
        model: Annotated[str, Option("its name at that server", required=True)] = "",
        *,
        key: Annotated[
            str, Secret("API key, where the server wants one", variable="OPENAI_API_KEY")
        ] = "",
        system_prompt: Annotated[str, Option("what the model is told first")] = SYSTEM_PROMPT,
        greeting: Annotated[str, Option("what is said when a call begins")] = "",
        tools: Annotated[
            str | Iterable[str | Tool | Callable[..., Any]],
            Option("functions the model may call: module:name of a list, or a module"),
        ] = (),
        max_tool_rounds: Annotated[int, Option("how often a reply may call tools")] = 4,
        tool_timeout_s: Annotated[float, Option("longest run of a tool")] = 20.0,
        progress: Annotated[str, Option("said while tools take long; empty: nothing")] = PROGRESS,
        progress_after_s: Annotated[float, Option("so long tools run in silence")] = 1.0,
        context_tokens: Annotated[int, Option("longest request and reply, estimated")] = 8000,
        max_reply_tokens: Annotated[int, Option("longest reply; 0: the server's choice")] = 0,
        max_reply_field: Annotated[
            Literal["max_tokens", "max_completion_tokens"],
            Option("how the server calls that; OpenAI's newer models want the second"),
        ] = "max_tokens",
        options: Annotated[
            Mapping[str, Any] | None, Option("further fields of the request, temperature say")
        ] = None,
        connect_s: Annotated[float, Option("until the connection stands")] = 3.0,
        first_token_s: Annotated[float, Option("until the first piece of a reply")] = 20.0,
        next_token_s: Annotated[float, Option("until the next piece of it")] = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not model:
            raise MisuseError("the model's name is empty: name a model that the server has")
        if max_tool_rounds < 0:
            raise MisuseError(f"max_tool_rounds is {max_tool_rounds}, wanted 0 or more")
        if not progress_after_s >= 0:
            raise MisuseError(f"progress_after_s is {progress_after_s}, wanted 0 or more")
        if taken := _OWN_FIELDS.intersection(options or {}):
            raise MisuseError(f"options may not set {', '.join(sorted(taken))}")
        self.name = "openai"
        self.greeting = greeting
        self.model = model
        self._faults = Faults("llm", self.name, "check its API key (key, or OPENAI_API_KEY)")
        timeouts = ChatTimeouts(connect_s, first_token_s, next_token_s)
        self._wire = ChatWire(chat_url(url), key, timeouts, self._faults, tls=tls)
        self._system_prompt = system_prompt
        self._max_tool_rounds = max_tool_rounds
        self._options = {**(options or {}), **_length(max_reply_tokens, max_reply_field, options)}
        self._tools = ToolBox(all_tools(tools), timeout_s=tool_timeout_s)
        self._rounds = ToolRounds(self._tools)
        self._progress = progress
        self._progress_after_s = progress_after_s
        self._budget = self._history_tokens(context_tokens, max_reply_tokens or _REPLY_TOKENS)

    repeatable = True
    """Tools run behind the first piece alone."""

    @property
    def speculative(self) -> bool:
        """Whether it may be asked in vain: tools do more than answer."""
        return not self._tools.specs

    def __repr__(self) -> str:
        return f"OpenAiChat(url={shown_url(self._wire.url)!r}, model={self.model!r})"

    async def start(self) -> None:
        """Make the HTTP session. The server need not be up yet."""
        await self._wire.start()

    async def warm(self) -> None:
        """See that a connection to the server is there, within ``connect_s`` and silently."""
        await self._wire.warm()

    def reply(self, conversation: Conversation) -> AsyncGenerator[str | ToolExchange, None]:
        """Yield the answer to ``conversation`` as it stands now, piece by piece.

        A :class:`ToolExchange` among the pieces tells what tools did, for the
        conversation: of this reply, or first of all what an earlier reply to the same
        :class:`Conversation` object left behind when it was closed. While tools run
        an empty piece comes now and then, and one before they do.

        Closing the iterator or cancelling the task closes the HTTP connection at
        once and cancels tools but for uninterruptible ones. Raises MisuseError outside
        of :meth:`start` and :meth:`close`, and EngineError with one of these codes,
        after the pieces that came before:

        - ``llm_unreachable``: no connection, or closed before any answer
        - ``llm_key``: HTTP 401 or 403
        - ``llm_rate_limited``: HTTP 429; ``retry_after_s`` as the server said
        - ``llm_http_status``: another answer than 200
        - ``llm_timeout``: connecting, the first or the next token took too long
        - ``llm_bad_message``: the answer is not a chat-completions stream
        - ``llm_refused``: the server reported an error in mid-answer
        - ``llm_closed``: the connection closed in mid-answer
        - ``llm_tool_rounds``: tools were asked for beyond ``max_tool_rounds``
        """
        messages = request_messages(self._system_prompt, conversation)
        return self._reply(self._wire.session, conversation, messages)

    async def close(self) -> None:
        """Close all connections and end all tools; replies under way end with an EngineError."""
        await self._rounds.close()
        self._tools.close()
        await self._wire.close()

    async def _reply(
        self,
        session: aiohttp.ClientSession,
        conversation: Conversation,
        messages: list[JsonObject],
    ) -> AsyncGenerator[str | ToolExchange, None]:
        for exchange in self._rounds.untold(conversation):
            messages += exchange_messages(exchange)
            yield exchange
        phrase = self._progress
        for rounds_left in range(self._max_tool_rounds, -1, -1):
            stream = ChatStream(self._faults)
            said: list[str] = []
            body = self._body(messages, may_call=rounds_left > 0)
            async with aclosing(self._wire.stream(session, body, stream)) as pieces:
                async for piece in pieces:
                    said.append(piece)
                    yield piece
            calls = _with_ids_of_their_own(stream.tool_calls(), messages)
            if not calls:
                return
            if rounds_left == 0:
                break
            async with aclosing(self._run(conversation, calls, phrase, said)) as items:
                async for item in items:
                    if isinstance(item, ToolExchange):
                        results = exchange_messages(item)[1:]
                    elif item:
                        phrase = ""
                    yield item
            messages += [*assistant_message("".join(said), calls), *results]
        raise self._faults.error(
            "tool_rounds",
            f"the model asked for tools more than {self._max_tool_rounds} times in one reply",
        )

    async def _run(
        self,
        conversation: Conversation,
        calls: tuple[ToolCall, ...],
        phrase: str,
        said: list[str],
    ) -> AsyncGenerator[str | ToolExchange, None]:
        """Run a round of tools; yield what is said meanwhile, then what they did."""
        tools: ToolRound = self._rounds.begin(conversation, calls)
        try:
            # Whoever waits for the answer learns that the model has given one; from here
            # on nobody else may be asked, for what tools do is done.
            yield ""
            if phrase and not await tools.wait(self._progress_after_s):
                glue = "" if not said or said[-1][-1:].isspace() else " "
                yield f"{glue}{tools.phrase(phrase)} "
            while not await tools.wait(_ALIVE_S):
                yield ""
            tools.told += 1
            yield tools.exchange()
        finally:
            await self._rounds.leave(tools)

    def _body(self, messages: list[JsonObject], *, may_call: bool) -> JsonObject:
        sent = within(messages, self._budget)
        body = {**self._options, "model": self.model, "messages": sent, "stream": True}
        if specs := self._tools.specs:
            # The tools stay listed: messages that mention calls are refused without.
            body |= {"tools": specs, "tool_choice": "auto" if may_call else "none"}
        return body

    def _history_tokens(self, context_tokens: int, reply_tokens: int) -> int:
        specs = tokens_of(json.dumps(self._tools.specs, ensure_ascii=False))
        fixed = reply_tokens + specs + tokens_of(self._system_prompt)
        if context_tokens - fixed < _LEAST_HISTORY_TOKENS:
            raise MisuseError(
                f"context_tokens is {context_tokens}: the system prompt, the tools and the reply "
                f"take {fixed} of it, and what was said needs {_LEAST_HISTORY_TOKENS} at least"
            )
        return context_tokens - reply_tokens - specs


def _with_ids_of_their_own(
    calls: Iterable[ToolCall], messages: Iterable[JsonObject]
) -> tuple[ToolCall, ...]:
    """The calls, renamed where a server counts them anew in each answer."""
    taken = {call["id"] for message in messages for call in message.get("tool_calls", ())}
    own = []
    for call in calls:
        named = replace(call, call_id=uuid.uuid4().hex[:9]) if call.call_id in taken else call
        taken.add(named.call_id)
        own.append(named)
    return tuple(own)


def _length(tokens: int, field: str, options: Mapping[str, Any] | None) -> JsonObject:
    if tokens < 0:
        raise MisuseError(f"max_reply_tokens is {tokens}, wanted 0 or more")
    if not tokens:
        return {}
    if taken := _REPLY_FIELDS.intersection(options or {}):
        names = ", ".join(sorted(taken))
        raise MisuseError(f"both max_reply_tokens and options set {names}: give one of them")
    if field not in _REPLY_FIELDS:
        raise MisuseError(f"max_reply_field is {field!r}, wanted {' or '.join(_REPLY_FIELDS)}")
    return {field: tokens}
