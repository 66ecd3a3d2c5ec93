"""The HTTP client of one engine: a pool of connections with deadlines."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from voicecore.engines.wire.faults import Faults
from voicecore.errors import MisuseError

_T = TypeVar("_T")
_KEEP_ALIVE_S = 60.0


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Seconds: until a connection stands, to the first byte of an answer, between two."""

    connect_s: float = 3.0
    first_byte_s: float = 5.0
    next_byte_s: float = 3.0


class WireClient:
    """Belongs to one engine and to the event loop. ``start`` first, ``close`` at the end.

    ``tls``: None for the system's certificates. Connections are kept for the next
    request; there is no limit to their number, for calls are admitted elsewhere.
    """

    def __init__(self, faults: Faults, *, tls: ssl.SSLContext | None = None) -> None:
        self.faults = faults
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Make the pool; nothing is connected. Twice is fine."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_KEEP_ALIVE_S, ssl=self._tls or True
                ),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "voicecore"},
            )

    async def close(self) -> None:
        """Close all connections. Twice is fine."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The one of aiohttp; MisuseError before :meth:`start` and after :meth:`close`."""
        if self._session is None:
            raise MisuseError(f"{self.faults.engine} is not started: await start() first")
        return self._session

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        limits: HttpLimits,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: Any = None,
    ) -> AsyncGenerator[HttpAnswer, None]:
        """Ask, and read the answer as it comes.

        Leaving the block before its end closes the connection, so that the provider
        stops. Raises EngineError for anything but a 2xx within the deadlines.
        """
        began_s = asyncio.get_running_loop().time()
        request = self.session.request(
            method,
            url,
            headers=headers,
            json=json,
            data=data,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect_s),
        )
        response = await self._in_time(request, limits.first_byte_s, "no answer", url)
        try:
            if not 200 <= response.status < 300:
                raise self.faults.of_status(response.status, response.headers)
            left_s = limits.first_byte_s - (asyncio.get_running_loop().time() - began_s)
            yield HttpAnswer(self, response, max(left_s, 0.05), limits, url)
        finally:
            # At the end of the answer the connection is back in the pool already, and
            # this does nothing; before it, the server sees the connection closed.
            response.close()

    async def _in_time(self, work: Awaitable[_T], limit_s: float, what: str, url: str) -> _T:
        try:
            async with asyncio.timeout(limit_s):
                return await work
        except aiohttp.ServerTimeoutError as error:
            raise self.faults.of_exception(error, url) from None
        except TimeoutError:
            raise self.faults.timed_out(what, limit_s) from None
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError: aiohttp's word for reading after its session was closed.
            raise self.faults.of_exception(error, url) from None


class HttpAnswer:
    """An answer of which the head is there; made by :meth:`WireClient.stream`."""

    def __init__(
        self,
        client: WireClient,
        response: aiohttp.ClientResponse,
        first_byte_s: float,
        limits: HttpLimits,
        url: str,
    ) -> None:
        self.status = response.status
        self.content_type = response.content_type
        self.headers: Mapping[str, str] = response.headers
        self._client = client
        self._response = response
        self._wait_s = first_byte_s
        self._limits = limits
        self._url = url

    async def read(self) -> bytes:
        """What has come by now, at least a byte; ``b""`` at the end."""
        read = self._response.content.readany()
        data = await self._client._in_time(read, self._wait_s, "no more data", self._url)
        self._wait_s = self._limits.next_byte_s
        return data

    async def read_all(self, limit: int) -> bytes:
        """The whole body; EngineError ``<stage>_bad_message`` beyond ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > limit:
                raise self._client.faults.bad_message(f"it is longer than {limit} bytes")
            parts.append(data)
        return b"".join(parts)
