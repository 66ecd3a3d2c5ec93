"""The parent of the workers: holds the sockets, starts them, starts again who dies.

It loads no media, no engine and no uvloop, and touches no call. Workers are started by
exec, never by a bare fork, in process groups of their own: Ctrl-C reaches them through
the supervisor alone. They get SIGTERM when it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from voicecore.service.config import Settings
from voicecore.service.config_load import ConfigError
from voicecore.service.listening import ADMIN_FLAGS, where_to_look
from voicecore.service.version import version
from voicecore.service.workers.board import Board, WorkerState
from voicecore.service.workers.division import CERTIFICATE, worker_count
from voicecore.service.workers.orphans import bury
from voicecore.service.workers.place import (
    ADMIN,
    DRAIN_SIGNAL,
    PUBLIC,
    Place,
    descriptors,
    inner_socket,
)
from voicecore.service.workers.restarts import Backoff, verdict
from voicecore.service.workers.sockets import open_listeners

_log = logging.getLogger(__name__)

WATCH_PERIOD_S = 0.1
HUNG_PERIODS = 300
"""Who hasn't told his state for so many looks is killed. Looks are counted, not seconds:
they have stopped, too, where the machine slept."""
BURY_PERIODS = 50
GOODBYES_S = 20.0
"""What workers take to end in order, and some more; on top of ``drain_timeout_s`` in a drain."""
INTERRUPTED = 130

_SOCKET_PATH_BYTES = 107


def supervise(settings: Settings, argv: Sequence[str], report: Callable[[str], None]) -> int:
    """Run the service in :func:`worker_count` workers until a signal; the exit code.

    ``argv`` is what each is started with. Raises ConfigError.
    """
    count = worker_count(settings)
    with ExitStack() as stack:
        folder = _private_folder(stack, count)
        public = open_listeners(settings.host, settings.port)
        sockets = [(PUBLIC, sock) for sock in public]
        if settings.admin_port:
            admin = open_listeners(settings.admin_host, settings.admin_port, ADMIN_FLAGS)
            sockets += [(ADMIN, sock) for sock in admin]
        for _, sock in sockets:
            stack.callback(sock.close)
        fingerprint = _certificate(settings, folder)
        board = stack.enter_context(Board.create(folder, count, os.getpid()))
        places = [Place(index, folder, descriptors(sockets)) for index in range(count)]
        port = public[0].getsockname()[1]
        banner = [
            f"voicecore {version()} takes up to {settings.call_limit} calls at once"
            f" in {count} workers",
            *where_to_look(settings, port, fingerprint),
            "  Ctrl-C stops.",
        ]
        supervisor = Supervisor(places, board, argv, report, banner)
        return asyncio.run(supervisor.run(settings.drain_timeout_s + GOODBYES_S))


def _private_folder(stack: ExitStack, count: int) -> Path:
    """A new folder that is ours alone, short enough for sockets, gone with ``stack``."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    for base in filter(None, (given, tempfile.gettempdir(), "/tmp", "/dev/shm")):
        try:
            folder = Path(tempfile.mkdtemp(prefix="voicecore-", dir=base))
        except OSError:
            continue
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if len(os.fsencode(inner_socket(folder, count))) <= _SOCKET_PATH_BYTES:
            return folder
    raise ConfigError(
        ["workers need a folder to meet in: XDG_RUNTIME_DIR, TMPDIR, /tmp or /dev/shm must be"
         " writable, and its path shorter than 80 characters"]
    )  # fmt: skip


def _certificate(settings: Settings, folder: Path) -> str:
    """Look at the certificate once for all; the fingerprint of one of our own making."""
    if not (settings.tls or settings.tls_cert):
        return ""
    # Late, for without HTTPS the parent does without all that this loads.
    from voicecore.service import tls

    if settings.tls != "self":
        return tls.ssl_context(settings)[1]
    pem = tls.self_signed(tls.cache_dir(), datetime.now(UTC))
    path = folder / CERTIFICATE
    path.touch(mode=0o600)
    path.write_bytes(pem)
    return tls.fingerprint(pem)


class Supervisor:
    """Keeps one process running at each of ``places``. :meth:`run` once.

    ``banner`` is reported once all take calls. ``command`` is what is run, ``argv`` what
    follows.
    """

    def __init__(
        self,
        places: Sequence[Place],
        board: Board,
        argv: Sequence[str],
        report: Callable[[str], None],
        banner: Sequence[str],
        command: Sequence[str] = (sys.executable, "-m", "voicecore.service"),
    ) -> None:
        self._places = places
        self._board = board
        self._argv = [*command, *argv]
        self._report = report
        self._banner = banner
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._ready: set[int] = set()
        self._failed: set[int] = set()
        self._started: set[int] = set()
        self._told_early: set[int] = set()
        self._codes: list[int] = []
        self._checked = asyncio.Event()
        self._stop = asyncio.Event()
        self._signalled = False
        self._how = signal.SIGTERM
        self._verdict: int | None = None
        self._welcomed = False

    async def run(self, grace_s: float) -> int:
        """Until a signal; the exit code.

        SIGTERM lets the workers drain, for ``grace_s`` at most, SIGINT has them hang up; a
        second signal kills them.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number, grace_s)
        loop.add_signal_handler(DRAIN_SIGNAL, self._on_wish, grace_s)
        watching = asyncio.create_task(self._watch(), name="watch")
        watching.add_done_callback(_tell_failure)
        keeping: list[asyncio.Task[None]] = []
        try:
            # Alone at first: what is wrong with the settings is told once then.
            keeping.append(asyncio.create_task(self._keep(0), name="worker-0"))
            await self._until_checked(keeping[0])
            keeping += [
                asyncio.create_task(self._keep(place.index), name=f"worker-{place.index}")
                for place in self._places[1:]
            ]
            await asyncio.gather(*keeping)
        finally:
            for task in (watching, *keeping):
                task.cancel()
            await asyncio.gather(watching, *keeping, return_exceptions=True)
            self._kill_all()
        if self._verdict is not None:
            return self._verdict
        return 1 if any(self._codes) else 0

    # -- private ---------------------------------------------------------------------

    async def _keep(self, index: int) -> None:
        """Run the worker, and again whenever it dies, until the service is to stop."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while not self._stop.is_set():
            began_s = loop.time()
            code = await self._run_once(index)
            self._note_end(index)
            if self._stop.is_set():
                early = index in self._told_early and code == -signal.SIGTERM
                self._codes.append(0 if early else code)
                return
            self._decide(index, code)
            if self._stop.is_set():
                return
            wait_s = backoff.after(loop.time() - began_s)
            how = "as it was told" if code == 0 else f"({_how(code)}), and its calls with it"
            self._report(f"worker {index} has ended {how}; started again in {wait_s:g} s")
            await self._pause(wait_s)

    async def _run_once(self, index: int) -> int:
        place = self._places[index]
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            env=_environment(os.environ, place),
            pass_fds=[number for _, number in place.sockets],
            process_group=0,
        )
        self._processes[index] = process
        self._started.add(index)
        if self._stop.is_set():
            self._tell(index, self._how)
        return await process.wait()

    def _note_end(self, index: int) -> None:
        del self._processes[index]
        if self._board.slot(index).state.takes_calls:
            self._ready.add(index)
        if index not in self._ready:
            self._failed.add(index)
        self._board.clear(index)

    def _decide(self, index: int, code: int) -> None:
        given_up = verdict(
            code,
            worker=index,
            ready=self._ready,
            failed=self._failed,
            started=self._started,
        )
        if given_up is not None:
            self._verdict = given_up
            self._begin_stop(signal.SIGINT, GOODBYES_S)

    async def _until_checked(self, first: asyncio.Task[None]) -> None:
        checked = asyncio.create_task(self._checked.wait())
        await asyncio.wait({first, checked}, return_when=asyncio.FIRST_COMPLETED)
        checked.cancel()

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._stop.wait()
        except TimeoutError:
            return

    async def _watch(self) -> None:
        """Who takes calls by now, and who has fallen silent."""
        told = [(0, 0)] * len(self._places)
        for look in itertools.count():
            await asyncio.sleep(WATCH_PERIOD_S)
            if look % BURY_PERIODS == 0 and os.getpid() == 1:
                bury([process.pid for process in self._processes.values()])
            for slot in self._board.slots():
                if slot.state is not WorkerState.ABSENT:
                    self._checked.set()
                if slot.state.takes_calls:
                    self._ready.add(slot.worker)
                beat_ns, times = told[slot.worker]
                times = times + 1 if beat_ns == slot.beat_ns else 0
                told[slot.worker] = (slot.beat_ns, times)
                # While it loads, an engine may hold its event loop.
                if times == HUNG_PERIODS and slot.state.takes_calls:
                    self._report(f"worker {slot.worker} hangs and is killed")
                    self._send(slot.worker, signal.SIGKILL)
            self._welcome()

    def _welcome(self) -> None:
        if not self._welcomed and len(self._ready) == len(self._places):
            self._welcomed = True
            for line in self._banner:
                self._report(line)

    def _on_signal(self, number: signal.Signals, grace_s: float) -> None:
        if self._signalled:
            self._verdict = INTERRUPTED
            self._kill_all()
            return
        self._signalled = True
        if number == signal.SIGTERM:
            self._on_wish(grace_s)
            return
        self._report("stopping: calls are hung up; again to stop at once")
        self._begin_stop(number, GOODBYES_S)

    def _on_wish(self, grace_s: float) -> None:
        """Calls are to come to their end. Once: who stops a container asks twice."""
        if not self._stop.is_set():
            self._report("stopping: no new calls, those there are come to their end;")
            self._report("  again to stop at once")
            self._begin_stop(signal.SIGTERM, grace_s)

    def _begin_stop(self, number: signal.Signals, grace_s: float) -> None:
        self._how = number
        self._stop.set()
        for index in self._processes:
            self._tell(index, number)
        asyncio.get_running_loop().call_later(grace_s, self._kill_all)

    def _tell(self, index: int, number: signal.Signals) -> None:
        # Before a worker listens for signals SIGINT would be told by a traceback.
        if self._board.slot(index).state is WorkerState.ABSENT:
            self._told_early.add(index)
            number = signal.SIGTERM
        self._send(index, number)

    def _kill_all(self) -> None:
        for index in self._processes:
            self._send(index, signal.SIGKILL)

    def _send(self, index: int, number: signal.Signals) -> None:
        # It may have died by itself, and nobody have taken notice yet.
        with contextlib.suppress(ProcessLookupError, KeyError):
            self._processes[index].send_signal(number)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("nobody watches over the workers any more", exc_info=error)


def _environment(ours: Mapping[str, str], place: Place) -> dict[str, str]:
    return {**ours, **place.variables()}


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
