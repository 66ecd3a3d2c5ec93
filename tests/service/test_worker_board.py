"""The page that workers share: what one writes the others read, by the word."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from voicecore.core.overload import OverloadLevel
from voicecore.errors import MisuseError
from voicecore.service.workers.board import FRESH_NS, Board, Slot, WorkerState

NOW_NS = 7_000_000_000_000


def test_what_one_process_tells_another_reads(tmp_path: Path) -> None:
    with Board.create(tmp_path, 3, 4711) as mine, Board(tmp_path) as theirs:
        assert (theirs.count, theirs.supervisor_pid) == (3, 4711)
        assert {slot.state for slot in theirs.slots()} == {WorkerState.ABSENT}
        mine.begin(1, 99)
        mine.tell(1, WorkerState.READY, 20, OverloadLevel.SPARING, NOW_NS)
        mine.tell_active(1, 5)
        assert theirs.slot(1) == Slot(
            1, 99, WorkerState.READY, 5, 20, OverloadLevel.SPARING, NOW_NS, 1
        )
        assert theirs.slot(0).pid == theirs.slot(2).pid == 0


def test_a_dead_worker_has_no_calls_and_its_successor_is_counted(tmp_path: Path) -> None:
    with Board.create(tmp_path, 1, 1) as board:
        for pid in (10, 11):
            board.begin(0, pid)
            board.tell(0, WorkerState.READY, 4, OverloadLevel.NORMAL, NOW_NS)
            board.tell_active(0, 3)
            board.clear(0)
        slot = board.slot(0)
        assert (slot.active, slot.state, slot.starts) == (0, WorkerState.ABSENT, 2)
        assert not slot.takes_calls(NOW_NS)


@pytest.mark.parametrize(
    ("state", "active", "level", "age_ns", "takes", "room"),
    [
        (WorkerState.READY, 3, OverloadLevel.NORMAL, 0, True, True),
        (WorkerState.IMPAIRED, 3, OverloadLevel.SPARING, FRESH_NS - 1, True, True),
        (WorkerState.READY, 4, OverloadLevel.NORMAL, 0, True, False),
        (WorkerState.READY, 3, OverloadLevel.REFUSING, 0, False, False),
        (WorkerState.READY, 3, OverloadLevel.NORMAL, FRESH_NS, False, False),
        (WorkerState.LOADING, 0, OverloadLevel.NORMAL, 0, False, False),
        (WorkerState.DRAINING, 0, OverloadLevel.NORMAL, 0, False, False),
    ],
)
def test_who_takes_calls(
    state: WorkerState, active: int, level: OverloadLevel, age_ns: int, takes: bool, room: bool
) -> None:
    slot = Slot(0, 1, state, active, 4, level, NOW_NS, 1)
    assert (slot.takes_calls(NOW_NS + age_ns), slot.has_room(NOW_NS + age_ns)) == (takes, room)


def test_only_this_user_may_read_it(tmp_path: Path) -> None:
    Board.create(tmp_path, 1, 1).close()
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_is_no_board_is_refused(tmp_path: Path) -> None:
    Board.create(tmp_path, 1, 1).close()
    (file,) = tmp_path.iterdir()
    file.write_bytes(bytes(128))
    with pytest.raises(MisuseError, match="no board"):
        Board(tmp_path)


@pytest.mark.parametrize("worker", [-1, 2])
def test_there_is_no_slot_beyond_the_count(tmp_path: Path, worker: int) -> None:
    with Board.create(tmp_path, 2, 1) as board, pytest.raises(MisuseError):
        board.slot(worker)
