"""What holds for every test."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Spare the collector three thousand collected tests, each time it runs or is made to."""
    gc.collect()
    gc.freeze()
