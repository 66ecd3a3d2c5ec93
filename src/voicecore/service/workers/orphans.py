"""Processes that nobody waits for: those of a dead worker's engines, where we are process 1.

In a container without an init of its own they become the supervisor's children, and as
zombies would fill its table of processes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

_TASKS = Path("/proc/self/task")


def bury(ours: Collection[int]) -> None:
    """Take notice of dead children but ``ours``, for whom somebody waits. Doesn't wait.

    Where the kernel doesn't list children nothing is done.
    """
    for task in _TASKS.iterdir():
        with contextlib.suppress(OSError):
            for child in map(int, (task / "children").read_text().split()):
                if child not in ours:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(child, os.WNOHANG)
