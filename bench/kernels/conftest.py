"""Races between our kernels and their peers: thread CPU time, one run, ratios printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from report import Bar, Report

Race = Callable[..., None]

_TIMES_NS: dict[str, dict[str, float]] = {}
_GOALS: dict[str, float] = {}


@pytest.fixture
def race(benchmark: Any) -> Race:
    """``race(name, who, function, goal)``: time one runner; ``who="ours"`` is ours."""

    def run(name: str, who: str, function: Callable[[], object], goal: float) -> None:
        benchmark.group = name
        benchmark(function)
        _TIMES_NS.setdefault(name, {})[who] = benchmark.stats.stats.median * 1e9
        _GOALS[name] = goal

    return run


def pytest_terminal_summary() -> None:
    """Print one table and write ``build/bench/kernels.json``."""
    if not _TIMES_NS:
        return
    report = Report("kernels")
    for name, times in _TIMES_NS.items():
        ours = times.get("ours")
        peers = {who: ns for who, ns in times.items() if who != "ours"}
        peer = min(peers, key=peers.__getitem__) if peers else ""
        ratio = peers[peer] / ours if ours and peers else None
        report.rows.append(
            {
                "name": name,
                "ours_ns": ours,
                "peer": peer,
                "peer_ns": peers.get(peer),
                "ratio": ratio,
                "goal_ratio": _GOALS[name],
            }
        )
        report.bars.append(Bar(f"{name}, against {peer}", ratio, "x", ">=", _GOALS[name]))
    print()
    report.write()
