"""``--workers`` as a whole process: what is told once, one certificate, nothing left behind."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.realtime]

PATIENCE_S = 60.0
STUBS = ["--stt", "stub", "--llm", "stub", "--tts", "stub", "--vad", "energy"]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """None of the developer's settings, and folders that are the test's."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("VOICECORE_")}
    paths = os.pathsep.join(filter(None, sys.path))
    with tempfile.TemporaryDirectory(prefix="run-") as run:
        yield {
            **ours,
            "PYTHONPATH": paths,
            "XDG_RUNTIME_DIR": run,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        }


def service(environment: dict[str, str], *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "voicecore.service", "--workers", "2", "--port", "0", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def until_ready(process: subprocess.Popen[str]) -> list[str]:
    """What it says up to the banner's last line."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if "Ctrl-C stops" in line:
            break
    return lines


def post(url: str, token: str = "") -> None:
    request = urllib.request.Request(url, method="POST")
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=PATIENCE_S):
        pass


def test_a_drain_over_the_admin_listener_can_be_cut_short_in_order(
    environment: dict[str, str], unused_tcp_port: int
) -> None:
    token = "hunter2" * 4
    argv = ("--admin-port", str(unused_tcp_port), "--admin-token", token)
    process = service(environment, *STUBS, *argv, "--drain-timeout-s", "600")
    try:
        (url,) = re.findall(r"open (http://\S+)", "\n".join(until_ready(process)))
        post(f"{url}api/voice/session")
        post(f"http://127.0.0.1:{unused_tcp_port}/admin/drain", token)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.communicate()


def test_one_banner_one_certificate_and_nothing_left_behind(environment: dict[str, str]) -> None:
    process = service(environment, *STUBS, "--tls", "self", "--max-calls", "5")
    try:
        lines = until_ready(process)
        text = "\n".join(lines)
        assert text.count("takes up to 5 calls at once in 2 workers") == 1
        assert {"worker 0: tts stub: ready in 0.0 s", "worker 1: tts stub: ready in 0.0 s"} <= {
            re.sub(r"\d\.\d s", "0.0 s", line) for line in lines
        }
        port = int(re.findall(r"open https://\S+:(\d+)/", text)[0])
        shown = {
            hashlib.sha256(
                ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))
            ).hexdigest()
            for _ in range(6)
        }
        (fingerprint,) = shown
        assert fingerprint.upper() in text.replace(":", "")
        (folder,) = Path(environment["XDG_RUNTIME_DIR"]).iterdir()
        assert folder.stat().st_mode & 0o077 == 0
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")
        assert not folder.exists()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--agent", "no_such_module:agent"], "no_such_module"),
        (["--max-calls", "1"], "workers: 2 can't share 1 calls (max_calls)"),
    ],
)
def test_what_is_wrong_with_settings_is_told_once(
    environment: dict[str, str], argv: list[str], told: str
) -> None:
    process = service(environment, *STUBS, *argv)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert len(errors.splitlines()) == 1
    assert told in errors
    assert list(Path(environment["XDG_RUNTIME_DIR"]).iterdir()) == []
