"""Thousands of calls at random: each rule of ``random_call`` holds in every one."""

from __future__ import annotations

from collections import Counter

import pytest

from core.random_call import RandomCall
from voicecore.core import actions as act

CALLS = 2_000
PARTS = 8


@pytest.fixture(scope="module")
def done() -> Counter[str]:
    """How often each action was taken in all calls so far."""
    counts: Counter[str] = Counter()
    return counts


@pytest.mark.parametrize("part", range(PARTS))
def test_no_call_breaks_a_rule_or_is_left_hanging(part: int, done: Counter[str]) -> None:
    for seed in range(part * CALLS // PARTS, (part + 1) * CALLS // PARTS):
        try:
            call = RandomCall(seed).run()
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__} {error}") from error
        for _, action in call.log:
            done[_name(action)] += 1
        done["goodbye heard"] += call.heard_goodbye
    assert done


def test_everything_that_can_happen_happened(done: Counter[str]) -> None:
    if done["Listen"] < CALLS:
        pytest.skip("needs the calls of the tests before")
    plain = {kind.__name__ for kind in act.ALL_ACTIONS} - {o.split()[0] for o in _OUTCOMES}
    for name in (*sorted(plain), *_OUTCOMES):
        assert done[name] > 20, name


@pytest.mark.parametrize("seed", range(0, CALLS, 67))
def test_the_same_call_again_is_decided_identically(seed: int) -> None:
    assert RandomCall(seed).run().log == RandomCall(seed).run().log


_OUTCOMES = (
    "RecordSuspicion interruption",
    "RecordSuspicion nothing",
    "RecordSpeculation used",
    "RecordSpeculation wasted",
    "goodbye heard",
)


def _name(action: act.Action) -> str:
    if isinstance(action, act.RecordSuspicion | act.RecordSpeculation):
        return f"{type(action).__name__} {action.outcome}"
    return type(action).__name__
