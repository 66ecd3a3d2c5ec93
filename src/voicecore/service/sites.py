"""Where the service is served, with bounds on what connections may take."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from aiohttp import web

from voicecore.service.connections import ConnectionLimit
from voicecore.service.forwarded import ProxyTrust
from voicecore.service.listening import cannot_listen
from voicecore.service.wire_log import wire_logger

HTTP_SHUTDOWN_S = 1.0
"""What requests under way get to finish; calls were hung up before."""
IDLE_CONNECTION_S = 30.0
"""What a connection gets from its beginning, or from its last reply, to a whole next request
head. Longer than balancers keep idle ones would be kinder to them, shorter to us."""
LINGERING_S = 2.0
"""For the rest of a body that nobody wants any more."""


async def runner_of(app: web.Application, trusted: Sequence[str] = ()) -> web.AppRunner:
    """``app``, ready to be served, within our bounds; ``trusted``: networks of our proxies."""
    runner = web.AppRunner(
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
    ConnectionLimit(ProxyTrust(trusted)).watch(runner.server)
    return runner


async def listen_on(
    runner: web.AppRunner, host: str, port: int, context: ssl.SSLContext | None, flag: str = ""
) -> None:
    """Serve there. ConfigError if that can't be; ``flag``: see :func:`cannot_listen`."""
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except OSError as error:
        raise cannot_listen(error, host, port, flag) from None
