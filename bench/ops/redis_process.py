"""A redis-server of one's own, from Debian, that remembers nothing over its end."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caller.server import free_port

_PATIENCE_S = 20.0
MISSING = "needs redis-server (apt-get install redis-server)"


def available() -> bool:
    """Whether there is one to start."""
    return shutil.which("redis-server") is not None


class RedisProcess:
    """A redis-server on loopback."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder, self._flags = folder, flags
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin, empty; returns when it listens."""
        command = [
            "redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(self._folder), *self._flags,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        deadline_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline_s and self._process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as line:
                    line.sendall(b"PING\r\n")
                    if line.recv(5) == b"+PONG":
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise TimeoutError("redis-server does not answer")

    def signal(self, number: signal.Signals) -> None:
        """To its process."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once; what it had is lost. Twice is fine."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def redis_process(folder: Path, *flags: str) -> Iterator[RedisProcess]:
    """A running one; ended in any case."""
    one = RedisProcess(folder, *flags)
    try:
        one.start()
        yield one
    finally:
        one.kill()
