"""The parent of the workers, with small processes in their place."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fakes import worker_process
from voicecore.errors import MisuseError
from voicecore.service.config_load import ConfigError
from voicecore.service.workers import supervisor as supervising
from voicecore.service.workers.board import Board, WorkerState
from voicecore.service.workers.orphans import bury
from voicecore.service.workers.place import (
    ADMIN,
    PUBLIC,
    Place,
    descriptors,
    inner_socket,
    requests_socket,
)
from voicecore.service.workers.sockets import open_listeners
from voicecore.service.workers.supervisor import Supervisor

pytestmark = [pytest.mark.slow, pytest.mark.realtime]

PROGRAM = str(Path(worker_process.__file__))
PATIENCE_S = 30.0


class Watched:
    """A supervisor under test, and what it said."""

    def __init__(self, folder: Path, how: str, count: int) -> None:
        self.folder = folder
        self.board = Board.create(folder, count, os.getpid())
        self.lines: list[str] = []
        places = [Place(index, folder, ()) for index in range(count)]
        self.supervisor = Supervisor(
            places,
            self.board,
            [how],
            self.lines.append,
            ["all are here"],
            command=(sys.executable, PROGRAM),
        )

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110 -- it happens in other processes
                await asyncio.sleep(0.01)

    async def ready(self) -> list[int]:
        """Process ids, once all take calls."""
        await self.until(lambda: "all are here" in self.lines)
        return [slot.pid for slot in self.board.slots()]

    def told(self, worker: int) -> list[int]:
        """The signals that it got."""
        path = self.folder / f"told-{worker}"
        return [int(word) for word in path.read_text().split()] if path.exists() else []


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="crew-") as name:
        yield Path(name)


@asynccontextmanager
async def running(
    folder: Path, how: str, count: int = 2, grace_s: float = PATIENCE_S
) -> AsyncIterator[tuple[Watched, Awaitable[int]]]:
    """The supervisor at work, and its exit code to come."""
    watched = Watched(folder, how, count)
    task = asyncio.create_task(watched.supervisor.run(grace_s))
    try:
        yield watched, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        watched.board.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_goes_to_all_and_all_end(folder: Path, number: signal.Signals) -> None:
    async with running(folder, "serve", 3) as (watched, code):
        pids = await watched.ready()
        assert len(set(pids)) == 3
        os.kill(os.getpid(), number)
        assert await code == 0
        assert [watched.told(worker) for worker in range(3)] == [[number]] * 3
        assert not [pid for pid in pids if running_still(pid)]


async def test_a_second_signal_waits_for_nobody(folder: Path) -> None:
    async with running(folder, "stubborn") as (watched, code):
        await watched.ready()
        os.kill(os.getpid(), signal.SIGTERM)
        await watched.until(lambda: all(watched.told(worker) for worker in range(2)))
        os.kill(os.getpid(), signal.SIGTERM)
        assert await code == 130


async def test_who_does_not_end_is_killed_in_time(folder: Path) -> None:
    async with running(folder, "1:stubborn,serve", grace_s=0.2) as (watched, code):
        await watched.ready()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await code == 1


async def test_an_end_at_once_does_not_wait_as_long_as_calls_would_get(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "GOODBYES_S", 0.2)
    async with running(folder, "1:stubborn,serve", grace_s=3600) as (watched, code):
        await watched.ready()
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(20):
            assert await code == 1


async def test_who_dies_is_started_again_and_nobody_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicecore.service.workers.restarts.FIRST_WAIT_S", 0.01)
    async with running(folder, "serve", 3) as (watched, code):
        before = await watched.ready()
        watched.board.tell_active(1, 7)
        os.kill(before[1], signal.SIGKILL)
        await watched.until(lambda: watched.board.slot(1).starts == 2)
        await watched.until(lambda: watched.board.slot(1).state is WorkerState.READY)
        slots = watched.board.slots()
        assert [slot.pid == pid for slot, pid in zip(slots, before, strict=True)] == [
            True, False, True,
        ]  # fmt: skip
        assert slots[1].active == 0, "its calls are gone"
        assert watched.lines == [
            "all are here",
            "worker 1 has ended (SIGKILL), and its calls with it; started again in 0.01 s",
        ]
        os.kill(os.getpid(), signal.SIGTERM)
        assert await code == 0


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("2", 2),  # settings: told by the first alone
        ("1", 1),
        ("1:2,serve", 2),  # a port of its own
    ],
)
async def test_what_cannot_work_is_given_up(folder: Path, how: str, expected: int) -> None:
    async with running(folder, how) as (watched, code):
        assert await code == expected
        assert not [line for line in watched.lines if "started again" in line]
        started = [slot.starts for slot in watched.board.slots()]
        assert started[1] == 0, "the second wasn't tried, or it never came so far"


async def test_a_hung_worker_is_killed_and_started_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicecore.service.workers.restarts.FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(supervising, "WATCH_PERIOD_S", 0.02)
    monkeypatch.setattr(supervising, "HUNG_PERIODS", 75)
    async with running(folder, "0:hang,serve") as (watched, code):
        await watched.ready()
        await watched.until(lambda: watched.board.slot(0).starts == 2)
        assert "worker 0 hangs and is killed" in watched.lines
        assert watched.board.slot(1).starts == 1
        os.kill(os.getpid(), signal.SIGINT)
        assert await code == 0


def test_workers_end_when_their_parent_is_killed(folder: Path) -> None:
    program = textwrap.dedent(f"""
        import asyncio, sys
        from pathlib import Path
        from service.test_worker_supervisor import Watched
        watched = Watched(Path({str(folder)!r}), "serve", 2)
        asyncio.run(watched.supervisor.run(9))
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not ready_in(folder):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        with Board(folder) as board:
            pids = [slot.pid for slot in board.slots()]
    finally:
        parent.kill()
        parent.wait()
    for pid in pids:
        while running_still(pid):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
    assert [(folder / f"told-{worker}").read_text() for worker in range(2)] == ["15", "15"]


def ready_in(folder: Path) -> bool:
    try:
        with Board(folder) as board:
            return all(slot.state is WorkerState.READY for slot in board.slots())
    except (OSError, ValueError):
        return False


def running_still(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def test_dead_children_are_buried_but_those_that_somebody_waits_for() -> None:
    ours = subprocess.Popen([sys.executable, "-c", ""])
    orphan = subprocess.Popen([sys.executable, "-c", ""])
    alive = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    deadline_s = time.monotonic() + PATIENCE_S
    while running_still(ours.pid) or running_still(orphan.pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    bury([ours.pid])
    assert not Path(f"/proc/{orphan.pid}").exists()
    assert Path(f"/proc/{ours.pid}").exists()
    assert ours.wait() == 0
    assert running_still(alive.pid)
    alive.communicate(b"\n")
    assert alive.returncode == 0
    orphan.poll()


# -- sockets and places ----------------------------------------------------------------


def test_the_sockets_are_inherited_and_taken_by_their_kind() -> None:
    public, admin = open_listeners("127.0.0.1", 0), open_listeners("127.0.0.1", 0)
    sockets = [(PUBLIC, public[0]), (ADMIN, admin[0])]
    place = Place(3, Path("/run/here"), descriptors(sockets))
    assert Place.find(place.variables()) == place
    ports = [sock.getsockname()[1] for _, sock in sockets]
    detached = Place(3, place.folder, tuple((kind, sock.detach()) for kind, sock in sockets))
    taken = [detached.take_sockets(kind)[0] for kind in (PUBLIC, ADMIN)]
    assert [sock.getsockname()[1] for sock in taken] == ports
    assert not [sock for sock in taken if sock.get_inheritable()]
    for sock in taken:
        sock.close()


def test_of_those_whose_parent_is_dead_the_last_clears_up(folder: Path) -> None:
    Board.create(folder, 2, os.getpid()).close()
    places = [Place(index, folder, ()) for index in range(2)]
    for place in places:
        requests_socket(folder, place.index).touch()
        inner_socket(folder, place.index).touch()
    places[0].clear_up()
    assert sorted(path.name for path in folder.iterdir()) == ["1.inner", "1.sock", "board"]
    places[1].clear_up()
    assert not folder.exists()
    folder.mkdir()  # for the fixture, which removes it


def test_without_a_supervisor_there_is_no_place() -> None:
    assert Place.find({}) is None
    with pytest.raises(MisuseError, match="unset it"):
        Place.find({"VOICECORE_WORKER": "1"})


def test_a_name_with_two_addresses_has_one_port() -> None:
    sockets = open_listeners("localhost", 0)
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    for sock in sockets:
        sock.close()


def test_a_taken_port_is_told_as_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1 port {port}: it is in"):
            open_listeners("127.0.0.1", port)


def test_a_name_without_address_is_told() -> None:
    with pytest.raises(ConfigError, match=r"can't listen on no-such-host\.invalid"):
        open_listeners("no-such-host.invalid", 0)
