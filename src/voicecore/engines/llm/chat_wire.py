"""HTTP with one server of chat completions: a request out, its answer read as it comes."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass, fields
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from voicecore.engines.llm.chat_stream import ChatStream
from voicecore.engines.wire.client import WireClient
from voicecore.engines.wire.faults import Faults, retry_after_s, shown_url
from voicecore.engines.wire.settings import checked_url, header_key
from voicecore.errors import EngineError, MisuseError

_T = TypeVar("_T")

_TAIL_S = 0.25
_ERROR_BODY_LIMIT = 4096
_REASON = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_IDLE_S = 4.0
"""So long after its last answer a connection surely stands: small servers close an idle
one after five seconds (uvicorn's default; general knowledge)."""

_MODELS_LIMIT = 1 << 20
"""A list of models longer than this is not read to its end; its connection goes with it."""

_HINTS = {
    400: "the server doesn't accept the request; check the model and the options",
    402: "the account has no credit",
    404: "check the URL and the model's name",
    429: "the rate limit or the quota is used up",
}


@dataclass(frozen=True, slots=True)
class ChatTimeouts:
    """How long a reply may stand still, in seconds; each must be above 0.

    ``connect_s``: until the connection stands. ``first_token_s``: from the
    request to the first piece of text or tool call, connecting included (a local
    server may load its model in it). ``next_token_s``: between two pieces. Time in
    which the consumer doesn't ask for the next piece doesn't count.
    """

    connect_s: float = 3.0
    first_token_s: float = 20.0
    next_token_s: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise MisuseError(f"{field.name} is {getattr(self, field.name)}, wanted above 0")


class ChatWire:
    """Belongs to one engine and to the event loop. ``start`` first, ``close`` at the end.

    ``url``: as :func:`chat_url` returns it. Raises MisuseError for a key that can't be
    sent. ``tls``: None for the system's certificates.
    """

    def __init__(
        self,
        url: str,
        key: str,
        timeouts: ChatTimeouts,
        faults: Faults,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url
        self.faults = faults
        self._headers = _headers(key)
        self._timeouts = timeouts
        self._client = WireClient(faults, tls=tls)
        # When connections were given back, the newest last: about as many are idle.
        self._idle: deque[float] = deque(maxlen=64)

    @property
    def session(self) -> aiohttp.ClientSession:
        """The one of aiohttp; MisuseError before :meth:`start` and after :meth:`close`."""
        return self._client.session

    async def start(self) -> None:
        """Make the pool; nothing is connected. Twice is fine."""
        await self._client.start()

    async def close(self) -> None:
        """Close all connections. Twice is fine."""
        self._idle.clear()
        await self._client.close()

    async def warm(self) -> None:
        """See that a connection is there: ask for the models, whatever the answer.

        Does nothing if one was in use just now. Takes ``connect_s`` at most and fails
        silently: the request that comes next will say what is wrong.
        """
        now_s = asyncio.get_running_loop().time()
        if self._idle and now_s - self._idle[-1] < _IDLE_S:
            return
        address = urlsplit(self.url)
        path = address.path.removesuffix("/chat/completions") + "/models"
        try:
            async with (
                asyncio.timeout(self._timeouts.connect_s),
                self.session.get(
                    urlunsplit(address._replace(path=path)),
                    headers=self._headers | {"Accept": "application/json"},
                    allow_redirects=False,
                ) as response,
            ):
                size = 0
                while size < _MODELS_LIMIT:
                    if not (data := await response.content.readany()):
                        self._idle.append(asyncio.get_running_loop().time())
                        return
                    size += len(data)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return

    async def stream(
        self, session: aiohttp.ClientSession, body: dict[str, Any], stream: ChatStream
    ) -> AsyncGenerator[str, None]:
        """Post ``body`` and yield the answer's pieces, read by ``stream``.

        Closing the generator closes the connection at once.
        """
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
                raise self.faults.error("closed", "the stream ended in mid-answer")
            if response.content.at_eof():
                self._idle.append(asyncio.get_running_loop().time())
        finally:
            # At the end of the answer the connection is back in the pool already, and
            # this does nothing; before it, the server sees the connection closed.
            response.close()

    async def _post(
        self, session: aiohttp.ClientSession, body: dict[str, Any], patience: _Patience
    ) -> aiohttp.ClientResponse:
        if self._idle:
            self._idle.pop()
        connect = aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect_s)
        attempts = 2
        while True:
            attempts -= 1
            try:
                return await patience.wait(
                    session.post(
                        self.url,
                        json=body,
                        headers=self._headers,
                        allow_redirects=False,
                        timeout=connect,
                    )
                )
            except aiohttp.ServerTimeoutError:
                raise self._timed_out("no connection", self._timeouts.connect_s) from None
            except TimeoutError:
                raise self._timed_out("no answer", self._timeouts.first_token_s) from None
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # Likely a kept connection that the server gave up meanwhile: once more.
                if attempts == 0 or isinstance(error, aiohttp.ClientConnectorError):
                    raise self._unreachable(error) from None
            except (aiohttp.ClientError, RuntimeError) as error:
                # RuntimeError: aiohttp's word for asking after the session was closed.
                raise self._unreachable(error) from None

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
        except TimeoutError:
            if stream.finished:
                return b""
            if stream.tokens:
                raise self._timed_out("no further token", self._timeouts.next_token_s) from None
            raise self._timed_out("no first token", self._timeouts.first_token_s) from None
        except (aiohttp.ClientError, OSError, RuntimeError):
            # RuntimeError: aiohttp's word for reading after this session was closed.
            if stream.finished:
                return b""
            raise self.faults.error("closed", "the stream broke in mid-answer") from None

    async def _check_answer(self, response: aiohttp.ClientResponse, patience: _Patience) -> None:
        if response.status != 200:
            raise self._refusal(response, await _reason(response, patience))
        if response.content_type in ("application/json", "text/html"):
            raise self.faults.error(
                "bad_message",
                f"{shown_url(self.url)} answered {response.content_type}, not an event stream: "
                "check the URL",
            )

    def _refusal(self, response: aiohttp.ClientResponse, reason: str) -> EngineError:
        status = response.status
        told = f"HTTP {status}" + (f", {reason}" if reason else "")
        if status in (401, 403):
            return self.faults.key_refused(told)
        hint = _HINTS.get(status, "see the server's log")
        if 300 <= status < 400:
            hint = "configure the URL it redirects to"
        # A 400 may be this conversation's alone (too long for the model, say).
        return self.faults.error(
            "rate_limited" if status == 429 else "http_status",
            f"{shown_url(self.url)} answered {told}: {hint}",
            permanent=status in (402, 404) or 300 <= status < 400 or reason == "insufficient_quota",
            retry_after_s=retry_after_s(response.headers, time.time()),
        )

    def _unreachable(self, error: Exception) -> EngineError:
        if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
            return self.faults.error(
                "unreachable",
                f"{shown_url(self.url)} closed the connection unanswered: see the server's log",
            )
        return self.faults.of_exception(error, self.url)

    def _timed_out(self, what: str, limit_s: float) -> EngineError:
        return self.faults.timed_out(f"{what} from {shown_url(self.url)}", limit_s)


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
    parts = urlsplit(checked_url("openai", url, "http"))
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = (path or "/v1") + "/chat/completions"
    return urlunsplit(parts._replace(path=path, fragment=""))


def _headers(key: str) -> dict[str, str]:
    headers = {"Accept": "text/event-stream"}
    if key := header_key("openai", key):
        headers["Authorization"] = f"Bearer {key}"
    return headers


async def _reason(response: aiohttp.ClientResponse, patience: _Patience) -> str:
    """The error's machine-readable code, or nothing.

    Its message is left out: servers quote the conversation in it.
    """
    try:
        body = json.loads(await patience.wait(response.content.read(_ERROR_BODY_LIMIT)))
        error = body["error"]
        words = (error.get(key) for key in ("code", "type"))
        return next(
            (word for word in words if isinstance(word, str) and _REASON.fullmatch(word)), ""
        )
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""
