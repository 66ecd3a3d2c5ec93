"""The worker's end of the pipe: what a child process needs to serve frames.

Single-threaded on purpose: the libraries that live in workers hold the GIL or
are not re-entrant. While one of them is busy the worker looks for a CANCEL by
calling :meth:`Link.cancelled` between pieces of work.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

from voicecore.engines.framing import Frame, FrameParser, Kind, pack, pack_json
from voicecore.errors import VoicecoreError

MAX_INBOX_AUDIO: Final = 60 * 16_000 * 2  # a minute of 16 kHz int16
_PR_SET_PDEATHSIG: Final = 1
_READ_SIZE: Final = 1 << 16


class Link:
    """Frames from and to the server.

    Audio that waits here is bounded by a minute for each stream; beyond it the
    stream's oldest frame is dropped and counted. Other frames are few by
    construction (the server sends OPEN, FINISH and CANCEL once per stream).
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        """Own both descriptors; the caller must not use them any more."""
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._parser = FrameParser()
        self._inbox: deque[Frame] = deque()
        self._audio_bytes: Counter[int] = Counter()
        self._dropped_bytes: Counter[int] = Counter()
        self._cancelled: set[int] = set()
        self.closed = False

    def receive(self, timeout_s: float | None = None) -> Frame | None:
        """Wait for the next frame; None at end of file or after ``timeout_s`` seconds."""
        while not self._inbox and not self.closed:
            if not self._poll(timeout_s):
                return None
        if not self._inbox:
            return None
        frame = self._inbox.popleft()
        if frame.kind is Kind.AUDIO:
            self._audio_bytes[frame.stream] -= len(frame.payload)
        elif frame.kind is Kind.CANCEL:
            self._cancelled.discard(frame.stream)
        return frame

    def cancelled(self, stream: int) -> bool:
        """Whether ``stream`` need not go on (CANCEL has come, or the server is gone)."""
        while not self.closed and self._poll(0.0):
            pass
        return self.closed or stream in self._cancelled

    def forget(self, stream: int) -> int:
        """A stream is over; how many bytes of its audio were dropped."""
        del self._audio_bytes[stream]
        return self._dropped_bytes.pop(stream, 0)

    @property
    def waiting(self) -> bool:
        """Whether a frame has come that :meth:`receive` would give at once."""
        while not self.closed and self._poll(0.0):
            pass
        return bool(self._inbox)

    def send(self, kind: Kind, stream: int, payload: bytes | memoryview = b"") -> None:
        """Write one frame; blocks while the pipe is full; sets ``closed`` if it broke."""
        self._write(pack(kind, stream, payload))

    def send_json(self, kind: Kind, stream: int, value: dict[str, Any]) -> None:
        """Write one frame with a JSON payload, like :meth:`send`."""
        self._write(pack_json(kind, stream, value))

    def _write(self, frame: bytes) -> None:
        rest = memoryview(frame)
        try:
            while rest:
                rest = rest[os.write(self._write_fd, rest) :]
        except ConnectionError:
            self.closed = True

    def _poll(self, timeout_s: float | None) -> bool:
        """Read what has come, waiting up to ``timeout_s``; False if nothing has."""
        readable, _, _ = select.select([self._read_fd], [], [], timeout_s)
        if not readable:
            return False
        try:
            data = os.read(self._read_fd, _READ_SIZE)
        except ConnectionError:
            data = b""
        if not data:
            self.closed = True
        for frame in self._parser.feed(data):
            self._take(frame)
        return True

    def _take(self, frame: Frame) -> None:
        self._inbox.append(frame)
        if frame.kind is Kind.CANCEL:
            self._cancelled.add(frame.stream)
        elif frame.kind is Kind.AUDIO:
            self._audio_bytes[frame.stream] += len(frame.payload)
            if self._audio_bytes[frame.stream] > MAX_INBOX_AUDIO:
                self._drop_oldest_audio(frame.stream)

    def _drop_oldest_audio(self, stream: int) -> None:
        index = next(
            i
            for i, frame in enumerate(self._inbox)
            if frame.kind is Kind.AUDIO and frame.stream == stream
        )
        size = len(self._inbox[index].payload)
        del self._inbox[index]
        self._audio_bytes[stream] -= size
        self._dropped_bytes[stream] += size


def run_worker(serve: Callable[[Link, dict[str, Any]], None]) -> None:
    """Main function of a worker module: set the process up, then call ``serve``.

    ``argv`` is the server's process id and the settings as JSON. Must be
    called before the engine's library is imported, so that nothing this
    library prints gets between the frames. An exception before READY reaches
    the server as an ERROR frame on stream 0. The setting ``nice`` (0..19), if there
    is one, is by how much the process gives way to others, as media threads.
    """
    _die_with_parent(int(sys.argv[1]))
    settings: dict[str, Any] = json.loads(sys.argv[2])
    os.nice(settings.get("nice", 0))
    link = Link(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    try:
        serve(link, settings)
    except VoicecoreError as error:
        link.send_json(Kind.ERROR, 0, {"code": error.code, "message": str(error)})
        raise SystemExit(1) from None
    except Exception:
        message = "worker failed, see the traceback on standard error"
        link.send_json(Kind.ERROR, 0, {"code": "worker_failed", "message": message})
        raise


def _die_with_parent(parent_pid: int) -> None:
    """Ask the kernel for SIGKILL when the server dies, even by SIGKILL itself."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux: end of file must do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before the line above
        raise SystemExit(1)
