"""The process: banner, signals, exit codes, ports that are taken. Real processes and sockets."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
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
        for line in self.out:
            self.lines.append(line)
            if "Ctrl-C stops" in line:
                break
        match = re.search(r"open (\S+)", "".join(self.lines))
        assert match, self.lines
        return match[1]

    @property
    def out(self) -> IO[str]:
        """What it prints."""
        assert self.process.stdout is not None
        return self.process.stdout

    def end(self, *signals: signal.Signals) -> tuple[int, str]:
        """Send the signals; exit code, and what it wrote to stderr."""
        for place, number in enumerate(signals):
            self.process.send_signal(number)
            if place + 1 < len(signals):
                assert "stopping" in self.out.readline()
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


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


# -- drain ------------------------------------------------------------------------------------

STATUS = tuple[int, str]


def ask(url: str, method: str = "GET", token: str = "", body: bytes | None = None) -> STATUS:
    """Status and body, of errors too."""
    request = urllib.request.Request(url, method=method, data=body)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def open_call(url: str) -> tuple[str, str]:
    """A call of the fake manager's: its path, and its token."""
    status, text = ask(url + "api/voice/session", "POST")
    assert status == 200
    opened = json.loads(text)
    return f"{url}api/voice/session/{opened['session_id']}", opened["token"]


def read_until(service: Service, words: str) -> str:
    for line in service.out:
        service.lines.append(line)
        if words in line:
            return line
    raise AssertionError(f"{words!r} is not in {service.lines}")


def test_a_drain_lets_calls_end_and_takes_no_others(services: ExitStack) -> None:
    service = start(services, "--drain-timeout-s", "600", "--soon")
    url = service.wait_until_ready()
    call, token = open_call(url)
    service.process.send_signal(signal.SIGTERM)
    assert "1 call left, up to 600 s" in read_until(service, "draining")
    for path, method in (("readyz", "GET"), ("api/voice/session", "POST")):
        status, text = ask(url + path, method)
        assert (status, json.loads(text)["error"]["code"]) == (503, "draining")
    assert ask(url + "healthz")[0] == 200
    assert ask(call, token=token)[0] == 200, "signaling goes on"
    assert ask(call, "DELETE", token)[0] == 204
    assert service.end() == (0, "")


def test_a_drain_may_last_longer_than_the_end(services: ExitStack) -> None:
    """The watchdog of an end that hangs (0.3 s here) doesn't cut the drain (1 s) short."""
    service = start(services, "--drain-timeout-s", "1", "--soon")
    open_call(service.wait_until_ready())
    began_s = time.monotonic()
    assert service.end(signal.SIGTERM) == (0, "")
    assert time.monotonic() - began_s >= 1


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_drain_at_once(services: ExitStack, second: signal.Signals) -> None:
    service = start(services, "--drain-timeout-s", "600", "--late")
    open_call(service.wait_until_ready())
    code, _ = service.end(signal.SIGTERM, second)
    assert code == 130


def test_a_drain_over_the_admin_listener_ends_the_process(services: ExitStack) -> None:
    port, token = free_port(), "hunter2" * 4
    service = start(
        services, "--drain-timeout-s", "600", "--admin-port", str(port), "--admin-token", token
    )
    url = service.wait_until_ready()
    call, call_token = open_call(url)
    admin = f"http://127.0.0.1:{port}/"
    assert ask(url + "metrics")[0] == 404
    assert ask(admin + "metrics")[0] == 200
    assert ask(admin + "admin/drain", "POST")[0] == 401
    for _ in range(2):
        status, text = ask(admin + "admin/drain", "POST", token)
        assert (status, json.loads(text)["status"]) == (202, "draining")
    # As Kubernetes does: preStop first, then SIGTERM, which must not cut it short.
    service.process.send_signal(signal.SIGTERM)
    read_until(service, "draining")
    assert json.loads(ask(admin + "admin/sessions", token=token)[1])["calls"]["active"] == 1
    assert ask(call, "DELETE", call_token)[0] == 204
    assert service.end() == (0, "")


def test_a_taken_admin_port_is_one_clear_line(services: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = start(services, "--admin-port", str(port), "--admin-token", "x" * 16)
        code, errors = service.end()
    assert code == 2
    assert errors.splitlines() == [
        f"voicecore: can't listen on 127.0.0.1 port {port}: it is in use by another program;"
        " choose another with --admin-port"
    ]


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
