"""What a probe makes of the events of a call."""

from __future__ import annotations

import pytest

from voicecore.service.probe import verdict
from voicecore.service.probe.verdict import LOUD_FRAMES, Event

LATENCY: Event = {"type": "latency", "packet_ms": 400}


def state(name: str) -> Event:
    return {"type": "state", "state": name}


def words(text: str, *, final: bool = True) -> Event:
    return {"type": "transcript", "text": text, "final": final}


HEARD = (state("hearing"),)
ENDED = (*HEARD, words("hello"), state("thinking"))
SPOKEN = (*ENDED, LATENCY, state("speaking"))


def test_an_answer_is_told_timed_and_heard() -> None:
    assert verdict.answered(SPOKEN, LOUD_FRAMES)
    assert verdict.answered((*SPOKEN, state("listening")), LOUD_FRAMES)
    assert not verdict.answered(SPOKEN, LOUD_FRAMES - 1)
    assert not verdict.answered(ENDED, LOUD_FRAMES)
    assert not verdict.answered([e for e in SPOKEN if e is not LATENCY], LOUD_FRAMES)
    assert not verdict.answered((), LOUD_FRAMES), "noise alone is no answer"


@pytest.mark.parametrize(
    ("events", "stage", "over"),
    [
        ((), "hearing", False),
        ((words("hello", final=False),), "hearing", False),
        (HEARD, "endpoint", False),
        ((*HEARD, words("hel", final=False)), "endpoint", False),
        ((*HEARD, state("thinking")), "stt", False),
        (ENDED, "llm", False),
        (SPOKEN, "answer", False),
        ((*SPOKEN, state("listening")), "answer", False),
        ((*HEARD, state("listening")), "stt", True),
        ((*HEARD, words(" "), state("thinking"), state("listening")), "stt", True),
        ((*ENDED, state("listening")), "llm", True),
        ((state("listening"),), "hearing", False),
    ],
)
def test_who_is_to_blame(events: tuple[Event, ...], stage: str, over: bool) -> None:
    blamed, reason = verdict.unanswered(events)
    assert blamed == stage
    assert reason
    assert verdict.given_up(events) is over


def test_what_spoils_a_call() -> None:
    error: Event = {"type": "error", "code": "llm_key", "stage": "llm", "message": "no key"}
    assert verdict.spoiled(SPOKEN) is None
    assert verdict.spoiled([*ENDED, error]) == ("llm", "llm_key: no key")
    assert verdict.spoiled([{"type": "bye", "reason": "server_drained"}]) == (
        "",
        "the service ended the call: server_drained",
    )
    # An older service names no stage.
    assert verdict.spoiled([{"type": "error", "code": "x", "message": "y"}]) == ("", "x: y")
