"""The 20 ms clock of all calls, in virtual time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from voicecore.transport import tick
from voicecore.transport.tick import FRAME_NS, TickClock

MS = 1_000_000


class Handle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualLoop:
    """``call_later`` and a monotonic clock that moves only when told to."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * MS
        self._heap: list[tuple[int, int, Handle, Callable[[], None]]] = []
        self._count = itertools.count()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Handle:
        handle = Handle()
        at_ns = self.now_ns + round(delay_s * 1e9)
        heapq.heappush(self._heap, (at_ns, next(self._count), handle, callback))
        return handle

    @property
    def armed(self) -> int:
        return sum(not entry[2].cancelled for entry in self._heap)

    def advance(self, ms: float, *, stall_ms: float = 0.0) -> None:
        """Let ``ms`` pass; with ``stall_ms`` the loop was held up for so long first."""
        self.now_ns += round(stall_ms * MS)
        until = self.now_ns + round(ms * MS)
        while self._heap and self._heap[0][0] <= until:
            at_ns, _, handle, callback = heapq.heappop(self._heap)
            self.now_ns = max(self.now_ns, at_ns)
            if not handle.cancelled:
                callback()
        self.now_ns = max(until, self.now_ns)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> VirtualLoop:
    virtual = VirtualLoop()
    monkeypatch.setattr(tick.time, "monotonic_ns", lambda: virtual.now_ns)
    return virtual


@pytest.fixture
def clock(loop: VirtualLoop) -> TickClock:
    fake: Any = loop
    return TickClock(fake)


def test_a_ticker_gets_fifty_ticks_a_second(loop: VirtualLoop, clock: TickClock) -> None:
    ticks: list[int] = []
    clock.add(ticks.append)
    loop.advance(1000)
    assert len(ticks) == 50
    assert {b - a for a, b in itertools.pairwise(ticks)} == {FRAME_NS}


def test_all_tickers_share_one_timer(loop: VirtualLoop, clock: TickClock) -> None:
    counts = [0] * 30

    def ticker(i: int) -> Callable[[int], None]:
        def run(now_ns: int) -> None:
            counts[i] += 1

        return run

    for i in range(30):
        clock.add(ticker(i))
    assert loop.armed == 1
    loop.advance(200)
    assert counts == [10] * 30


def test_a_late_tick_is_made_up_for(loop: VirtualLoop, clock: TickClock) -> None:
    ticks: list[int] = []
    clock.add(ticks.append)
    loop.advance(100)
    loop.advance(0, stall_ms=130)
    loop.advance(70)
    assert len(ticks) == 15, "as many frames as time has passed"
    assert clock.max_late_ns == 110 * MS


def test_ticks_do_not_drift_after_a_stall(loop: VirtualLoop, clock: TickClock) -> None:
    ticks: list[int] = []
    clock.add(ticks.append)
    first = loop.now_ns + FRAME_NS
    for _ in range(40):
        loop.advance(17, stall_ms=9)
    loop.advance(100)
    assert (ticks[-1] - first) % FRAME_NS == 0
    assert len(ticks) == (loop.now_ns - first) // FRAME_NS + 1


def test_a_suspended_machine_is_not_made_up_for(loop: VirtualLoop, clock: TickClock) -> None:
    ticks: list[int] = []
    clock.add(ticks.append)
    loop.advance(100)
    loop.advance(0, stall_ms=60_000)
    assert len(ticks) == 6
    loop.advance(100)
    assert len(ticks) == 11


def test_it_stands_still_without_tickers(loop: VirtualLoop, clock: TickClock) -> None:
    assert loop.armed == 0
    key = clock.add(lambda _: None)
    assert loop.armed == 1
    clock.remove(key)
    clock.remove(key)
    assert loop.armed == 0
    ticks: list[int] = []
    clock.add(ticks.append)
    loop.advance(60)
    assert len(ticks) == 3


def test_a_ticker_may_remove_itself_and_others(loop: VirtualLoop, clock: TickClock) -> None:
    seen: list[str] = []
    keys: dict[str, int] = {}

    def first(now_ns: int) -> None:
        seen.append("first")
        clock.remove(keys["first"])

    keys["first"] = clock.add(first)
    keys["second"] = clock.add(lambda _: seen.append("second"))
    loop.advance(40)
    assert seen == ["first", "second", "second"]
    clock.remove(keys["second"])
    loop.advance(100)
    assert len(seen) == 3
    assert loop.armed == 0


def test_a_ticker_removed_while_ticks_are_made_up_gets_no_more(
    loop: VirtualLoop, clock: TickClock
) -> None:
    seen: list[int] = []
    keys: list[int] = []

    def once(now_ns: int) -> None:
        seen.append(now_ns)
        clock.remove(keys[0])

    keys.append(clock.add(once))
    loop.advance(0, stall_ms=200)
    assert len(seen) == 1


def test_a_ticker_removed_by_another_of_the_same_tick_is_not_called(
    loop: VirtualLoop, clock: TickClock
) -> None:
    seen: list[str] = []
    keys: dict[str, int] = {}
    clock.add(lambda _: clock.remove(keys["victim"]))
    keys["victim"] = clock.add(lambda _: seen.append("victim"))
    loop.advance(20)
    assert seen == []


def test_one_ticker_that_raises_does_not_silence_the_others(
    loop: VirtualLoop, clock: TickClock
) -> None:
    seen: list[int] = []

    def broken(now_ns: int) -> None:
        raise RuntimeError("a bug in one call")

    clock.add(broken)
    clock.add(seen.append)
    for _ in range(3):
        try:
            loop.advance(20)
        except RuntimeError:
            continue
    assert len(seen) == 3
