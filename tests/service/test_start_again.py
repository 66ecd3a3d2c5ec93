"""What is waited for at start, and how long."""

from __future__ import annotations

import asyncio

import pytest

from fakes.virtual_loop import virtually
from voicecore.errors import EngineError
from voicecore.service.start_again import LONGEST_WAIT_S, passes, until_it_works


def fault(code: str, *, permanent: bool = False, retry_after_s: float = 0.0) -> EngineError:
    return EngineError(
        code, engine="far", code=code, permanent=permanent, retry_after_s=retry_after_s
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (fault("tts_unreachable"), True),
        (fault("stt_half_open"), True),
        (fault("tts_down"), True),
        (fault("tts_key", permanent=True), False),
        (fault("tts_http_status", permanent=True), False),
        (fault("tts_rate"), False),
        (fault("unknown_voice"), False),
        (fault("engine_failed"), False),
    ],
)
def test_what_passes_by_itself(error: EngineError, expected: bool) -> None:
    assert passes(error) is expected


class Step:
    """Fails as told, then works."""

    def __init__(self, *errors: EngineError) -> None:
        self.errors = list(errors)
        self.tries = 0

    async def __call__(self) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)


def waits_of(step: Step, chance: float = 0.0) -> tuple[list[float], float]:
    """What was told, and how long it took in all."""
    told: list[float] = []

    async def run() -> float:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await until_it_works(step, lambda _, wait_s: told.append(wait_s), chance=lambda: chance)
        return loop.time() - began_s

    return told, virtually(run())


def test_waits_double_up_to_a_bound() -> None:
    told, took_s = waits_of(Step(*(fault("tts_unreachable") for _ in range(8))))
    assert told == [1, 2, 4, 8, 16, 30, 30, 30]
    assert took_s == pytest.approx(sum(told))
    assert max(told) == LONGEST_WAIT_S


def test_many_servers_come_back_at_different_times() -> None:
    assert waits_of(Step(fault("tts_timeout")), chance=1.0)[0] == [0.75]


def test_never_before_the_provider_asked_for() -> None:
    assert waits_of(Step(fault("tts_rate_limited", retry_after_s=90)))[0] == [90]


def test_what_does_not_pass_is_raised_at_once() -> None:
    step = Step(fault("tts_timeout"), fault("tts_key", permanent=True))
    with pytest.raises(EngineError, match="tts_key"):
        waits_of(step)
    assert step.tries == 2
