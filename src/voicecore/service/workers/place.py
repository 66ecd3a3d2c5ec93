"""What a supervisor tells a worker when it starts it, by environment variables."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voicecore.errors import MisuseError

WORKER, FOLDER, SOCKETS = "VOICECORE_WORKER", "VOICECORE_WORKER_DIR", "VOICECORE_WORKER_SOCKETS"
PUBLIC, ADMIN = "public", "admin"
DRAIN_SIGNAL = signal.SIGUSR1
"""By which a worker tells the supervisor that a drain was asked for over the admin listener.
Unlike SIGTERM it doesn't count as the first signal: that often follows, and the second
ends all at once."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Place:
    """One worker among others: its index, their folder, the sockets they all listen on.

    ``sockets`` are pairs of what is served there (``public`` or ``admin``) and the
    descriptor, which is inherited.
    """

    index: int
    folder: Path
    sockets: tuple[tuple[str, int], ...]

    @classmethod
    def find(cls, environment: Mapping[str, str]) -> Place | None:
        """Whose the environment makes this process; None: no supervisor started it.

        Raises MisuseError for variables that no supervisor wrote.
        """
        if WORKER not in environment:
            return None
        try:
            pairs = [pair.partition("=") for pair in environment[SOCKETS].split()]
            sockets = tuple((kind, int(number)) for kind, _, number in pairs)
            return cls(int(environment[WORKER]), Path(environment[FOLDER]), sockets)
        except (KeyError, ValueError):
            raise MisuseError(
                f"{WORKER} is set, which only --workers does for processes it starts: unset it"
            ) from None

    def variables(self) -> dict[str, str]:
        """What :meth:`find` reads."""
        pairs = " ".join(f"{kind}={number}" for kind, number in self.sockets)
        return {WORKER: str(self.index), FOLDER: str(self.folder), SOCKETS: pairs}

    def take_sockets(self, kind: str) -> list[socket.socket]:
        """The listening sockets of that kind, the caller's from now on. Once."""
        taken = []
        for name, number in self.sockets:
            if name == kind:
                os.set_inheritable(number, False)
                taken.append(socket.socket(fileno=number))
        return taken

    def clear_up(self) -> None:
        """Remove our part of the folder, whose owner is dead; all of it if we are the last."""
        for path in (
            requests_socket(self.folder, self.index),
            inner_socket(self.folder, self.index),
        ):
            path.unlink(missing_ok=True)
        if not list(self.folder.glob("*.sock")):
            shutil.rmtree(self.folder, ignore_errors=True)


def requests_socket(folder: Path, worker: int) -> Path:
    """Where ``worker`` takes what others pass on to it."""
    return folder / f"{worker}.sock"


def inner_socket(folder: Path, worker: int) -> Path:
    """Where ``worker`` tells other workers what is nobody else's business."""
    return folder / f"{worker}.inner"


def end_with(parent_pid: int) -> bool:
    """See to it that this process is told to end (SIGTERM) when its parent dies.

    False: it is dead already. Linux alone knows this; it is the parent's thread that
    counts, and the supervisor has one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    return os.getppid() == parent_pid


def descriptors(sockets: Sequence[tuple[str, socket.socket]]) -> tuple[tuple[str, int], ...]:
    """``sockets`` as :class:`Place` has them."""
    return tuple((kind, sock.fileno()) for kind, sock in sockets)
