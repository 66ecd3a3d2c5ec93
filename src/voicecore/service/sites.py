"""Where the service is served, with bounds on what connections may take."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from aiohttp import web

from voicecore.service.connections import ConnectionLimit
from voicecore.service.forwarded import ProxyTrust
from voicecore.service.listening import cannot_listen
from voicecore.service.tls_site import TlsSite
from voicecore.service.wire_log import wire_logger
from voicecore.service.workers.sockets import open_listeners

HTTP_SHUTDOWN_S = 1.0
"""What requests under way get to finish; calls were hung up before."""
IDLE_CONNECTION_S = 30.0
"""What a connection gets from its beginning, or from its last reply, to a whole next request
head. Longer than balancers keep idle ones would be kinder to them, shorter to us."""
LINGERING_S = 2.0
"""For the rest of a body that nobody wants any more."""


class Runner(web.AppRunner):
    """An app and the limit of its connections."""

    limit: ConnectionLimit


async def runner_of(app: web.Application, trusted: Sequence[str] = ()) -> Runner:
    """``app``, ready to be served, within our bounds; ``trusted``: networks of our proxies."""
    runner = Runner(
        app,
        handle_signals=False,
        access_log=None,
        logger=wire_logger(),
        shutdown_timeout=HTTP_SHUTDOWN_S,
        keepalive_timeout=IDLE_CONNECTION_S,
        lingering_time=LINGERING_S,
    )
    await runner.setup()
    assert runner.server is not None
    runner.limit = ConnectionLimit(ProxyTrust(trusted))
    runner.limit.watch(runner.server)
    return runner


async def listen_on(
    runner: Runner, host: str, port: int, context: ssl.SSLContext | None, flag: str = ""
) -> None:
    """Serve there. ConfigError if that can't be; ``flag``: see :func:`cannot_listen`."""
    if context is not None:
        sockets = open_listeners(host, port, flag)
        await TlsSite(runner, context, runner.limit, sockets).start()
        return
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise cannot_listen(error, host, port, flag) from None


async def listen_by(runner: Runner, sock: socket.socket, context: ssl.SSLContext | None) -> None:
    """Serve on a socket that listens already; it is the runner's from now on."""
    if context is None:
        await web.SockSite(runner, sock).start()
    else:
        await TlsSite(runner, context, runner.limit, [sock]).start()
