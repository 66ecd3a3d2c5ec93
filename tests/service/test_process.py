"""The process: banner, signals, exit codes, ports that are taken. Real processes and sockets."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

from voicecore.service.__main__ import HARD_EXIT_S, SHUTDOWN_S, SWITCH_INTERVAL_S

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

PROGRAM = """
import asyncio, gc, sys, time, types
from fakes.calls import FakeManager

class Manager(FakeManager):
    async def close(self):
        await super().close()
        if "--hang" in sys.argv:
            await asyncio.Event().wait()
        if "--block" in sys.argv:
            time.sleep(3600)

fake = types.ModuleType("voicecore.service.calls")
fake.build_manager = lambda settings, engines, metrics, directory: Manager(settings.call_limit)
sys.modules["voicecore.service.calls"] = fake
from voicecore.service import __main__ as process
if "--soon" in sys.argv:
    process.SHUTDOWN_S, process.HARD_EXIT_S = 0.1, 0.3
if "--late" in sys.argv:
    process.SHUTDOWN_S, process.HARD_EXIT_S = 3600, 3600
own = ("--hang", "--block", "--soon", "--late")
code = process.main([word for word in sys.argv[1:] if word not in own])
print("switch interval:", sys.getswitchinterval())
print("frozen:", gc.get_freeze_count())
sys.exit(code)
"""
PATIENCE_S = 60.0
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

    def end(self, *signals: signal.Signals) -> tuple[int, str]:
        """Send the signals; exit code, and what it wrote to stderr."""
        for place, number in enumerate(signals):
            self.process.send_signal(number)
            if place + 1 < len(signals):
                assert "stopping" in self._out.readline()
        rest, errors = self.process.communicate(timeout=PATIENCE_S)
        self.lines += rest.splitlines()
        return self.process.returncode, errors

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
    with urllib.request.urlopen(url + "readyz", timeout=PATIENCE_S) as reply:
        assert json.load(reply)["status"] == "ready"
    assert service.end(number) == (0, "")
    *_, interval, last = service.lines
    assert interval.strip() == f"switch interval: {SWITCH_INTERVAL_S}"
    *_, frozen = last.split()
    assert int(frozen) > 10_000, "what start-up made is out of the collector's rounds"


def test_second_signal_ends_at_once(services: ExitStack) -> None:
    service = start(services, "--hang", "--late")
    service.wait_until_ready()
    code, _ = service.end(signal.SIGINT, signal.SIGINT)
    assert code == 130


@pytest.mark.parametrize("how", ["--hang", "--block"])
def test_gone_in_time_whatever_hangs(services: ExitStack, how: str) -> None:
    assert SHUTDOWN_S < HARD_EXIT_S < 5
    service = start(services, how, "--soon")
    service.wait_until_ready()
    code, _ = service.end(signal.SIGTERM)
    assert code == 1


def test_taken_port_is_one_clear_line(services: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start(services, "--port", str(port))
        code, errors = service.end()
    assert code == 2
    assert errors.splitlines() == [
        f"voicecore: can't listen on 127.0.0.1 port {port}: it is in use by another program;"
        " choose another with --port"
    ]
