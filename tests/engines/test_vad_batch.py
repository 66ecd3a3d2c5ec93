"""VadBatcher with a fake call_soon: no event loop, no model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from voicecore.engines.vad.batch import VadBatcher
from voicecore.errors import EngineError, MisuseError, VoicecoreError

Frame = NDArray[np.float32]


class FakeLoop:
    """Runs what was scheduled, one iteration at a time, as an event loop would."""

    def __init__(self) -> None:
        self.ready: list[Callable[[], None]] = []

    def call_soon(self, function: Callable[[], None]) -> None:
        self.ready.append(function)

    def iterate(self) -> int:
        ready, self.ready = self.ready, []
        for function in ready:
            function()
        return len(ready)

    def drain(self) -> int:
        iterations = 0
        while self.ready:
            self.iterate()
            iterations += 1
        return iterations


class FakeStream:
    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return True  # the batcher must tell streams apart by identity

    __hash__ = None  # type: ignore[assignment]

    def reset(self) -> None:
        pass


class FakeEngine:
    """Scores a frame by its first sample; -1 raises."""

    name = "fake"

    def __init__(self) -> None:
        self.batches: list[list[tuple[str, float]]] = []
        self.broken: Exception | None = None

    async def start(self) -> None: ...

    def stream(self) -> FakeStream:
        return FakeStream("?")

    def score(self, batch: list[tuple[Any, Frame]]) -> list[float]:
        assert len({id(stream) for stream, _ in batch}) == len(batch)
        self.batches.append([(stream.name, float(frame[0])) for stream, frame in batch])
        if self.broken is not None:
            raise self.broken
        if any(frame[0] < 0 for _, frame in batch):
            raise EngineError("bad frame", engine="fake")
        return [float(frame[0]) for _, frame in batch]

    async def close(self) -> None: ...


class Sink:
    def __init__(self) -> None:
        self.got: list[float | VoicecoreError] = []
        self.then: Callable[[], None] = lambda: None

    def scored(self, probability: float) -> None:
        self.got.append(probability)
        self.then()

    def failed(self, error: VoicecoreError) -> None:
        self.got.append(error)
        self.then()


class Rig:
    def __init__(self, **bounds: Any) -> None:
        self.loop = FakeLoop()
        self.engine = FakeEngine()
        self.batcher = VadBatcher(self.engine, self.loop.call_soon, **bounds)
        self.streams: dict[str, FakeStream] = {}
        self.sinks: dict[str, Sink] = {}

    def submit(self, name: str, *values: float) -> None:
        stream = self.streams.setdefault(name, FakeStream(name))
        sink = self.sinks.setdefault(name, Sink())
        for value in values:
            self.batcher.submit(stream, np.full(576, value, np.float32), sink)

    def got(self, name: str) -> list[float | VoicecoreError]:
        return self.sinks[name].got


def test_one_iteration_is_one_batch() -> None:
    rig = Rig()
    for i, name in enumerate("abcd"):
        rig.submit(name, i / 8)
    assert len(rig.loop.ready) == 1
    assert rig.engine.batches == [], "nothing is scored inside submit"
    rig.loop.drain()
    assert rig.engine.batches == [[("a", 0.0), ("b", 0.125), ("c", 0.25), ("d", 0.375)]]
    assert [rig.got(name) for name in "abcd"] == [[0.0], [0.125], [0.25], [0.375]]
    assert (rig.batcher.rounds, rig.batcher.frames, rig.batcher.pending) == (1, 4, 0)


def test_two_frames_of_one_stream_go_in_order_in_successive_rounds() -> None:
    rig = Rig()
    rig.submit("a", 0.25, 0.5, 0.75)
    rig.submit("b", 1.0)
    assert rig.loop.drain() == 3
    assert rig.engine.batches == [[("a", 0.25), ("b", 1.0)], [("a", 0.5)], [("a", 0.75)]]
    assert rig.got("a") == [0.25, 0.5, 0.75]


def test_frames_of_a_later_iteration_join_what_still_waits() -> None:
    rig = Rig()
    rig.submit("a", 0.25, 0.5)
    rig.loop.iterate()
    rig.submit("b", 1.0)
    rig.loop.drain()
    assert rig.engine.batches == [[("a", 0.25)], [("a", 0.5), ("b", 1.0)]]


def test_the_first_frame_waits_for_company_the_rest_of_a_burst_does_not() -> None:
    gathering: list[Callable[[], None]] = []
    rig = Rig(gather=gathering.append)
    rig.submit("a", 0.25, 0.5)
    rig.submit("b", 1.0)
    assert (len(gathering), rig.loop.ready) == (1, [])
    gathering.pop()()
    assert rig.engine.batches == [[("a", 0.25), ("b", 1.0)]]
    assert rig.loop.drain() == 1
    assert rig.engine.batches[1:] == [[("a", 0.5)]]
    rig.submit("b", 0.75)
    assert (len(gathering), rig.loop.ready) == (1, [])


def test_it_is_idle_when_nothing_waits() -> None:
    rig = Rig()
    rig.submit("a", 0.5)
    rig.loop.drain()
    assert rig.loop.ready == []
    rig.submit("a", 0.25)
    assert len(rig.loop.ready) == 1


def test_the_oldest_frame_of_a_flooding_stream_is_dropped_and_counted() -> None:
    rig = Rig()
    rig.submit("a", *[i / 64 for i in range(40)])
    rig.submit("b", 1.0)
    assert (rig.batcher.dropped, rig.batcher.pending) == (8, 33)
    rig.loop.drain()
    assert rig.got("a") == [i / 64 for i in range(8, 40)]
    assert rig.got("b") == [1.0]


def test_a_round_is_bounded_and_fair() -> None:
    rig = Rig(max_batch=2)
    for name in "abc":
        rig.submit(name, 0.25, 0.5)
    assert rig.loop.drain() == 3
    order = [[name for name, _ in batch] for batch in rig.engine.batches]
    assert order == [["a", "b"], ["c", "a"], ["b", "c"]]
    assert all(rig.got(name) == [0.25, 0.5] for name in "abc")


def test_the_engine_may_say_how_many_share_a_round() -> None:
    class Sized(FakeEngine):
        max_batch = 3

    rig = Rig()
    for index in range(10):
        rig.submit(f"caller {index}", 0.25)
    rig.loop.drain()
    assert [len(batch) for batch in rig.engine.batches] == [8, 2]
    engine = Sized()
    batcher = VadBatcher(engine, rig.loop.call_soon)
    for index in range(10):
        batcher.submit(FakeStream(str(index)), np.zeros(576, np.float32), Sink())
        # Looked at each round: what computes is decided after the batcher was made.
        Sized.max_batch = 3 if index < 9 else 4
    rig.loop.drain()
    assert [len(batch) for batch in engine.batches] == [4, 4, 2]


def test_a_bad_frame_costs_its_own_stream_alone() -> None:
    rig = Rig()
    rig.submit("a", 0.25)
    rig.submit("bad", -1.0, 0.5)
    rig.submit("c", 0.75)
    rig.loop.drain()
    assert rig.got("a") == [0.25]
    assert rig.got("c") == [0.75]
    error, after = rig.got("bad")
    assert isinstance(error, EngineError)
    assert after == 0.5, "the stream goes on with its next frame"


def test_a_broken_engine_fails_every_sink_and_mends(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.engine.broken = RuntimeError("private words")
    rig.submit("a", 0.25)
    rig.submit("b", 0.5)
    rig.loop.drain()
    for name in "ab":
        (error,) = rig.got(name)
        assert isinstance(error, EngineError)
        assert (error.engine, error.code) == ("fake", "vad_failed")
        assert "private words" not in str(error)
    rig.engine.broken = None
    rig.submit("a", 0.75)
    rig.loop.drain()
    assert rig.got("a")[-1] == 0.75


def test_a_wrong_number_of_scores_is_an_engine_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    monkeypatch.setattr(rig.engine, "score", lambda batch: [0.5, 0.5, 0.5])
    rig.submit("a", 0.25)
    rig.loop.drain()
    (error,) = rig.got("a")
    assert isinstance(error, EngineError)
    assert error.code == "vad_bad_result"


def test_a_raising_sink_harms_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.submit("a", 0.25, 0.5)
    rig.submit("b", 0.75)

    def fail() -> None:
        raise RuntimeError("sink")

    rig.sinks["a"].then = fail
    with caplog.at_level(logging.ERROR):
        rig.loop.drain()
    assert rig.got("a") == [0.25, 0.5]
    assert rig.got("b") == [0.75]
    assert "VAD score sink raised" in caplog.text


def test_a_forgotten_stream_hears_nothing_more() -> None:
    rig = Rig()
    rig.submit("a", 0.25, 0.5)
    rig.submit("b", 0.75)
    rig.batcher.forget(rig.streams["a"])
    rig.loop.drain()
    assert rig.got("a") == []
    assert rig.engine.batches == [[("b", 0.75)]]
    rig.batcher.forget(FakeStream("never seen"))


def test_forgetting_inside_a_round_stops_the_others_callback() -> None:
    rig = Rig()
    rig.submit("a", 0.25)
    rig.submit("b", 0.5, 0.75)
    rig.sinks["a"].then = lambda: rig.batcher.forget(rig.streams["b"])
    rig.loop.drain()
    assert rig.got("a") == [0.25]
    assert rig.got("b") == []


def test_submitting_inside_a_sink_goes_to_the_next_round() -> None:
    rig = Rig()
    rig.submit("a", 0.25)

    def once_more() -> None:
        rig.sinks["a"].then = lambda: None
        rig.submit("a", 0.5)

    rig.sinks["a"].then = once_more
    rig.loop.iterate()
    assert rig.got("a") == [0.25]
    rig.loop.drain()
    assert rig.got("a") == [0.25, 0.5]


def test_close_drops_everything() -> None:
    rig = Rig()
    rig.submit("a", 0.25)
    rig.batcher.close()
    rig.loop.drain()
    assert rig.engine.batches == []
    assert rig.got("a") == []
    with pytest.raises(MisuseError, match="closed"):
        rig.submit("a", 0.5)


@pytest.mark.parametrize("bounds", [{"max_pending": 0}, {"max_batch": 0}])
def test_bounds_are_checked(bounds: dict[str, int]) -> None:
    with pytest.raises(MisuseError, match="wanted 1 or more"):
        Rig(**bounds)
