"""What is done when a worker dies."""

from __future__ import annotations

import pytest

from voicecore.service.workers.restarts import (
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    STEADY_S,
    Backoff,
    verdict,
)


def test_who_dies_young_waits_longer_each_time() -> None:
    backoff = Backoff()
    waits = [backoff.after(1.0) for _ in range(9)]
    assert waits[:3] == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert waits[-1] == LONGEST_WAIT_S
    assert backoff.after(STEADY_S) == FIRST_WAIT_S


@pytest.mark.parametrize(
    ("code", "worker", "ready", "failed", "started", "expected"),
    [
        # Alone at first: as a process that is the whole service.
        (2, 0, [], [0], [0], 2),
        (1, 0, [], [0], [0], 1),
        (-11, 0, [], [0], [0], 1),
        # An engine can't start, for one as for all.
        (1, 1, [], [1], [0, 1], 1),
        # A port of its own is taken.
        (2, 1, [0], [1], [0, 1], 2),
        # Killed while it loads; the others may do better.
        (-9, 1, [], [1], [0, 1], None),
        (-9, 0, [], [0, 1], [0, 1], 1),
        (1, 1, [0], [1], [0, 1], None),
        # Whoever was ready once is started again, come what may.
        (-9, 1, [0, 1], [], [0, 1], None),
        (2, 1, [0, 1], [], [0, 1], None),
        (0, 1, [1], [0], [0, 1], None),
    ],
)
def test_when_it_is_given_up(
    code: int,
    worker: int,
    ready: list[int],
    failed: list[int],
    started: list[int],
    expected: int | None,
) -> None:
    given_up = verdict(code, worker=worker, ready=ready, failed=failed, started=started)
    assert given_up == expected
