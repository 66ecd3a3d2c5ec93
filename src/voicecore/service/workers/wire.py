"""HTTP from one worker to another, over the unix sockets in their folder."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from voicecore.service import bodies
from voicecore.service.forwarded import EXTERNAL, as_told_to_a_worker
from voicecore.service.workers.place import inner_socket, requests_socket

PASS_ON_TIMEOUT_S = 15.0
"""An offer waits for TURN servers, which takes seconds where they are far or dead."""
ASK_TIMEOUT_S = 2.0
"""What workers ask each other is at hand."""
LOOK_S = 1.0
"""How often it is looked whether the worker that is waited for is still there."""
AT_ONCE = 64
"""Requests under way to each worker; others wait for these, within their time."""

_OURS = "http://worker"
_NOT_PASSED_ON = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.PROXY_AUTHENTICATE, hdrs.PROXY_AUTHORIZATION,
        hdrs.TE, hdrs.TRAILER, hdrs.TRANSFER_ENCODING, hdrs.UPGRADE, hdrs.EXPECT,
        # Said anew, of the body as it was read.
        hdrs.CONTENT_LENGTH, hdrs.CONTENT_ENCODING, hdrs.HOST,
        hdrs.FORWARDED, hdrs.X_FORWARDED_FOR, hdrs.X_FORWARDED_HOST, hdrs.X_FORWARDED_PROTO,
    )
)  # fmt: skip
_NOT_PASSED_BACK = frozenset(
    name.lower()
    for name in (
        hdrs.CONNECTION, hdrs.KEEP_ALIVE, hdrs.TRANSFER_ENCODING, hdrs.CONTENT_LENGTH, hdrs.DATE,
        hdrs.SERVER,
        # The first worker's signal for headers of every reply adds it again.
        hdrs.VARY,
    )
)  # fmt: skip


class WorkerGone(Exception):
    """The worker's process is dead: nothing listens, or the answer broke off."""


class WorkerSilent(Exception):
    """The worker doesn't answer in time; whether it has done what was asked isn't known."""


class WorkerHung(WorkerSilent):
    """The worker has ceased to say that it is there."""


class Wire:
    """Requests of one worker to the others. Belongs to the event loop; ``close()`` once.

    ``is_there(worker)``: whether it has said so of late.
    """

    def __init__(self, folder: Path, is_there: Callable[[int], bool]) -> None:
        self._folder = folder
        self._is_there = is_there
        self._sessions: dict[Path, aiohttp.ClientSession] = {}

    async def pass_on(
        self, request: web.Request, worker: int, timeout_s: float | None = None
    ) -> web.Response:
        """The answer of ``worker`` to the request, to be given as ours.

        Body and answer are whole, not streamed. Raises WorkerGone, WorkerSilent (WorkerHung long
        before the time is over), and PeerError for a body that is too large, too slow or
        broken.
        """
        body = await bodies.read_raw(request)
        asking = asyncio.ensure_future(
            self._send(request, body, worker, timeout_s or PASS_ON_TIMEOUT_S)
        )
        try:
            while not (await asyncio.wait({asking}, timeout=LOOK_S))[0]:
                if not self._is_there(worker):
                    raise WorkerHung
            return asking.result()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _send(
        self, request: web.Request, body: bytes, worker: int, timeout_s: float
    ) -> web.Response:
        headers = CIMultiDict(
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in _NOT_PASSED_ON
        )
        headers.update(as_told_to_a_worker(request[EXTERNAL]))
        url = URL(_OURS + request.rel_url.raw_path_qs, encoded=True)
        session = self._session(requests_socket(self._folder, worker))
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        with _failures():
            async with session.request(
                request.method,
                url,
                headers=headers,
                data=body or None,
                allow_redirects=False,
                timeout=timeout,
            ) as reply:
                raw = await reply.read()
        kept = CIMultiDict(
            (name, value)
            for name, value in reply.headers.items()
            if name.lower() not in _NOT_PASSED_BACK
        )
        return web.Response(status=reply.status, reason=reply.reason, headers=kept, body=raw)

    async def ask(
        self, worker: int, path: str, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Status and body of what ``worker`` says to other workers alone (``inner``)."""
        session = self._session(inner_socket(self._folder, worker))
        timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
        with _failures():
            async with session.request(method, _OURS + path, data=body, timeout=timeout) as reply:
                return reply.status, await reply.read()

    async def close(self) -> None:
        """End what is under way. Twice is fine."""
        sessions, self._sessions = list(self._sessions.values()), {}
        await asyncio.gather(*(session.close() for session in sessions))

    def _session(self, path: Path) -> aiohttp.ClientSession:
        session = self._sessions.get(path)
        if session is None:
            # A connection for each request: one that is kept may be to a dead predecessor,
            # and a new one costs next to nothing here.
            session = self._sessions[path] = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(path), force_close=True, limit=AT_ONCE),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT,
                                   hdrs.CONTENT_TYPE),
                auto_decompress=False,
            )  # fmt: skip
        return session


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise WorkerSilent from error
    except aiohttp.ClientConnectorError as error:
        if error.os_error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            raise WorkerGone from error
        # Its queue of connections is full.
        raise WorkerSilent from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise WorkerGone from error
