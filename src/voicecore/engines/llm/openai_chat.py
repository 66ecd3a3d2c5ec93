"""Any server that speaks OpenAI's streamed chat completions.

That is the wire format of Ollama, vLLM, llama.cpp and LM Studio, and of most
cloud vendors. One reply is one POST whose answer is read as it comes; a reply
that calls tools is a few of them, one after the other.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, fields
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from voicecore.core.conversation import Conversation
from voicecore.engines.llm.chat_messages import (
    JsonObject,
    assistant_message,
    request_messages,
    tool_message,
)
from voicecore.engines.llm.chat_stream import ChatStream
from voicecore.engines.llm.tools import Tool, ToolBox
from voicecore.errors import EngineError, MisuseError

_T = TypeVar("_T")

_NAME = "openai_chat"
_OWN_FIELDS = frozenset({"model", "messages", "stream", "tools", "tool_choice"})
_TAIL_S = 0.25
_ERROR_BODY_LIMIT = 4096
_KEEP_ALIVE_S = 30.0
_REASON = re.compile(r"[A-Za-z0-9_.-]{1,64}")

SYSTEM_PROMPT = (
    "You are talking with a caller on the phone. Answer in one to three short spoken "
    "sentences: no lists, no markup, no emoji."
)
"""What the model is told when no other system prompt is given."""

_HINTS = {
    400: "the server doesn't accept the request; check the model and the options",
    401: "check the API key",
    403: "check the API key and what it may use",
    404: "check the URL and the model's name",
    429: "the rate limit or the quota is used up",
}


@dataclass(frozen=True, slots=True)
class ChatTimeouts:
    """How long a reply may stand still, in seconds; each must be above 0.

    ``connect_s``: until the connection stands. ``first_token_s``: from the
    request to the first piece of text or tool call, connecting included (a local
    server may load its model in it). ``next_token_s``: between two pieces.
    ``tool_s``: one run of one tool. Time in which the consumer doesn't ask for
    the next piece doesn't count.
    """

    connect_s: float = 5.0
    first_token_s: float = 20.0
    next_token_s: float = 10.0
    tool_s: float = 20.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise MisuseError(f"{field.name} is {getattr(self, field.name)}, wanted above 0")


class OpenAiChat:
    """An LLM engine over HTTP, shared by all calls.

    ``url``: the server (``http://localhost:11434``), its API root (``…/v1``) or
    the full ``…/chat/completions``. ``api_key`` is sent as a bearer token and
    shown nowhere. ``tools``: functions the model may call, at most
    ``max_tool_rounds`` times in one reply, then it must answer without.
    ``options``: further fields of the request (``temperature``, ``max_tokens``…).

    Raises MisuseError for a URL, key or option that can't be used. Event-loop
    thread only. Connections are kept for the next reply, one per simultaneous one.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key: str = "",
        system_prompt: str = SYSTEM_PROMPT,
        greeting: str = "",
        tools: Iterable[Tool | Callable[..., Any]] = (),
        max_tool_rounds: int = 4,
        timeouts: ChatTimeouts | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not model:
            raise MisuseError("the model's name is empty: name a model that the server has")
        if max_tool_rounds < 0:
            raise MisuseError(f"max_tool_rounds is {max_tool_rounds}, wanted 0 or more")
        if taken := _OWN_FIELDS.intersection(options or {}):
            raise MisuseError(f"options may not set {', '.join(sorted(taken))}")
        self.name = _NAME
        self.greeting = greeting
        self.model = model
        self._url = chat_url(url)
        self._headers = _headers(api_key)
        self._system_prompt = system_prompt
        self._max_tool_rounds = max_tool_rounds
        self._timeouts = timeouts or ChatTimeouts()
        self._options = dict(options or {})
        self._tools = ToolBox(tools, timeout_s=self._timeouts.tool_s)
        self._session: aiohttp.ClientSession | None = None

    @property
    def speculative(self) -> bool:
        """Whether it may be asked in vain: tools do more than answer."""
        return not self._tools.specs

    def __repr__(self) -> str:
        return f"OpenAiChat(url={self._shown_url!r}, model={self.model!r})"

    async def start(self) -> None:
        """Make the HTTP session. The server need not be up yet."""
        if self._session is None:
            timeouts = self._timeouts
            self._session = aiohttp.ClientSession(
                # No limit: there is one request per call, and calls are admitted elsewhere.
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
            )

    def reply(self, conversation: Conversation) -> AsyncGenerator[str, None]:
        """Yield the answer to ``conversation`` as it stands now, piece by piece.

        Closing the iterator or cancelling the task closes the HTTP connection at
        once. Raises MisuseError outside of :meth:`start` and :meth:`close`, and
        EngineError with one of these codes, after the pieces that came before:

        - ``llm_unreachable``: no connection, or closed before any answer
        - ``llm_http_status``: an answer other than 200
        - ``llm_timeout``: connecting, the first or the next token took too long
        - ``llm_bad_stream``: the answer is not a chat-completions stream
        - ``llm_cut``: the connection closed in mid-answer
        - ``llm_tool_rounds``: tools were asked for beyond ``max_tool_rounds``
        """
        if self._session is None:
            raise MisuseError("the LLM engine is not started: await start() first")
        return self._reply(self._session, request_messages(self._system_prompt, conversation))

    async def close(self) -> None:
        """Close all connections; replies under way end with an EngineError."""
        session, self._session = self._session, None
        self._tools.close()
        if session is not None:
            await session.close()

    async def _reply(
        self, session: aiohttp.ClientSession, messages: list[JsonObject]
    ) -> AsyncGenerator[str, None]:
        for rounds_left in range(self._max_tool_rounds, -1, -1):
            stream = ChatStream(_NAME)
            said: list[str] = []
            body = self._body(messages, may_call=rounds_left > 0)
            async with aclosing(self._stream(session, body, stream)) as pieces:
                async for piece in pieces:
                    said.append(piece)
                    yield piece
            calls = stream.tool_calls()
            if not calls:
                return
            if rounds_left == 0:
                break
            results = await self._tools.run_all(calls)
            messages += assistant_message("".join(said), calls)
            messages += map(tool_message, calls, results)
        raise self._error(
            f"the model asked for tools more than {self._max_tool_rounds} times in one reply",
            "llm_tool_rounds",
        )

    def _body(self, messages: list[JsonObject], *, may_call: bool) -> JsonObject:
        body = {**self._options, "model": self.model, "messages": messages, "stream": True}
        if specs := self._tools.specs:
            # The tools stay listed: messages that mention calls are refused without.
            body |= {"tools": specs, "tool_choice": "auto" if may_call else "none"}
        return body

    async def _stream(
        self, session: aiohttp.ClientSession, body: JsonObject, stream: ChatStream
    ) -> AsyncGenerator[str, None]:
        patience = _Patience(self._timeouts.first_token_s)
        response = await self._post(session, body, patience)
        try:
            await self._check_answer(response, patience)
            while chunk := await self._read(response, stream, patience):
                before = stream.tokens
                for piece in stream.feed(chunk):
                    yield piece
                if stream.tokens > before:
                    patience.left_s = self._timeouts.next_token_s
            if not stream.finished:
                raise self._error("the LLM server closed the stream in mid-answer", "llm_cut")
        finally:
            # At the end of the answer the connection is back in the pool already, and
            # this does nothing; before it, the server sees the connection closed.
            response.close()

    async def _post(
        self, session: aiohttp.ClientSession, body: JsonObject, patience: _Patience
    ) -> aiohttp.ClientResponse:
        attempts = 2
        while True:
            attempts -= 1
            try:
                return await patience.wait(
                    session.post(self._url, json=body, allow_redirects=False)
                )
            except aiohttp.ServerTimeoutError as error:
                raise self._timed_out("no connection", self._timeouts.connect_s) from error
            except TimeoutError as error:
                raise self._timed_out("no answer", self._timeouts.first_token_s) from error
            except aiohttp.ClientSSLError as error:
                raise self._error(
                    f"TLS with {self._shown_url} failed ({type(error).__name__}): check the "
                    "server's certificate, and whether the URL should begin with http:",
                    "llm_unreachable",
                ) from error
            except aiohttp.ClientConnectorError as error:
                raise self._unreachable() from error
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # Likely a kept connection that the server gave up meanwhile: once more.
                if attempts == 0:
                    raise self._unreachable() from error
            except aiohttp.ClientError as error:
                raise self._error(
                    f"{self._shown_url} did not answer in HTTP ({type(error).__name__})",
                    "llm_unreachable",
                ) from error

    async def _read(
        self, response: aiohttp.ClientResponse, stream: ChatStream, patience: _Patience
    ) -> bytes:
        """The next bytes, or ``b""`` at the end.

        Once the answer is whole, what follows (usage figures, the end of the
        body) is read only so that the connection can be kept: shortly, and
        whatever goes wrong.
        """
        if stream.finished:
            patience.left_s = min(patience.left_s, _TAIL_S)
        try:
            return await patience.wait(response.content.readany())
        except TimeoutError as error:
            if stream.finished:
                return b""
            if stream.tokens:
                raise self._timed_out("no further token", self._timeouts.next_token_s) from error
            raise self._timed_out("no first token", self._timeouts.first_token_s) from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError: aiohttp's word for reading after this session was closed.
            if stream.finished:
                return b""
            raise self._error("the LLM server's stream broke in mid-answer", "llm_cut") from error

    async def _check_answer(self, response: aiohttp.ClientResponse, patience: _Patience) -> None:
        if response.status != 200:
            hint = _HINTS.get(response.status, "see the server's log")
            if 300 <= response.status < 400:
                hint = "configure the URL it redirects to"
            reason = await _reason(response, patience)
            raise self._error(
                f"{self._shown_url} answered HTTP {response.status}{reason}: {hint}",
                "llm_http_status",
            )
        if response.content_type in ("application/json", "text/html"):
            raise self._error(
                f"{self._shown_url} answered {response.content_type}, not an event stream: "
                "check the URL",
                "llm_bad_stream",
            )

    @property
    def _shown_url(self) -> str:
        """Without the query, which may hold a key."""
        return urlunsplit(urlsplit(self._url)._replace(query=""))

    def _unreachable(self) -> EngineError:
        return self._error(
            f"no LLM server answers at {self._shown_url}: check that it runs, and the URL",
            "llm_unreachable",
        )

    def _timed_out(self, what: str, limit_s: float) -> EngineError:
        return self._error(f"{what} from {self._shown_url} within {limit_s:g} s", "llm_timeout")

    def _error(self, message: str, code: str) -> EngineError:
        return EngineError(message, engine=_NAME, code=code)


class _Patience:
    """A budget of waiting time: only waiting for the server uses it up."""

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s

    async def wait(self, what: Awaitable[_T]) -> _T:
        """Await ``what``; raises TimeoutError when the budget is used up."""
        now = asyncio.get_running_loop().time
        begin = now()
        try:
            async with asyncio.timeout(self.left_s):
                return await what
        finally:
            self.left_s -= now() - begin


def chat_url(url: str) -> str:
    """Return the full URL to post to.

    A bare server gets ``/v1/chat/completions``, a path ``/chat/completions``, and
    a full URL stays; a trailing slash changes nothing, a query is kept. Raises
    MisuseError for anything but http(s), and for credentials in the URL.
    """
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    # Neither what stands before an @ nor a query is repeated: they hold secrets.
    if "@" in url.partition("?")[0]:
        raise MisuseError("the LLM URL holds credentials: give the key as api_key instead")
    if not good:
        raise MisuseError(
            f"the LLM URL {url.partition('?')[0]!r} is not of the form http(s)://host[:port][/path]"
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = (path or "/v1") + "/chat/completions"
    return urlunsplit(parts._replace(path=path, fragment=""))


def _headers(api_key: str) -> dict[str, str]:
    headers = {"Accept": "text/event-stream", "User-Agent": "voicecore"}
    # A key read from a file or a secret often ends in a newline.
    key = api_key.strip()
    if key:
        if not key.isascii() or not key.isprintable():
            raise MisuseError("the API key holds characters that no HTTP header can carry")
        headers["Authorization"] = f"Bearer {key}"
    return headers


async def _reason(response: aiohttp.ClientResponse, patience: _Patience) -> str:
    """The error's machine-readable code in brackets, or nothing.

    Its message is left out: servers quote the conversation in it.
    """
    try:
        body = json.loads(await patience.wait(response.content.read(_ERROR_BODY_LIMIT)))
        error = body["error"]
        words = (error.get(key) for key in ("code", "type"))
        return next(
            (f" ({word})" for word in words if isinstance(word, str) and _REASON.fullmatch(word)),
            "",
        )
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""
