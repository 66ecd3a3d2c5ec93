"""Races between our kernels and their peers: thread CPU time, one run, ratios printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from kernels.table import Table
from report import quick

Race = Callable[..., None]
Enter = Callable[..., None]

ROUND_S = 0.002
ROUNDS = 15
TURNS = 8
"""Every race is run so often, all others in between: this machine's speed changes over seconds."""

_TABLE = Table()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let races take turns."""
    if "race" in metafunc.fixturenames:
        turns = range(1 if quick() else TURNS)
        metafunc.parametrize("_turn", turns, ids=lambda turn: f"turn{turn}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All first turns, then all second ones; what takes no turns comes with the first."""
    items.sort(key=_turn_of)


def _turn_of(item: pytest.Item) -> int:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("_turn", 0) if callspec else 0


@pytest.fixture
def race(benchmark: Any, _turn: int) -> Race:
    """``race(name, who, function, ...)``: time one runner of one race.

    ``who="ours"`` is ours, any other name a peer; the fastest peer counts. ``per_call`` says
    how many blocks one call of ``function`` works through (loops written in C); figures are
    for one block. ``goal_ratio`` (peer / ours) and ``goal_ns`` are what ours is to reach,
    None for a row without a goal; ``macs`` are the multiply-adds of one block, where the
    share of the machine's peak is of interest; ``isa`` defaults to the one in use.
    """

    def run(
        name: str,
        who: str,
        function: Callable[[], object],
        *,
        per_call: int = 1,
        goal_ratio: float | None = None,
        goal_ns: float | None = None,
        macs: int | None = None,
        isa: str | None = None,
    ) -> None:
        benchmark.group = name
        # Rounds of many calls: the clock of a thread's CPU time costs as much as a kernel.
        benchmark.pedantic(
            function, iterations=_calls_in(ROUND_S, function), rounds=10 if quick() else ROUNDS
        )
        # The minimum: whatever else this machine does only adds.
        row = _TABLE.row(name, goal_ratio=goal_ratio, goal_ns=goal_ns, macs=macs, isa=isa)
        row.add(who, benchmark.stats.stats.min * 1e9 / per_call)

    return run


@pytest.fixture
def enter() -> Enter:
    """``enter(name, who, ns, goal_ratio=…)``: a time for one block that was measured otherwise."""

    def put(name: str, who: str, ns: float, *, goal_ratio: float | None = None) -> None:
        row = _TABLE.row(name, goal_ratio=goal_ratio, goal_ns=None, macs=None, isa=None)
        row.add(who, ns)

    return put


def _calls_in(seconds: float, function: Callable[[], object]) -> int:
    """How many calls take about so long; warms up on the way."""
    calls = 1
    while True:
        start_s = time.thread_time()
        for _ in range(calls):
            function()
        spent_s = time.thread_time() - start_s
        if spent_s >= seconds / 4:
            return max(1, round(calls * seconds / spent_s))
        calls *= 4


def pytest_terminal_summary() -> None:
    """Print one table and write ``build/bench/kernels.json``."""
    _TABLE.write()
