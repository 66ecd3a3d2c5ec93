"""Synthesisers behind a WebSocket: one connection per call, texts told apart by contexts.

What is said on the wire is a :class:`SpeechDialect`'s; connecting, keeping alive,
deadlines and cancelling are done here, once for all.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

from voicecore.engines.protocols import SpeechChunk
from voicecore.engines.tts.speakable import speakable
from voicecore.engines.tts.speech_buffer import SpeechBuffer, SpeechLimits, SpeechPatience
from voicecore.engines.tts.spoken_words import SpokenWords
from voicecore.engines.wire.client import WireClient
from voicecore.engines.wire.faults import Faults
from voicecore.engines.wire.socket import SocketLimits, WireSocket
from voicecore.errors import EngineError

_SETTLE_S = 0.25
"""Of quiet, after which a dialect may say that it expects no more of a text."""
_MESSAGE_BYTES = 16 << 20
"""Some providers send minutes of speech in one message."""


class Address(NamedTuple):
    """Where to connect. ``headers`` hold the key, so that no log of URLs does."""

    url: str
    headers: Mapping[str, str]


class Clause:
    """One text on its way: where its audio goes, and its words.

    ``answer``: of which answer it is a part. ``context``: its name on the wire.
    ``settled``: nothing came for a while, and the dialect knows.
    """

    def __init__(self, text: str, answer: int, faults: Faults) -> None:
        self.text = text
        self.answer = answer
        self.buffer = SpeechBuffer(faults)
        self.words = SpokenWords(text)
        self.context = ""
        self.settled = False

    def end(self) -> None:
        """All of it has come."""
        self.buffer.mark(self.words.finish())
        self.buffer.end()

    def fail(self, error: EngineError) -> None:
        """What came is still spoken; its words tell how much that was."""
        self.buffer.mark(self.words.break_off())
        self.buffer.fail(error)


class SpeechDialect(Protocol):
    """What is said on one connection; pure, no I/O. Messages are JSON objects.

    ``keep_alive_s``: how often :meth:`keep_alive` is sent, 0 for never. ``take`` raises
    EngineError for an error that concerns the whole connection, and LookupError,
    TypeError or ValueError for what the protocol doesn't have.
    """

    rate_hz: int
    keep_alive_s: float

    def address(self) -> Address:
        """Where to connect."""

    def keep_alive(self) -> list[dict[str, Any]]:
        """What keeps an idle connection open."""

    def begin(self, clause: Clause, now_s: float) -> list[dict[str, Any]]:
        """Ask for the speech of ``clause``; ``now_s`` of the event loop's clock."""

    def settle(self, clause: Clause) -> list[dict[str, Any]]:
        """For a quarter of a second nothing has come for it."""

    def stop(self, clause: Clause) -> list[dict[str, Any]]:
        """Nobody listens any more: what is still to come is dropped by :meth:`take`.

        Nothing for a clause whose end has come.
        """

    def take(self, message: dict[str, Any], now_s: float) -> list[dict[str, Any]]:
        """Hand on what a message brings; returns what is to be sent."""

    def clauses(self) -> Collection[Clause]:
        """Those whose end has not come."""


class SpeechSockets:
    """The connections of one engine; made once, ``start`` first.

    A connection belongs to a :class:`SpeechSession`, or to a single text spoken by
    :meth:`speak`. ``make_dialect``: called for each connection.
    """

    def __init__(
        self,
        faults: Faults,
        make_dialect: Callable[[], SpeechDialect],
        limits: SpeechLimits,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.faults = faults
        self.limits = limits
        self.make_dialect = make_dialect
        self.client = WireClient(faults, tls=tls)
        self._sessions: set[SpeechSession] = set()

    async def start(self) -> None:
        """Ready to connect; nothing is connected yet. Twice is fine."""
        await self.client.start()

    async def close(self) -> None:
        """Close all connections; texts being spoken get EngineError. Twice is fine."""
        await asyncio.gather(*(session.close() for session in list(self._sessions)))
        await self.client.close()

    def session(self) -> SpeechSession:
        """For one call."""
        session = SpeechSession(self, self._sessions.discard)
        self._sessions.add(session)
        return session

    async def speak(self, text: str) -> AsyncGenerator[SpeechChunk, None]:
        """Speak one text on a connection of its own."""
        session = self.session()
        try:
            async with aclosing(session.speak(text)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await session.close()


class SocketTts:
    """An engine over :class:`SpeechSockets`; its provider's class makes them."""

    def __init__(self, sockets: SpeechSockets, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._sockets = sockets

    async def start(self) -> None:
        """Ready to connect; nothing is connected yet."""
        await self._sockets.start()

    def session(self) -> SpeechSession:
        """One call's connection."""
        return self._sockets.session()

    def speak(self, text: str) -> AsyncIterator[SpeechChunk]:
        """Yield the speech of ``text``, on a connection of its own."""
        return self._sockets.speak(text)

    async def close(self) -> None:
        """Close all connections. Twice is fine."""
        await self._sockets.close()


class SpeechSession:
    """One call's connection. Belongs to the event loop.

    It stays open between texts; one that was lost meanwhile is opened anew by the next
    text. Made by :meth:`SpeechSockets.session`.
    """

    def __init__(self, sockets: SpeechSockets, on_close: Callable[[SpeechSession], None]) -> None:
        self._sockets = sockets
        self._on_close = on_close
        self._line: _Line | None = None
        self._opener: asyncio.Task[_Line] | None = None
        self._failure: EngineError | None = None
        self._told: EngineError | None = None
        self._closed = False

    async def warm(self) -> None:
        """Connect; a failure is kept for the next :meth:`speak`."""
        try:
            await self._connected()
        except EngineError as error:
            if error is not self._told:
                self._failure = error

    async def speak(self, text: str, *, answer: int = 0) -> AsyncGenerator[SpeechChunk, None]:
        """Yield the speech of ``text`` as it comes; closing the iterator stops the provider.

        A text without letters or digits yields nothing. Raises EngineError.
        """
        faults = self._sockets.faults
        spoken = speakable(text, faults.engine)
        if not spoken:
            return
        try:
            line = await self._connected()
        except EngineError as error:
            # Who warms may have waited for the same connection: told once is enough.
            self._told = error
            if self._failure is error:
                self._failure = None
            raise
        clause = Clause(spoken, answer, faults)
        patience = SpeechPatience(self._sockets.limits)
        line.begin(clause)
        try:
            while (chunk := await line.next(clause, patience)) is not None:
                yield chunk
        finally:
            line.drop(clause)

    async def close(self) -> None:
        """Close the connection; what is being spoken gets EngineError. Twice is fine."""
        self._closed = True
        self._on_close(self)
        opener, line = self._opener, self._line
        self._opener, self._line = None, None
        if opener is not None:
            opener.cancel()
            await asyncio.gather(opener, return_exceptions=True)
        if line is not None:
            await line.close()

    async def _connected(self) -> _Line:
        """The connection that stands, or the one that is being opened."""
        if self._closed:
            raise self._closed_error()
        if self._line is not None and self._line.is_open:
            return self._line
        if self._opener is None:
            # A task of its own: who waits for it may be cancelled, and another waits on.
            loop = asyncio.get_running_loop()
            self._opener = loop.create_task(self._open(), name=f"{self._engine}-connect")
            self._opener.add_done_callback(self._opened)
        opener = self._opener
        try:
            return await asyncio.shield(opener)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if opener.cancelled() and waiter is not None and not waiter.cancelling():
                raise self._closed_error() from None
            raise

    async def _open(self) -> _Line:
        failure, self._failure = self._failure, None
        line, self._line = self._line, None
        if line is not None:
            # Of what ended it while nothing was spoken, nobody was told.
            failure = failure or line.untold
            await line.close()
        if failure is not None:
            raise failure
        self._line = await _Line.open(self._sockets)
        return self._line

    def _opened(self, opener: asyncio.Task[_Line]) -> None:
        if self._opener is opener:
            self._opener = None
        if not opener.cancelled():
            opener.exception()  # told to those who wait, if any does

    @property
    def _engine(self) -> str:
        return self._sockets.faults.engine

    def _closed_error(self) -> EngineError:
        return self._sockets.faults.error("closed", "the session is closed")


class _Line:
    """An open connection, and the task that reads it.

    ``untold``: the permanent error that ended it while nothing was spoken.
    """

    def __init__(self, sockets: SpeechSockets, socket: WireSocket, dialect: SpeechDialect) -> None:
        self.untold: EngineError | None = None
        self._error: EngineError | None = None
        self._faults = sockets.faults
        self._socket = socket
        self._dialect = dialect
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._arm()
        self._reader = self._loop.create_task(self._read(), name=f"{self._faults.engine}-speech")

    @classmethod
    async def open(cls, sockets: SpeechSockets) -> _Line:
        dialect = sockets.make_dialect()
        address = dialect.address()
        socket = await WireSocket.connect(
            sockets.client,
            address.url,
            headers=address.headers,
            limits=SocketLimits(connect_s=sockets.limits.connect_s, message_bytes=_MESSAGE_BYTES),
        )
        return cls(sockets, socket, dialect)

    @property
    def is_open(self) -> bool:
        return self._socket.is_open and not self._reader.done()

    def begin(self, clause: Clause) -> None:
        if self._error is not None:
            clause.fail(self._error)
            return
        self._send(self._dialect.begin(clause, self._loop.time()))

    async def next(self, clause: Clause, patience: SpeechPatience) -> SpeechChunk | None:
        """The next chunk of ``clause``, None at its end."""
        buffer = clause.buffer
        while True:
            may_settle = buffer.samples > 0 and not clause.settled
            left_s = patience.left_s(buffer.samples / self._dialect.rate_hz)
            began_s = self._loop.time()
            try:
                chunk = await buffer.next(min(left_s, _SETTLE_S) if may_settle else left_s)
            except TimeoutError:
                patience.waited(self._loop.time() - began_s)
                if not may_settle:
                    raise patience.error(self._faults) from None
                clause.settled = True
                self._send(self._dialect.settle(clause))
                continue
            patience.waited(self._loop.time() - began_s)
            patience.heard()
            return chunk

    def drop(self, clause: Clause) -> None:
        """Nobody listens to ``clause`` any more; nothing if all of it has come."""
        self._send(self._dialect.stop(clause))
        clause.buffer.end()

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.gather(self._reader, self._socket.close(), return_exceptions=True)

    async def _read(self) -> None:
        error = self._faults.error("closed", "the connection was closed")
        try:
            while (message := await self._socket.receive()) is not None:
                self._take(message)
        except EngineError as raised:
            error = raised
        finally:
            self._end(error)
        await self._socket.close()

    def _take(self, message: str | bytes) -> None:
        try:
            told = json.loads(message) if isinstance(message, str) else None
            if not isinstance(told, dict):
                raise TypeError("not an object")
            self._send(self._dialect.take(told, self._loop.time()))
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            # Not chained: such errors quote what they stumbled on.
            raise self._faults.bad_message(type(error).__name__) from None

    def _end(self, error: EngineError) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._error = error
        clauses = list(self._dialect.clauses())
        for clause in clauses:
            clause.fail(error)
        if error.permanent and not clauses:
            self.untold = error

    def _arm(self) -> None:
        if self._dialect.keep_alive_s:
            self._timer = self._loop.call_later(self._dialect.keep_alive_s, self._keep_alive)

    def _keep_alive(self) -> None:
        self._send(self._dialect.keep_alive())
        self._arm()

    def _send(self, messages: Iterable[dict[str, Any]]) -> None:
        for message in messages:
            self._socket.send(json.dumps(message))


def decoded(audio: Any) -> bytes:
    """Base64; ValueError or TypeError for anything else."""
    return base64.b64decode(audio, validate=True)
