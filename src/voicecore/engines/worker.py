"""A worker process and its life: start, hand out streams, die, start again.

Engines that hold the GIL, crash or are not re-entrant run in a child process
of their own. It is started by spawn, never by fork (the server has native
threads), in its own session (Ctrl-C is the server's to handle), and dies with
the server.

::

    start() -> spawn -> READY -> serve streams -> death -> back-off -> spawn ...
                  '-> ERROR or time-out: start() raises

Every wait here has a limit: a worker that is silent for longer than its stream
allows is killed by the stream's owner (:meth:`Worker.kill`), and what follows
is the ordinary way of a death.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import voicecore
from voicecore.engines.framing import (
    HEADER,
    Frame,
    FramingError,
    Kind,
    pack,
    pack_json,
    parse_header,
)
from voicecore.errors import EngineError, MissingLibraryError, MisuseError, VoicecoreError

_log = logging.getLogger(__name__)

# A worker that leaves this much unread hangs: it is killed, no frame is dropped.
MAX_OUTBOX: Final = 4 << 20
_FIRST_DELAY_S: Final = 0.1
_LAST_DELAY_S: Final = 10.0
_STABLE_S: Final = 30.0  # who lived this long starts again without a penalty
_CLOSE_STEP_S: Final = 1.0


class StreamHandler(Protocol):
    """Who listens to one stream; both are called on the event loop and must not block."""

    def handle_frame(self, frame: Frame) -> None:
        """A frame of this stream has come; END or ERROR is the last one."""

    def handle_lost(self, error: EngineError) -> None:
        """The worker died; nothing more comes."""


class Channel:
    """One stream to a worker, from OPEN to END, ERROR or the worker's death."""

    def __init__(
        self,
        worker: Worker,
        stream: int,
        handler: StreamHandler,
        on_closed: Callable[[], None],
    ) -> None:
        """Made by :meth:`Worker.open`. ``on_closed`` is called once, when the stream is over."""
        self._worker = worker
        self._handler: StreamHandler | None = handler
        self._on_closed = on_closed
        self._deadline: asyncio.TimerHandle | None = None
        self.stream = stream
        self.closed = False

    def send(self, kind: Kind, payload: bytes | memoryview = b"") -> None:
        """Queue a frame; ignored once the stream is over."""
        if not self.closed:
            self._worker.send(pack(kind, self.stream, payload))

    def abandon(self, limit_s: float = 3.0) -> None:
        """Cancel: the handler hears nothing more, ``on_closed`` comes as ever.

        A worker that doesn't confirm within ``limit_s`` seconds is killed.
        """
        if self.closed or self._deadline is not None:
            return
        self._handler = None
        self.send(Kind.CANCEL)
        self._deadline = asyncio.get_running_loop().call_later(limit_s, self._worker.kill)

    def deliver(self, frame: Frame) -> None:
        """Called by the worker for each frame of this stream."""
        handler = self._handler
        if frame.kind in (Kind.END, Kind.ERROR):
            self._close()
        if handler is not None:
            handler.handle_frame(frame)

    def lose(self, error: EngineError) -> None:
        """Called by the worker when it died."""
        handler = self._handler
        self._close()
        if handler is not None:
            handler.handle_lost(error)

    def _close(self) -> None:
        self.closed = True
        self._handler = None
        if self._deadline is not None:
            self._deadline.cancel()
        self._on_closed()


class Worker:
    """One child process running ``python -m module``; restarted when it dies.

    All methods belong to one event loop. ``on_ready`` is called each time the
    child is ready to serve.
    """

    def __init__(
        self,
        module: str,
        settings: Mapping[str, Any],
        *,
        engine: str,
        ready_timeout_s: float = 30.0,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """``settings`` become JSON on the child's command line: no secrets in there."""
        self._module = module
        self._settings = dict(settings)
        self._engine = engine
        self._ready_timeout_s = ready_timeout_s
        self._on_ready = on_ready
        self._channels: dict[int, Channel] = {}
        self._stream_ids = itertools.count(1)
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.ready = False
        self.restarts = 0
        self.info: dict[str, Any] = {}

    @property
    def pid(self) -> int | None:
        """The child's process id, or None while there is none."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Spawn and wait for READY.

        Raises MissingLibraryError, MisuseError or EngineError if the first start
        fails; later ones are tried again with a growing delay of 0.1 to 10 s. Twice
        is fine.
        """
        if self._task is not None:
            return
        try:
            await self._spawn()
        except BaseException:
            await self.close()
            raise
        self._task = asyncio.create_task(self._supervise(), name=f"{self._engine}-worker")

    def open(
        self,
        parameters: Mapping[str, Any],
        handler: StreamHandler,
        on_closed: Callable[[], None] = lambda: None,
    ) -> Channel:
        """Begin a stream; raises EngineError while the worker is not ready."""
        if not self.ready:
            raise self._error("worker is not running", "worker_lost")
        # Stream ids are u32 and an id is long forgotten when the count comes round.
        channel = Channel(self, next(self._stream_ids) % (1 << 32) or 1, handler, on_closed)
        self._channels[channel.stream] = channel
        self.send(pack_json(Kind.OPEN, channel.stream, dict(parameters)))
        return channel

    def send(self, frame: bytes) -> None:
        """Queue a packed frame; kills a worker that leaves ``MAX_OUTBOX`` bytes unread."""
        self._outbox.append(frame)
        self._outbox_bytes += len(frame)
        if self._outbox_bytes > MAX_OUTBOX:
            self.kill()
        self._wake.set()

    def kill(self) -> None:
        """End the child at once (SIGKILL); its streams get EngineError, a new one starts."""
        if self._process is not None and self._process.returncode is None:
            _log.warning("engine worker killed: engine=%s", self._engine)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def close(self) -> None:
        """End the child: by end of file, then SIGTERM, then SIGKILL, a second each."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._lose_streams()
        await self._reap()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = _FIRST_DELAY_S
        while True:
            born_s = loop.time()
            await self._serve()
            self._lose_streams()
            await self._reap()
            if loop.time() - born_s > _STABLE_S:
                delay_s = _FIRST_DELAY_S
            delay_s = await self._respawn(delay_s)

    async def _respawn(self, delay_s: float) -> float:
        """Try until a child is ready; returns the delay for the next death."""
        while True:
            _log.warning("engine worker down: engine=%s retry_s=%.1f", self._engine, delay_s)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2.0, _LAST_DELAY_S)
            self.restarts += 1
            try:
                await self._spawn()
            except (VoicecoreError, OSError):
                await self._reap()
            else:
                return delay_s

    async def _spawn(self) -> None:
        """Start a child and wait for its READY; leaves ``_process`` for ``_reap``."""
        self._outbox.clear()
        self._outbox_bytes = 0
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            self._module,
            str(os.getpid()),
            json.dumps(self._settings),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._ready_timeout_s):
                frame = await _read_frame(process.stdout)
            facts = frame.json()
        except TimeoutError:
            raise self._error("worker was not ready in time", "worker_timeout") from None
        except (asyncio.IncompleteReadError, FramingError, ConnectionError):
            raise self._error("worker ended while starting", "worker_lost") from None
        if frame.kind is Kind.ERROR:
            raise self._start_error(facts)
        self.info = facts
        self.ready = True
        self._on_ready()

    async def _serve(self) -> None:
        """Move frames until the child ends."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        writer = asyncio.create_task(self._write(process.stdin))
        try:
            while True:
                frame = await _read_frame(process.stdout)
                channel = self._channels.get(frame.stream)
                if frame.kind in (Kind.END, Kind.ERROR):
                    self._channels.pop(frame.stream, None)
                if channel is not None:
                    _guarded(self._engine, channel.deliver, frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except FramingError:
            _log.error("engine worker sent a bad frame: engine=%s", self._engine)
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self, stdin: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                while self._outbox:
                    frame = self._outbox.popleft()
                    self._outbox_bytes -= len(frame)
                    stdin.write(frame)
                    await stdin.drain()
                self._wake.clear()
                await self._wake.wait()

    def _lose_streams(self) -> None:
        self.ready = False
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            _guarded(self._engine, channel.lose, self._error("worker died", "worker_lost"))

    async def _reap(self) -> None:
        """Make sure that the child is gone and its pipes are closed."""
        self.ready = False
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        # A child blocked in a write, or a paused reader, would hold up the end.
        discard = asyncio.create_task(_discard(process.stdout))
        try:
            for step in (None, process.terminate, process.kill):
                if await _ended(process, step):
                    break
        finally:
            discard.cancel()
            await asyncio.gather(discard, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            await process.stdin.wait_closed()
        self._process = None

    def _start_error(self, detail: dict[str, Any]) -> VoicecoreError:
        code, message = str(detail.get("code")), str(detail.get("message"))
        if code == "missing_library":
            return MissingLibraryError(message)
        if code == "misuse":
            return MisuseError(message)
        return EngineError(message, engine=self._engine, code=code)

    def _error(self, message: str, code: str) -> EngineError:
        return EngineError(f"{self._engine}: {message}", engine=self._engine, code=code)


def _guarded(engine: str, call: Callable[[Any], None], argument: object) -> None:
    # A fault in one call's handler must not end the streams of the others.
    try:
        call(argument)
    except Exception:
        _log.exception("engine stream handler failed: engine=%s", engine)


async def _discard(stdout: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await stdout.read(1 << 16):
            pass


async def _ended(process: asyncio.subprocess.Process, step: Callable[[], None] | None) -> bool:
    """Take a step towards the end of a child; whether it ended within a second."""
    if step is not None:
        with contextlib.suppress(ProcessLookupError):
            step()
    try:
        # Not wait_for: before Python 3.12 it swallows a cancellation that comes just when
        # the child ends, and whoever closes would wait for ever.
        async with asyncio.timeout(_CLOSE_STEP_S):
            await process.wait()
    except TimeoutError:
        return False
    return True


async def _read_frame(stdout: asyncio.StreamReader) -> Frame:
    length, kind, stream = parse_header(await stdout.readexactly(HEADER.size))
    return Frame(kind, stream, await stdout.readexactly(length) if length else b"")


def _environment() -> dict[str, str]:
    """The server's environment, with voicecore importable as it is here.

    ``-P`` keeps the working directory off the child's path, so the package's
    own root must be named.
    """
    root = str(Path(next(iter(voicecore.__path__))).parent)
    inherited = os.environ.get("PYTHONPATH")
    path = root if not inherited else os.pathsep.join([root, inherited])
    return {**os.environ, "PYTHONPATH": path}
