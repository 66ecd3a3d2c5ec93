"""The sockets that the supervisor opens and all workers accept from.

One queue for all: a worker that hangs or dies takes no connection with it but those it
has accepted, and no second service can come to share the port by mistake. (With
``SO_REUSEPORT`` each worker has a queue of its own, with both faults.)
"""

from __future__ import annotations

import socket

from voicecore.service.config_load import ConfigError
from voicecore.service.listening import cannot_listen

BACKLOG = 128


def open_listeners(host: str, port: int, flag: str = "") -> list[socket.socket]:
    """Listening sockets for all addresses of ``host``; ``port`` 0: the same free one on all.

    Raises ConfigError (``flag``: see :func:`cannot_listen`). The caller closes them.
    """
    opened: list[socket.socket] = []
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in dict.fromkeys(infos):
            opened.append(_listening(family, kind, protocol, (address[0], port, *address[2:])))
            port = opened[-1].getsockname()[1]
    except OSError as error:
        for sock in opened:
            sock.close()
        if isinstance(error, socket.gaierror):
            raise ConfigError([f"can't listen on {host} port {port}: {error.strerror}"]) from None
        raise cannot_listen(error, host, port, flag) from None
    return opened


def _listening(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
