"""Run by ``test_inconclusive.py``: a test that is too late on a machine that stood still."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.patience import timely


@pytest.fixture(scope="session")
def kept() -> Iterator[None]:
    yield
    print("the session's fixture is torn down")


def test_too_late(machine: Any, kept: None) -> None:
    begin_ns = time.monotonic_ns()
    time.sleep(0.2)
    spans = [f"{begin_ns} {time.monotonic_ns()}\n"]
    for _ in range(os.cpu_count() or 1):
        machine.stalls.read(spans)
    timely(False, "nothing ran")
