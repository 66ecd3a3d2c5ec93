"""The circuit breaker and the back-off, without a clock."""

from __future__ import annotations

from random import Random

from voicecore.engines.resilience.backoff import Backoff
from voicecore.engines.resilience.breaker import Circuit, CircuitBreaker
from voicecore.errors import EngineError

FAILED = EngineError("no", engine="x")


def test_it_opens_after_failures_in_a_row_alone() -> None:
    breaker = CircuitBreaker(failures=3)
    for _ in range(5):
        breaker.failed(FAILED, 0.0)
        breaker.failed(FAILED, 0.0)
        breaker.succeeded()
    assert breaker.state is Circuit.CLOSED
    for _ in range(3):
        breaker.failed(FAILED, 0.0)
    assert breaker.state is Circuit.OPEN
    assert not breaker.allows(4.9)


def test_one_probe_at_a_time_after_the_rest() -> None:
    breaker = CircuitBreaker(failures=1, rest_s=5.0)
    breaker.failed(FAILED, 10.0)
    assert not breaker.allows(14.9)
    assert breaker.allows(15.0)
    assert not breaker.allows(15.1)
    breaker.succeeded()
    assert breaker.allows(15.2)
    assert breaker.allows(15.2)


def test_it_rests_longer_each_time_up_to_a_bound() -> None:
    breaker = CircuitBreaker(failures=1, rest_s=5.0, most_rest_s=60.0)
    now_s, rests = 0.0, []
    for _ in range(7):
        breaker.failed(FAILED, now_s)
        rests.append(breaker.rests_until_s - now_s)
        now_s = breaker.rests_until_s
        assert breaker.allows(now_s)
    assert rests == [5, 10, 20, 40, 60, 60, 60]


def test_what_is_permanent_opens_it_at_once_and_who_asks_for_time_gets_it() -> None:
    breaker = CircuitBreaker(failures=9, rest_s=5.0)
    breaker.failed(EngineError("no", engine="x", permanent=True), 0.0)
    assert breaker.state is Circuit.OPEN
    breaker = CircuitBreaker(failures=9, rest_s=5.0)
    breaker.failed(EngineError("no", engine="x", retry_after_s=30.0), 0.0)
    assert not breaker.allows(29.9)
    assert breaker.allows(30.0)


def test_a_probe_that_was_given_up_or_forgotten_is_due_again() -> None:
    breaker = CircuitBreaker(failures=1, rest_s=5.0)
    breaker.failed(FAILED, 0.0)
    assert breaker.allows(5.0)
    breaker.abandoned()
    assert breaker.allows(5.1)
    assert not breaker.allows(10.0)
    assert breaker.allows(10.2)


def test_waits_are_spread_and_bounded() -> None:
    seed = 11
    print(f"seed {seed}")
    random, backoff = Random(seed), Backoff(base_s=0.1, most_s=2.0)
    for attempt in range(1, 12):
        waits = [backoff.delay_s(attempt, random) for _ in range(200)]
        most_s = min(0.1 * 2 ** (attempt - 1), 2.0)
        assert max(waits) <= most_s
        assert max(waits) > 0.9 * most_s
        assert min(waits) < 0.1 * most_s
