"""What the workers of a host know of each other at once: one shared page, a slot for each.

The file is mapped by all. A slot is a cache line of eight 64-bit words, each stored whole
by one machine instruction, and is written by its owner alone (by the supervisor once the
owner is dead), so there is no lock. Words of a slot may be of different moments: who
reads takes them for a hint, who admits a call asks his own manager.
"""

from __future__ import annotations

import mmap
import os
import sys
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

from voicecore.core.overload import OverloadLevel
from voicecore.errors import MisuseError

FRESH_NS = 5_000_000_000
"""A worker that hasn't told its state for so long is hung, or gone."""

_FILE = "board"
_MAGIC = 0x3142_4357_4356
_WORDS = 8
_SLOT_BYTES = 8 * _WORDS
_PID, _STATE, _ACTIVE, _LIMIT, _LEVEL, _BEAT, _STARTS = range(7)


class WorkerState(IntEnum):
    """How far a worker is."""

    ABSENT = 0
    LOADING = 1
    IMPAIRED = 2
    """It takes calls, but a stage of its engines is down."""
    READY = 3
    DRAINING = 4

    @property
    def takes_calls(self) -> bool:
        """Whether a call may be opened there."""
        return self in (WorkerState.READY, WorkerState.IMPAIRED)


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker as it described itself last.

    ``active`` counts the places that are taken, ``beat_ns`` is the monotonic time of the
    description, ``starts`` how often this worker was started.
    """

    worker: int
    pid: int
    state: WorkerState
    active: int
    limit: int
    level: OverloadLevel
    beat_ns: int
    starts: int

    def is_fresh(self, now_ns: int) -> bool:
        """Whether its word can be relied upon at ``now_ns``."""
        return self.state is not WorkerState.ABSENT and now_ns - self.beat_ns < FRESH_NS

    def takes_calls(self, now_ns: int) -> bool:
        """Whether it would take a call if it had room."""
        return (
            self.state.takes_calls
            and self.level is not OverloadLevel.REFUSING
            and self.is_fresh(now_ns)
        )

    def has_room(self, now_ns: int) -> bool:
        """Whether it would take a call now."""
        return self.active < self.limit and self.takes_calls(now_ns)


class Board:
    """The shared page; :meth:`close` unmaps it. The file is the folder's owner's."""

    def __init__(self, folder: Path) -> None:
        with (folder / _FILE).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._words = memoryview(self._map).cast("Q")
        if self._words[0] != _MAGIC:
            self.close()
            raise MisuseError(f"{folder / _FILE} is no board of workers")
        self.count = self._words[1]
        self.supervisor_pid = self._words[2]

    @classmethod
    def create(cls, folder: Path, count: int, supervisor_pid: int) -> Board:
        """A new one for ``count`` workers, readable by this user alone."""
        head = [_MAGIC, count, supervisor_pid, *[0] * (_WORDS - 3)]
        data = b"".join(word.to_bytes(8, sys.byteorder) for word in head)
        descriptor = os.open(folder / _FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.ljust(_SLOT_BYTES * (1 + count), b"\0"))
        return cls(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def slot(self, worker: int) -> Slot:
        """What ``worker`` told last."""
        at = self._at(worker)
        words = self._words[at : at + _WORDS].tolist()
        return Slot(
            worker=worker,
            pid=words[_PID],
            state=WorkerState(words[_STATE]),
            active=words[_ACTIVE],
            limit=words[_LIMIT],
            level=OverloadLevel(words[_LEVEL]),
            beat_ns=words[_BEAT],
            starts=words[_STARTS],
        )

    def slots(self) -> list[Slot]:
        """All, in their order."""
        return [self.slot(worker) for worker in range(self.count)]

    def begin(self, worker: int, pid: int) -> None:
        """A process says that it is ``worker`` from now on."""
        at = self._at(worker)
        self._words[at + _ACTIVE] = 0
        self._words[at + _PID] = pid
        self._words[at + _STARTS] += 1

    def tell(
        self, worker: int, state: WorkerState, limit: int, level: OverloadLevel, now_ns: int
    ) -> None:
        """How ``worker`` is at ``now_ns``; but for the count of its calls."""
        at = self._at(worker)
        self._words[at + _LIMIT] = limit
        self._words[at + _LEVEL] = level
        self._words[at + _BEAT] = now_ns
        self._words[at + _STATE] = state

    def tell_active(self, worker: int, active: int) -> None:
        """So many places of ``worker`` are taken."""
        self._words[self._at(worker) + _ACTIVE] = active

    def clear(self, worker: int) -> None:
        """The process of ``worker`` is dead, and its calls with it."""
        at = self._at(worker)
        self._words[at + _STATE] = WorkerState.ABSENT
        self._words[at + _ACTIVE] = 0

    def close(self) -> None:
        """Unmap it. Twice is fine."""
        self._words.release()
        self._map.close()

    def _at(self, worker: int) -> int:
        if not 0 <= worker < self.count:
            raise MisuseError(f"there is no worker {worker}")
        return _WORDS * (1 + worker)
