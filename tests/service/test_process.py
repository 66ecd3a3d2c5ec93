"""The process: banner, signals, exit codes, ports that are taken. Real processes and sockets."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

from voicecore.service.__main__ import HARD_EXIT_S, SHUTDOWN_S

PROGRAM = """
import asyncio, gc, sys, types
from fakes.calls import FakeManager

class Manager(FakeManager):
    async def close(self):
        await super().close()
        if "--hang" in sys.argv:
            await asyncio.Event().wait()
        if "--block" in sys.argv:
            import time
            time.sleep(60)

fake = types.ModuleType("voicecore.service.calls")
fake.build_manager = lambda settings, engines, metrics: Manager(settings.call_limit)
sys.modules["voicecore.service.calls"] = fake
from voicecore.service import __main__ as process
if "--hang" in sys.argv or "--block" in sys.argv:
    process.SHUTDOWN_S, process.HARD_EXIT_S = 0.3, 0.6
code = process.main(
    [word for word in sys.argv[1:] if word not in ("--hang", "--block", "--frozen")]
)
sys.exit(100 if "--frozen" in sys.argv and gc.get_freeze_count() > 10_000 else code)
"""
STUBS = ["--stt", "stub", "--llm", "stub", "--tts", "stub", "--vad", "energy"]
TESTS = Path(__file__).parents[1]


class Service:
    """A service process; ``lines`` is what it printed up to the banner's end."""

    def __init__(self, *argv: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *STUBS, "--port", "0", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=TESTS,
        )
        self.lines: list[str] = []

    def wait_until_ready(self) -> str:
        """Read up to the banner's last line; the address to open."""
        for line in self._out:
            self.lines.append(line)
            if "Ctrl-C stops" in line:
                break
        match = re.search(r"open (\S+)", "".join(self.lines))
        assert match, self.lines
        return match[1]

    @property
    def _out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def end(self, *signals: signal.Signals) -> tuple[int, float, str]:
        """Send the signals; exit code, seconds it took, and what it wrote to stderr."""
        began = time.monotonic()
        for place, number in enumerate(signals):
            self.process.send_signal(number)
            if place + 1 < len(signals):
                assert "stopping" in self._out.readline()
        _, errors = self.process.communicate(timeout=30)
        return self.process.returncode, time.monotonic() - began, errors

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def services() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(services: ExitStack, *argv: str) -> Service:
    service = Service(*argv)
    services.callback(service.kill)
    return service


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_and_ends_on_a_signal(services: ExitStack, number: signal.Signals) -> None:
    service = start(services)
    url = service.wait_until_ready()
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url + "readyz", timeout=5) as reply:
        assert json.load(reply)["status"] == "ready"
    code, seconds, errors = service.end(number)
    assert (code, errors) == (0, "")
    assert seconds < 5


def test_what_start_up_made_is_out_of_the_collectors_rounds(services: ExitStack) -> None:
    service = start(services, "--frozen")
    service.wait_until_ready()
    code, _, errors = service.end(signal.SIGTERM)
    assert (code, errors) == (100, "")


def test_second_signal_ends_at_once(services: ExitStack) -> None:
    service = start(services, "--hang")
    service.wait_until_ready()
    code, seconds, _ = service.end(signal.SIGINT, signal.SIGINT)
    assert code == 130
    assert seconds < 2


@pytest.mark.parametrize("how", ["--hang", "--block"])
def test_gone_in_time_whatever_hangs(services: ExitStack, how: str) -> None:
    assert SHUTDOWN_S < HARD_EXIT_S < 5
    service = start(services, how)
    service.wait_until_ready()
    code, seconds, _ = service.end(signal.SIGTERM)
    assert code == 1
    assert seconds < 3


def test_taken_port_is_one_clear_line(services: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start(services, "--port", str(port))
        code, _, errors = service.end()
    assert code == 2
    assert errors.splitlines() == [
        f"voicecore: can't listen on 127.0.0.1 port {port}: it is in use by another program;"
        " choose another with --port"
    ]
