"""One connection to a streaming recogniser, which serves one utterance after the other."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from voicecore.engines.protocols import EncodedPacket
from voicecore.engines.stt.dialect import (
    Alive,
    Broken,
    Dialect,
    EncodedDialect,
    Final,
    Finalised,
    Heard,
    Interim,
    Ready,
    WireMessage,
)
from voicecore.engines.wire.client import WireClient
from voicecore.engines.wire.socket import SocketLimits, WireSocket
from voicecore.errors import EngineError

_LOG = logging.getLogger(__name__)

_MOST_HELD_MS = 16_000
"""Ten seconds that are replayed, and what is said while the connection is made."""
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True)
class LineLimits:
    """``ready_s``: from the open WebSocket until audio may be sent. ``socket``: its own."""

    ready_s: float = 3.0
    socket: SocketLimits = field(default_factory=SocketLimits)


class Listener(Protocol):
    """Who is served by a line now."""

    def hear(self, heard: Interim | Final | Finalised | Alive) -> None:
        """Something came; it may be of an earlier utterance."""

    def lost(self, error: EngineError) -> None:
        """The line is dead."""


class Line:
    """Belongs to the event loop and to a session, which closes it.

    It connects at once; until audio may be sent, sixteen seconds of it are held, and
    beyond that the oldest is dropped. ``on_lost(line, unused)`` is called once, as soon as
    the line is known to be dead, unless it was closed; ``failure`` tells why, ``unused``
    whether no utterance has noticed.
    """

    def __init__(
        self,
        client: WireClient,
        dialect: Dialect,
        *,
        limits: LineLimits,
        on_lost: Callable[[Line, bool], None],
    ) -> None:
        self.failure: EngineError | None = None
        self.sent_ms = 0.0
        """How much audio has gone, or waits to go, into the connection."""
        self.tells_late: bool = getattr(dialect, "tells_late", False)
        self._client = client
        self._dialect = dialect
        self._encoded = dialect.encoded if isinstance(dialect, EncodedDialect) else None
        self._limits = limits
        self._on_lost = on_lost
        self._listener: Listener | None = None
        self._socket: WireSocket | None = None
        self._ready = False
        self._held: deque[tuple[bytes | Sequence[EncodedPacket], float]] = deque()
        self._held_ms = 0.0
        self._finalise_due = False
        self._loop = asyncio.get_running_loop()
        self._settled: asyncio.Future[None] = self._loop.create_future()
        self._keep_alive: asyncio.TimerHandle | None = None
        self._task = self._loop.create_task(self._run(), name=f"{client.faults.engine}-line")

    @property
    def is_free(self) -> bool:
        """Whether an utterance may begin."""
        return self._listener is None and self.failure is None

    async def connected(self) -> None:
        """Wait until audio may be sent, or never will be."""
        await asyncio.shield(self._settled)

    def attach(self, listener: Listener) -> None:
        """An utterance begins, at ``sent_ms``."""
        assert self.is_free
        self._listener = listener

    def detach(self) -> None:
        """The utterance is over; what comes of it later is nobody's."""
        self._listener = None
        self._held.clear()
        self.sent_ms -= self._held_ms
        self._held_ms = 0.0
        self._finalise_due = False

    def send(self, audio: bytes | Sequence[EncodedPacket], duration_ms: float) -> float:
        """Send, or hold, ``duration_ms`` of audio; returns what was dropped for it, in ms."""
        self.sent_ms += duration_ms
        if self._ready:
            socket = self._socket
            assert socket is not None
            for message in self._wrapped(audio):
                socket.send(message)
            return 0.0
        self._held.append((audio, duration_ms))
        self._held_ms += duration_ms
        dropped_ms = 0.0
        while self._held_ms > _MOST_HELD_MS:
            oldest_ms = self._held.popleft()[1]
            self._held_ms -= oldest_ms
            dropped_ms += oldest_ms
        self.sent_ms -= dropped_ms
        return dropped_ms

    def finalise(self) -> None:
        """Ask for the final text of what was sent (once what is held has gone)."""
        if self._ready:
            self._put(self._dialect.finalise())
        else:
            self._finalise_due = True

    def condemn(self, error: EngineError) -> None:
        """Take it for dead, as ``error`` says, though it looks alive."""
        self._fail(error)

    async def close(self) -> None:
        """Say good-bye and free all; twice is fine."""
        if self._keep_alive is not None:
            self._keep_alive.cancel()
        if self._ready and self.failure is None:
            self._put(self._dialect.goodbye())
        if self._listener is not None:
            self._listener.lost(self._client.faults.error("closed", "it was closed by us"))
        self._ready = False
        self._task.cancel()
        # The socket's writer has its turn meanwhile: the good-bye is not lost.
        await asyncio.gather(self._task, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()

    async def _run(self) -> None:
        try:
            await self._open()
            while True:
                self._take(await self._receive())
        except EngineError as error:
            self._fail(error)
        except Exception as error:
            _LOG.error("what a recogniser said could not be handled", exc_info=error)
            self._fail(self._client.faults.error("refused", "its messages could not be handled"))
        finally:
            if not self._settled.done():
                self._settled.set_result(None)

    async def _open(self) -> None:
        dialect, limits = self._dialect, self._limits
        address = dialect.address()
        socket = self._socket = await WireSocket.connect(
            self._client,
            address.url,
            headers=address.headers,
            protocols=address.protocols,
            limits=limits.socket,
        )
        socket.failure.add_done_callback(lambda failure: self._fail(failure.result()))
        self._put(dialect.hello())
        if dialect.waits_for_ready:
            try:
                async with asyncio.timeout(limits.ready_s):
                    while not self._ready:
                        self._take(await self._receive())
            except TimeoutError:
                raise self._client.faults.timed_out("it was not ready", limits.ready_s) from None
        else:
            self._begin()

    async def _receive(self) -> WireMessage:
        socket = self._socket
        assert socket is not None
        message = None
        error: EngineError | None = None
        try:
            message = await socket.receive()
        except EngineError as raised:
            error = raised
        if message is not None:
            return message
        code = socket.close_code
        if code is not None and (broken := self._dialect.closed(code)) is not None:
            raise self._error(broken)
        raise error or self._client.faults.error("closed", "the provider ended the connection")

    def _take(self, message: WireMessage) -> None:
        try:
            heard = self._dialect.take(message)
        except _MALFORMED as error:
            raise self._client.faults.bad_message(type(error).__name__) from None
        for item in heard:
            self._handle(item)

    def _handle(self, heard: Heard) -> None:
        if isinstance(heard, Ready):
            self._begin()
        elif isinstance(heard, Broken):
            raise self._error(heard)
        elif self._listener is not None:
            self._listener.hear(heard)

    def _begin(self) -> None:
        """Audio may be sent from now on; what was held goes first."""
        if self._ready:
            return
        self._ready = True
        while self._held:
            self._put(self._wrapped(self._held.popleft()[0]))
        self._held_ms = 0.0
        if self._finalise_due:
            self._put(self._dialect.finalise())
        if not self._settled.done():
            self._settled.set_result(None)
        self._arm()

    def _wrapped(self, audio: bytes | Sequence[EncodedPacket]) -> list[WireMessage]:
        if isinstance(audio, bytes):
            return self._dialect.audio(audio)
        assert self._encoded is not None
        return self._encoded(audio)

    def _put(self, messages: list[WireMessage]) -> None:
        socket = self._socket
        assert socket is not None
        for message in messages:
            socket.send(message)

    def _arm(self) -> None:
        if self._dialect.keep_alive_s > 0:
            self._keep_alive = self._loop.call_later(self._dialect.keep_alive_s, self._tick)

    def _tick(self) -> None:
        """Each ``keep_alive_s``, so that a silence is never longer than that."""
        if self.failure is not None:
            return
        if self._listener is None:
            self._put(self._dialect.keep_alive())
            self.sent_ms += self._dialect.keep_alive_ms
        self._arm()

    def _error(self, broken: Broken) -> EngineError:
        faults = self._client.faults
        if broken.kind == "key":
            return faults.key_refused(broken.message)
        return faults.error(
            broken.kind,
            broken.message,
            permanent=broken.permanent,
            retry_after_s=broken.retry_after_s,
        )

    def _fail(self, error: EngineError) -> None:
        # Closing cancels the task first, so that what the socket says then is late.
        if self.failure is not None or self._task.cancelling() or self._task.cancelled():
            return
        self.failure = error
        self._held.clear()
        listener = self._listener
        if listener is not None:
            listener.lost(error)
        self._on_lost(self, listener is None)
