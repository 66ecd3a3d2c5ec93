"""Serving HTTPS so that a connection counts from its beginning, not from the end of its handshake.

asyncio tells a server of a connection once TLS stands. Who opens many and says nothing would hold
a descriptor each for a minute, bounded by nobody. So connections are accepted here::

    accepted ► one too many? closed ► its handshake, 10 s ► the HTTP server's
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Coroutine, Sequence
from typing import Any, cast

from aiohttp import web

from voicecore.service.connections import ConnectionLimit

HANDSHAKE_S = 10.0
"""A phone far away needs one."""
_PAUSE_S = 1.0
"""Where there is no descriptor for a connection, asking at once again would be in vain."""
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger(__name__)


class TlsSite(web.BaseSite):
    """Serves ``runner`` on ``sockets``, which listen, and are closed with it, within ``limit``."""

    def __init__(
        self,
        runner: web.AppRunner,
        context: ssl.SSLContext,
        limit: ConnectionLimit,
        sockets: Sequence[socket.socket],
    ) -> None:
        super().__init__(runner, ssl_context=context)
        self._context = context
        self._limit = limit
        self._sockets = sockets
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """For people."""
        return "https"

    async def start(self) -> None:
        """Take connections."""
        await super().start()
        self._server = cast(asyncio.AbstractServer, _Listening(self._sockets))
        for sock in self._sockets:
            self._own(self._accept(sock), "tls-accept")

    async def stop(self) -> None:
        """Take no more, and end handshakes that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await super().stop()

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, sock: socket.socket) -> None:
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None
        while True:
            try:
                wire, peer = await loop.sock_accept(sock)
            except OSError as error:  # the connection may be gone again, too
                exhausted = error.errno in _EXHAUSTED
                if exhausted:
                    _log.warning("no connection can be taken: %s", error.strerror)
                await asyncio.sleep(_PAUSE_S if exhausted else 0)
                continue
            handler = server()
            if self._limit.take(handler, peer):
                self._own(self._shake_hands(handler, wire), "tls-handshake")
            else:
                wire.close()

    async def _shake_hands(self, handler: web.RequestHandler, wire: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: handler, wire, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except OSError:  # time-outs and what is no TLS among them: it is closed
            self._limit.release(handler)
        except BaseException:
            self._limit.release(handler)
            raise


class _Listening:
    """As much of a server as a runner asks a site for."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self.sockets = sockets

    def close(self) -> None:
        """Listen no more. Whoever accepts has ceased to."""
        for sock in self.sockets:
            sock.close()
