"""Speech to text over a provider's WebSocket, alike for all providers.

What a provider's messages look like is its dialect's (``dialect.py``); what is here
knows calls and utterances::

    StreamingStt ── a call ──► StreamingSession ── keeps ──► Line ── has ──► Dialect
                                     │                        ▲
                                     └── an utterance ──► Utterance

Nothing is tried twice here and nothing reconnects under way: a stream whose
connection breaks says so, and ``engines/resilience`` opens the next.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from voicecore.engines.stt.dialect import Dialect, EncodedDialect
from voicecore.engines.stt.line import Line, LineLimits
from voicecore.engines.stt.utterance import EncodedUtterance, Utterance
from voicecore.engines.wire.client import WireClient
from voicecore.engines.wire.faults import Faults
from voicecore.errors import EngineError, MisuseError

_MOST_LINES = 3
"""Per call: one is heard, and the ends of two before it may still be awaited."""


class StreamingStt:
    """A recogniser behind a WebSocket, shared by all calls.

    ``make_dialect(codec)`` makes the dialect of one connection: for samples at
    ``rate_hz`` (``""``), or for the packets of one of ``codecs``.
    ``finalise_timeout_s``: how long the final text is waited for after the end of an
    utterance. ``tls``: None for the system's certificates. Event-loop thread only.
    """

    def __init__(
        self,
        faults: Faults,
        make_dialect: Callable[[str], Dialect],
        *,
        codecs: Collection[str] = (),
        rate_hz: int = 16_000,
        finalise_timeout_s: float = 1.5,
        limits: LineLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not finalise_timeout_s > 0:
            raise MisuseError(f"finalise_timeout_s is {finalise_timeout_s}, wanted above 0")
        self.name = faults.engine
        self.rate_hz = rate_hz
        self.finalise_timeout_s = finalise_timeout_s
        self.codecs = tuple(codecs)
        self._client = WireClient(faults, tls=tls)
        self._make_dialect = make_dialect
        self._limits = limits or LineLimits()
        self._sessions: set[StreamingSession] = set()
        self._tasks = _Tasks()

    async def start(self) -> None:
        """Make ready to connect; nothing is connected. Twice is fine."""
        await self._client.start()

    def session(self, codec: str = "") -> StreamingSession:
        """Make what a call needs: a connection that stays from one utterance to the next.

        ``codec``: the caller's, whose packets are sent as they come where the engine
        takes it; samples otherwise (see ``encoded``).
        """
        return self._session(codec if codec in self.codecs else "")

    async def open(self, on_partial: Callable[[str], None]) -> Utterance:
        """Begin an utterance on a connection of its own, closed when it is over.

        Waits until that stands; raises EngineError if it can't be made.
        """
        session = self._session("", lambda: self._tasks.start(session.close()))
        try:
            stream = await session.open(on_partial)
            await session.warm()
            if stream.failure.done():
                raise stream.failure.result()
        except BaseException:
            await session.close()
            raise
        return stream

    async def close(self) -> None:
        """End all sessions and streams. Twice is fine."""
        await asyncio.gather(*(session.close() for session in tuple(self._sessions)))
        await self._tasks.finish()
        await self._client.close()

    def _session(
        self, codec: str, on_utterance_over: Callable[[], None] | None = None
    ) -> StreamingSession:
        session = StreamingSession(
            self._client,
            lambda: self._make_dialect(codec),
            encoded=bool(codec),
            rate_hz=self.rate_hz,
            finalise_timeout_s=self.finalise_timeout_s,
            limits=self._limits,
            on_utterance_over=on_utterance_over or (lambda: None),
            on_closed=self._sessions.discard,
        )
        self._sessions.add(session)
        return session


class StreamingSession:
    """See :class:`~voicecore.engines.protocols.SttSession`. Made by :meth:`StreamingStt.session`.

    One connection is kept; an utterance that begins while another one's text is still
    awaited gets a further one, three in all, and of those that are idle one stays.
    """

    def __init__(
        self,
        client: WireClient,
        make_dialect: Callable[[], Dialect],
        *,
        encoded: bool,
        rate_hz: int,
        finalise_timeout_s: float,
        limits: LineLimits,
        on_utterance_over: Callable[[], None],
        on_closed: Callable[[StreamingSession], None],
    ) -> None:
        self.encoded = encoded
        self._client = client
        self._make_dialect = make_dialect
        self._rate_hz = rate_hz
        self._finalise_timeout_s = finalise_timeout_s
        self._limits = limits
        self._on_utterance_over = on_utterance_over
        self._on_closed = on_closed
        self._lines: list[Line] = []
        self._tasks = _Tasks()
        self._refusal: EngineError | None = None
        self._closed = False

    async def warm(self) -> None:
        """Connect, if no connection stands, and wait for it. Raises nothing.

        What can't be mended by trying again is raised by the next :meth:`open`; after
        anything else that connects anew.
        """
        if self._closed:
            return
        line = self._lines[0] if self._lines else self._new_line()
        await line.connected()

    async def open(self, on_partial: Callable[[str], None]) -> Utterance:
        """Begin an utterance, at once: its audio waits for the connection if need be.

        Raises EngineError ``stt_key`` and the like if :meth:`warm` was refused,
        ``stt_busy`` where the ends of three utterances are still awaited.
        """
        if self._closed:
            raise MisuseError("the session is closed")
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal
        line = next((line for line in self._lines if line.is_free), None)
        if line is None:
            if len(self._lines) >= _MOST_LINES:
                raise self._client.faults.error("busy", f"{_MOST_LINES} utterances are open")
            line = self._new_line()
        return (EncodedUtterance if self.encoded else Utterance)(
            line,
            self._client.faults,
            on_partial,
            rate_hz=self._rate_hz,
            finalise_timeout_s=self._finalise_timeout_s,
            on_over=self._utterance_over,
        )

    async def close(self) -> None:
        """Close all connections; streams that are open fail. Twice is fine."""
        self._closed = True
        self._on_closed(self)
        lines, self._lines = self._lines, []
        for line in lines:
            self._tasks.start(line.close())
        await self._tasks.finish()

    def _new_line(self) -> Line:
        _ = self._client.session  # MisuseError before start()
        dialect = self._make_dialect()
        if self.encoded and not isinstance(dialect, EncodedDialect):
            raise MisuseError(f"{self._client.faults.engine} has no dialect for packets")
        line = Line(self._client, dialect, limits=self._limits, on_lost=self._line_lost)
        self._lines.append(line)
        return line

    def _line_lost(self, line: Line, unused: bool) -> None:
        assert line.failure is not None
        if unused and line.failure.permanent:
            self._refusal = line.failure
        self._retire(line)

    def _utterance_over(self) -> None:
        for line in [line for line in self._lines if line.is_free][1:]:
            self._retire(line)
        self._on_utterance_over()

    def _retire(self, line: Line) -> None:
        if line in self._lines:
            self._lines.remove(line)
            self._tasks.start(line.close())


class _Tasks:
    """Tasks that end by themselves, and are awaited by :meth:`finish`."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def finish(self) -> None:
        while self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
