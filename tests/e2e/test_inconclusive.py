"""What is too late on a machine that stood still is skipped, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CASE = Path(__file__).parent / "inconclusive_case.py"


def test_fixtures_are_torn_down_after_an_inconclusive_test() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-s", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-m", "e2e", str(CASE)], capture_output=True, text=True, check=False, timeout=60
    )
    assert "inconclusive: the machine stood still" in done.stdout, done.stdout + done.stderr
    assert "1 skipped" in done.stdout
    assert "the session's fixture is torn down" in done.stdout
    assert done.returncode == 0
