"""A worker without a service: tells the board that it is ready, and does as it is told.

``python worker_process.py HOW``: ``serve``, ``hang`` (tells nothing more), ``stubborn``
(hears no SIGTERM), or an exit code to end with at once; ``1:serve,3`` says it for worker 1,
and what all others do.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from voicecore.core.overload import OverloadLevel
from voicecore.service.workers.board import Board, WorkerState
from voicecore.service.workers.place import FOLDER, WORKER, end_with


def main(how: str) -> int:
    worker, folder = int(os.environ[WORKER]), Path(os.environ[FOLDER])
    board = Board(folder)
    if not end_with(board.supervisor_pid):
        return 3
    if how.isdigit():
        return int(how)
    told: list[int] = []
    stop = threading.Event()

    def on_signal(number: int, _: object) -> None:
        told.append(number)
        (folder / f"told-{worker}").write_text(" ".join(map(str, told)))
        if how != "stubborn":
            stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    board.begin(worker, os.getpid())
    while not stop.wait(0.01):
        board.tell(worker, WorkerState.READY, 1, OverloadLevel.NORMAL, time.monotonic_ns())
        if how == "hang":
            stop.wait()
    return 0


def chosen(words: str) -> str:
    """What of the argument is for this worker."""
    ways = dict(word.rpartition(":")[::2] for word in words.split(","))
    return ways.get(os.environ[WORKER], ways.get("", "serve"))


if __name__ == "__main__":
    sys.exit(main(chosen(sys.argv[1])))
