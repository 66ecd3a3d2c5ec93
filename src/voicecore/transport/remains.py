"""What is left of a connection of aiortc's that ended, and how it goes at once.

Objects that hold each other go when the garbage collector comes round to them:
to those that have lived as long as a call, seldom. What hangs on them outside of
Python (OpenSSL, buffers) it doesn't see. So the knots are undone here, whatever
way a call ended; ``tests/transport/test_endings.py`` has a test for each.

The private names: ``tests/transport/test_seam_endings.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport

from voicecore.transport.aioice_seam import IceConnection


class Remains:
    """What is left of a connection when it is closed: one knot of objects that hold each other.

    The collector would undo it, but comes seldom to objects of this age, and
    doesn't know of the OpenSSL state and the buffers that hang on them: a
    server whose callers come and go would grow for minutes.
    """

    def __init__(self, connection: RTCPeerConnection) -> None:
        self._parts: list[Any] = [connection]
        self._ice: list[IceConnection] = []
        self._tasks: list[asyncio.Future[None]] = []
        for transceiver in connection.getTransceivers():
            self._parts += [transceiver, transceiver.receiver, transceiver.sender]
            self._take_transport(transceiver.receiver.transport)
        if connection.sctp is not None:
            self._parts.append(connection.sctp)
            self._take_transport(connection.sctp.transport)

    def _take_transport(self, dtls: RTCDtlsTransport) -> None:
        ice_transport = dtls.transport
        connection = ice_transport._connection
        self._parts += [dtls, ice_transport, ice_transport.iceGatherer, connection]
        self._parts += connection._protocols
        self._ice.append(connection)
        if dtls._task is not None:
            self._tasks.append(dtls._task)

    async def dissolve(self) -> None:
        """Undo the knot: reference counts free all of it. After ``connection.close()``."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # What was sent last has a task that nobody owns: it finds all it needs for a turn yet.
        await asyncio.sleep(0)
        for connection in self._ice:
            # Now, for a check may have come while all was closed. One that closed
            # itself had no protocols left; its pairs know them.
            for pair in connection._check_list:
                self._parts += [pair, pair.protocol]
        self._ice.clear()
        for part in self._parts:
            vars(part).clear()
        self._parts.clear()


class IceRemains:
    """What is left of one ICE connection of a call that has another one. Made before it ends."""

    def __init__(self, connection: IceConnection) -> None:
        self._connection = connection
        self._protocols = list(connection._protocols)

    def dissolve(self, *, also_connection: bool) -> None:
        """Undo the knot; after it has ended. aiortc's own connection goes on without the rest."""
        insides: Any = self._connection
        parts: list[Any] = [*self._protocols]
        for pair in insides._check_list:
            parts += [pair, pair.protocol]
        for kept in (insides._protocols, insides._check_list, insides._remote_candidates):
            kept.clear()
        if also_connection:
            parts.append(insides)
        for part in parts:
            vars(part).clear()
        self._protocols.clear()


def untie_receiving(transport: RTCDtlsTransport) -> None:
    """Let what ends the reception know only its own frames.

    In the handshake the error comes out of a task, which keeps it, through a
    frame of Python 3.11's ``wait_for``, which keeps the task.
    """
    insides: Any = transport
    receive: Callable[[], Awaitable[None]] = insides._recv_next

    async def receive_next() -> None:
        try:
            await receive()
        except ConnectionError as error:
            raise error.with_traceback(None)  # noqa: B904 - it is the same error

    insides._recv_next = receive_next
