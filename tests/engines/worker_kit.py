"""What the tests of the engines in worker processes share."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from voicecore.engines.framing import Frame, Kind
from voicecore.errors import EngineError


class Recorder:
    """A stream handler that keeps what it is told."""

    def __init__(self):
        self.frames: list[Frame] = []
        self.error: EngineError | None = None
        self._changed = asyncio.Event()

    def handle_frame(self, frame):
        self.frames.append(frame)
        self._changed.set()

    def handle_lost(self, error):
        self.error = error
        self._changed.set()

    async def until(self, condition, limit_s=60.0):
        async with asyncio.timeout(limit_s):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    @property
    def ended(self):
        return bool(self.frames) and self.frames[-1].kind in (Kind.END, Kind.ERROR)


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> list[int]:
    """Process ids of this process's children, zombies included."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
            found.append(int(entry.name))
    return found


async def settle(condition, limit_s=60.0):
    """Wait for something of another process to become true."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - another process sets no event of ours
            await asyncio.sleep(0.005)
