"""Which worker gets the next call."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from voicecore.core.overload import OverloadLevel
from voicecore.service.workers.board import Slot, WorkerState
from voicecore.service.workers.choice import best

NOW_NS = 1_000_000_000_000
READY, IMPAIRED = WorkerState.READY, WorkerState.IMPAIRED
CALM, SAVING, REFUSING = OverloadLevel.NORMAL, OverloadLevel.SAVING, OverloadLevel.REFUSING


def slot(worker: int, active: int, state: WorkerState = READY, level: OverloadLevel = CALM) -> Slot:
    return Slot(worker, 1, state, active, 10, level, NOW_NS, 1)


@pytest.mark.parametrize(
    ("slots", "own", "chosen"),
    [
        ([slot(0, 3), slot(1, 2), slot(2, 4)], 0, 1),
        ([slot(0, 2), slot(1, 2), slot(2, 2)], 1, 1),  # no better elsewhere: no hop
        ([slot(0, 1), slot(1, 1), slot(2, 5)], 2, 0),
        ([slot(0, 0), slot(1, 0), slot(2, 5)], 2, 0),
        ([slot(0, 5), slot(1, 0), slot(2, 0)], 0, 1),  # the next behind
        ([slot(0, 10), slot(1, 9)], 0, 1),  # full
        ([slot(0, 10), slot(1, 10)], 0, None),
        ([slot(0, 9, READY), slot(1, 0, IMPAIRED)], 1, 0),
        ([slot(0, 10, READY), slot(1, 9, IMPAIRED)], 0, 1),
        ([slot(0, 9, level=CALM), slot(1, 0, level=SAVING)], 1, 0),
        ([slot(0, 9, level=SAVING), slot(1, 0, level=REFUSING)], 1, 0),
        ([slot(0, 0, WorkerState.LOADING), slot(1, 0, WorkerState.DRAINING)], 0, None),
    ],
)
def test_the_best(slots: list[Slot], own: int, chosen: int | None) -> None:
    assert best(slots, own=own, on_the_way={}, tried=(), now_ns=NOW_NS) == chosen


def test_who_has_been_tried_is_left_out() -> None:
    slots = [slot(0, 0), slot(1, 5)]
    assert best(slots, own=0, on_the_way={}, tried={0}, now_ns=NOW_NS) == 1
    assert best(slots, own=0, on_the_way={}, tried={0, 1}, now_ns=NOW_NS) is None


def test_a_burst_is_spread_though_nobody_has_answered_yet() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    slots = [slot(worker, rng.randrange(3)) for worker in range(4)]
    sent: Counter[int] = Counter()
    for _ in range(24):
        worker = best(slots, own=0, on_the_way=sent, tried=(), now_ns=NOW_NS)
        assert worker is not None
        sent[worker] += 1
    loads = [one.active + sent[one.worker] for one in slots]
    assert max(loads) - min(loads) <= 1


def test_places_on_the_way_close_no_worker() -> None:
    # They may be counted twice, there and here: only who has the calls refuses one.
    assert best([slot(0, 9)], own=0, on_the_way={0: 5}, tried=(), now_ns=NOW_NS) == 0
