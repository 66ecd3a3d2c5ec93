"""One connection to the Realtime API, from the handshake to its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from voicecore.engines.s2s.realtime_wire import Json, parse, refusal
from voicecore.engines.wire.client import WireClient
from voicecore.engines.wire.socket import SocketLimits, WireSocket
from voicecore.errors import EngineError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect, and what is told first.

    ``ready_s``: until the server has taken the settings (``session.updated``).
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    settings: Json
    ready_s: float = 5.0
    limits: SocketLimits = field(default_factory=SocketLimits)


class RealtimeLink:
    """A connection whose settings are in force. Belongs to the event loop and to one session.

    ``on_event(event)`` gets every message of the server's from then on;
    ``on_lost(error)`` is told once, when the connection is dead, unless :meth:`close`
    came first.
    """

    def __init__(
        self,
        socket: WireSocket,
        on_event: Callable[[Json], None],
        on_lost: Callable[[EngineError], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self._socket = socket
        self._on_event = on_event
        self._on_lost = on_lost
        self._events = 0
        self._opened_s = loop.time()
        self._loop = loop
        self._reader = loop.create_task(self._read(), name=f"{socket.faults.engine}-reader")

    @classmethod
    async def open(
        cls,
        client: WireClient,
        endpoint: Endpoint,
        on_event: Callable[[Json], None],
        on_lost: Callable[[EngineError], None],
    ) -> RealtimeLink:
        """Connect and settle the session; EngineError if that fails or takes too long."""
        socket = await WireSocket.connect(
            client, endpoint.url, headers=endpoint.headers, limits=endpoint.limits
        )
        try:
            socket.send(json.dumps(endpoint.settings))
            async with asyncio.timeout(endpoint.ready_s):
                await _until_settled(socket)
        except TimeoutError:
            await socket.close()
            raise socket.faults.timed_out("the session is not ready", endpoint.ready_s) from None
        except BaseException:
            await socket.close()
            raise
        return cls(socket, on_event, on_lost)

    @property
    def is_open(self) -> bool:
        """Whether it may be used."""
        return self._socket.is_open and not self._reader.done()

    @property
    def age_s(self) -> float:
        """How long it has been open."""
        return self._loop.time() - self._opened_s

    def send(self, message: Json) -> str:
        """Queue ``message``; never blocks. Returns its id, which an error would name."""
        self._events += 1
        event_id = f"vc_{self._events}"
        self._socket.send(json.dumps({"event_id": event_id, **message}))
        return event_id

    def send_audio(self, message: str) -> None:
        """Queue a message that is written out already; never blocks."""
        self._socket.send(message)

    async def close(self) -> None:
        """Close and free all. Twice is fine."""
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        await self._socket.close()

    async def _read(self) -> None:
        faults = self._socket.faults
        try:
            while (message := await self._socket.receive()) is not None:
                self._on_event(parse(message, faults))
            error = faults.error("closed", "the provider closed the connection")
        except EngineError as failure:
            error = failure
        self._on_lost(error)


async def _until_settled(socket: WireSocket) -> None:
    while True:
        message = await socket.receive()
        if message is None:
            raise socket.faults.error("closed", "the provider closed the connection at once")
        event = parse(message, socket.faults)
        if event["type"] == "session.updated":
            return
        if event["type"] == "error":
            raise refusal(event.get("error"), socket.faults)
