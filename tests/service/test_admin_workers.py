"""The admin listener of several workers: any of them shows all calls, ends them, drains all."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

pytestmark = [pytest.mark.realtime, pytest.mark.slow]

PATIENCE_S = 60.0
TOKEN = "a-token-of-this-test"
STUBS = ("--stt", "stub", "--llm", "stub", "--tts", "stub", "--vad", "energy", "--overload", "off")
DRAIN_S = 40


@dataclass
class Workers:
    """A service of two workers and its listeners."""

    process: subprocess.Popen[str]
    public: str
    admin: str
    lines: list[str]

    def ask(self, url: str, method: str = "GET", body: object = None) -> tuple[int, Any]:
        """Status and JSON of an answer to who has the admin token."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, method=method, data=data)
        request.add_header("Authorization", f"Bearer {TOKEN}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
                text = reply.read()
                return reply.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def sessions(self) -> dict[str, Any]:
        status, seen = self.ask(self.admin + "admin/sessions")
        assert status == 200
        return {row["session_id"]: row for row in seen["sessions"]}

    def read_until(self, words: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return
        raise AssertionError(f"{words!r} is not in {self.lines}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def workers() -> Iterator[Workers]:
    public, admin = free_port(), free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "voicecore.service", *STUBS,
            "--workers", "2", "--port", str(public), "--drain-timeout-s", str(DRAIN_S),
            "--answer-timeout-s", "30", "--admin-port", str(admin), "--admin-token", TOKEN,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    made = Workers(process, f"http://127.0.0.1:{public}/", f"http://127.0.0.1:{admin}/", [])
    try:
        made.read_until("Ctrl-C stops")
        yield made
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_one_page_for_all_of_them(workers: Workers) -> None:
    assert f"  live calls: {workers.admin}admin/sessions\n" in workers.lines
    opened = [workers.ask(workers.public + "api/voice/session", "POST")[1] for _ in range(4)]
    ids = {one["session_id"] for one in opened}
    assert {session_id.split("-")[1] for session_id in ids} == {"0", "1"}
    assert set(workers.sessions()) == ids
    _, seen = workers.ask(workers.admin + "admin/sessions")
    assert seen["calls"]["active"] == 4
    assert [(one["worker"], one["calls"]["active"]) for one in seen["workers"]] == [(0, 2), (1, 2)]
    for session_id in list(ids)[:2]:
        path = f"{workers.admin}admin/sessions/{session_id}"
        assert workers.ask(path, "DELETE")[0] == 204
        assert workers.ask(path, "DELETE")[0] == 404
        ids.remove(session_id)
        assert set(workers.sessions()) == ids

    drain = workers.admin + "admin/drain"
    assert workers.ask(drain, "POST", {"timeout_s": DRAIN_S + 1})[0] == 422
    for timeout_s in (DRAIN_S - 10, DRAIN_S):
        status, told = workers.ask(drain, "POST", {"timeout_s": timeout_s})
        assert (status, told["status"]) == (202, "draining")
    workers.read_until("no new calls")
    # What stops a container sends SIGTERM then, which must not be taken for a second one.
    workers.process.send_signal(signal.SIGTERM)
    assert workers.ask(workers.public + "api/voice/session", "POST")[0] == 503
    assert set(workers.sessions()) == ids
    # Each worker has the same time, whichever answers.
    for _ in range(4):
        _, seen = workers.ask(workers.admin + "admin/sessions")
        assert DRAIN_S - 20 < seen["drain_left_s"] <= DRAIN_S - 10
    for session_id in ids:
        assert workers.ask(f"{workers.admin}admin/sessions/{session_id}", "DELETE")[0] == 204
    assert workers.process.wait(PATIENCE_S) == 0
