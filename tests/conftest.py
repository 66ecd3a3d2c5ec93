"""What holds for every test."""

from __future__ import annotations

import gc

import pytest


def pytest_collection_finish() -> None:
    """Spare the collector three thousand collected tests, each time it runs or is made to."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A machine may stand still for seconds: what fails in real time gets a second try.

    It is told apart in the summary ("1 rerun"), and what fails twice has failed. Nothing else is
    tried again: a property that fails for one seed in a hundred is wrong.
    """
    for item in items:
        if item.get_closest_marker("realtime"):
            item.add_marker(pytest.mark.flaky(reruns=1))
