"""Asking for lost packets again: which holes the jitter buffer waits for, when to ask for them."""

from __future__ import annotations

import pytest

from voicecore._native.jitter import JitterBuffer
from voicecore._native.rtcp import NackList

MS = 1_000_000


def push(buffer: JitterBuffer, seq: int, now_ms: int, *, ssrc: int = 1) -> None:
    buffer.push(seq & 0xFFFF, seq * 960 & 0xFFFFFFFF, now_ms * MS, b"12345678", ssrc=ssrc)


def drain(buffer: JitterBuffer, now_ms: float) -> list[str]:
    kinds = []
    while (kind := buffer.pop(int(now_ms * MS))[0]) != "wait":
        kinds.append(kind)
    return kinds


# -- holes of the jitter buffer -------------------------------------------------------------------


def test_nothing_is_missing_from_a_stream_in_order() -> None:
    buffer = JitterBuffer()
    assert buffer.missing() == []
    for seq in range(5):
        push(buffer, seq, seq * 20)
        assert buffer.missing() == []


@pytest.mark.parametrize("first", [100, 65_533])
def test_holes_are_named_oldest_first_until_filled_or_given_up(first: int) -> None:
    buffer = JitterBuffer()
    numbers = [(first + i) & 0xFFFF for i in range(8)]
    for i in (0, 1, 3, 6):
        push(buffer, first + i, 20 * i)
    drain(buffer, 60)
    assert buffer.missing() == [numbers[2], numbers[4], numbers[5]]
    push(buffer, first + 4, 65)
    assert buffer.missing() == [numbers[2], numbers[5]]
    assert "conceal" in drain(buffer, 1000)
    assert buffer.missing() == []


def test_a_hole_filled_by_redundancy_is_not_missing() -> None:
    buffer = JitterBuffer()
    push(buffer, 1, 0)
    push(buffer, 3, 40)
    assert buffer.missing() == [2]
    assert buffer.fill(2, 2 * 960, 40 * MS, b"copy", ssrc=1)
    assert buffer.missing() == []


def test_holes_of_an_earlier_stream_are_not_missing() -> None:
    buffer = JitterBuffer()
    push(buffer, 1, 0)
    push(buffer, 3, 40)
    for seq in (9000, 9001, 9003):
        push(buffer, seq, 60, ssrc=2)
    assert buffer.missing() == [9002]


def test_resent_packets_teach_the_wait() -> None:
    """A hole is asked for although it won't wait; the answer, too late, makes the next one wait."""
    buffer, asked = JitterBuffer(), NackList()
    buffer.set_rtt(60)
    answers: dict[int, int] = {}
    concealed = []
    for i in range(3000):
        now_ms = i * 20
        if i % 25 != 7:
            push(buffer, i, now_ms)
        for ms in range(now_ms, now_ms + 20, 5):
            for seq in [s for s, due in answers.items() if due <= ms]:
                push(buffer, seq, ms)
                del answers[seq]
            kinds = drain(buffer, ms)
            for seq in asked.due(buffer.missing(), 60 * MS, ms * MS):
                answers[seq] = ms + 60
            concealed += [i] * kinds.count("conceal")
    assert 0 < len(concealed) < 5
    assert max(concealed) < 250


# -- the policy -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rtt_ms", "times_ms"),
    [
        (-1, []),  # not known yet
        (0, [0, 10, 20]),  # never closer than 10 ms
        (5, [0, 10, 20]),
        (10, [0, 10, 20]),  # three are all
        (20, [0, 20]),  # a third at 40 would be answered at 60, with margin 70 > 60
        (30, [0, 30]),
        (31, [0]),  # a second would come a ms too late
        (100, [0]),
        (139, [0]),
        (140, [0]),
        (141, []),  # a hole never waits so long
        (1000, []),
    ],
)
def test_when_a_hole_is_asked_for(rtt_ms: int, times_ms: list[int]) -> None:
    asked = NackList()
    times = [ms for ms in range(300) if asked.due([7], rtt_ms * MS, ms * MS)]
    assert times == times_ms


def test_holes_are_followed_each_for_itself() -> None:
    asked = NackList()
    assert asked.due([5], 20 * MS, 0) == [5]
    assert asked.due([5, 9], 20 * MS, 10 * MS) == [9]
    assert asked.due([5, 9], 20 * MS, 20 * MS) == [5]
    assert asked.due([9], 20 * MS, 30 * MS) == [9]
    assert asked.due([9], 20 * MS, 60 * MS) == []


def test_a_hole_that_closed_is_forgotten() -> None:
    asked = NackList()
    assert asked.due([5], 100 * MS, 0) == [5]
    assert asked.due([], 100 * MS, 20 * MS) == []
    assert asked.due([5], 100 * MS, 40_000 * MS) == [5], "the same number, a lap later"


def test_a_round_trip_that_becomes_known_comes_too_late_for_old_holes() -> None:
    asked = NackList()
    assert asked.due([5], -1, 0) == []
    assert asked.due([5, 6], 50 * MS, 40 * MS) == [6]


def test_of_many_holes_the_first_32_are_followed() -> None:
    asked = NackList()
    holes = list(range(100))
    assert asked.due(holes, 20 * MS, 0) == holes[:32]
    assert asked.due(holes[10:], 20 * MS, MS) == holes[32:42]


def test_misuse() -> None:
    with pytest.raises(ValueError, match="at most 128"):
        NackList().due([1] * 129, 0, 0)
    with pytest.raises(ValueError, match="16 bits"):
        NackList().due([-1], 0, 0)
