"""A real HAProxy with the configuration that we ship (``service/haproxy/haproxy.cfg``)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from caller.server import free_port

MISSING = "needs haproxy (apt-get install haproxy)"
CONFIG = Path(__file__).parents[2] / "service" / "haproxy" / "haproxy.cfg"
_PATIENCE_S = 20.0
_OWN_SYNC_S = 5.5
"""A process hands its table on only once it has given up finding one for itself (5 s)."""
_ROOTS_ONLY = ("user ", "group ")


def available() -> bool:
    """Whether there is one to start."""
    return shutil.which("haproxy") is not None


class HAProxyProcess:
    """HAProxy on ``host`` in front of ``instances``: URLs' ``host:port`` by name.

    The configuration is the shipped one to the letter; addresses are its variables. (Who
    isn't root can't become another user: then those two lines are left out.)
    """

    def __init__(self, folder: Path, instances: Mapping[str, str], host: str = "127.0.0.1") -> None:
        self.port, self._folder = free_port(), folder
        self.url = f"http://{host}:{self.port}"
        self._socket = folder / "haproxy.sock"
        self._environment = {
            **os.environ,
            **{f"VOICECORE_{name.upper()}": address for name, address in instances.items()},
            "VOICECORE_BIND": f"{host}:{self.port}",
            "VOICECORE_PEERS": f"127.0.0.1:{free_port()}",
            "VOICECORE_STATS": str(self._socket),
            "VOICECORE_LOG": "stdout",
        }
        self._config = CONFIG
        if os.geteuid() != 0:
            lines = CONFIG.read_text().splitlines(keepends=True)
            self._config = folder / "haproxy.cfg"
            self._config.write_text(
                "".join(line for line in lines if not line.strip().startswith(_ROOTS_ONLY))
            )
        self._begun_s = 0.0
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *flags: str) -> None:
        """Begin; returns when it listens."""
        with (self._folder / "haproxy.log").open("ab") as log:
            command = ["haproxy", "-db", "-f", str(self._config), *flags]
            self._processes.append(
                subprocess.Popen(
                    command, env=self._environment, stdout=log, stderr=subprocess.STDOUT
                )
            )
        self._begun_s = time.monotonic()
        deadline_s = self._begun_s + _PATIENCE_S
        while time.monotonic() < deadline_s and self._processes[-1].poll() is None:
            try:
                pid = self.ask("show info").partition("Pid: ")[2].split()[0]
                if int(pid) == self._processes[-1].pid:
                    return
            except (OSError, IndexError):
                pass
            time.sleep(0.02)
        raise RuntimeError(f"haproxy did not start: {self.log()[-2000:]}")

    def reload(self) -> None:
        """A new process takes over sockets and table, as ``systemctl reload haproxy`` has it."""
        old = self._processes[-1]
        time.sleep(max(0.0, self._begun_s + _OWN_SYNC_S - time.monotonic()))
        self.start("-x", str(self._socket), "-sf", str(old.pid))
        old.wait(_PATIENCE_S)

    def ask(self, command: str) -> str:
        """An answer of its statistics socket (management.txt, section 9.3)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(5)
            line.connect(str(self._socket))
            line.sendall(command.encode() + b"\n")
            parts = []
            while part := line.recv(65536):
                parts.append(part)
        return b"".join(parts).decode()

    def state(self, name: str) -> str:
        """How the server ``name`` is: ``UP``, ``NOLB``, ``DOWN``..., perhaps with more words."""
        for line in self.ask("show stat").splitlines():
            fields = line.split(",")
            if fields[:2] == ["instances", name]:
                return fields[17]
        raise KeyError(name)

    def forget(self) -> None:
        """Empty the table, as if HAProxy had been started anew."""
        self.ask("clear table instances")

    def log(self) -> str:
        """What it wrote."""
        path = self._folder / "haproxy.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def end(self) -> None:
        """At once; twice is fine."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
        self._processes.clear()
