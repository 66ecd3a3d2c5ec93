"""One utterance: every sample once, one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from fakes.virtual_loop import virtually
from voicecore._native.ring import AudioRing
from voicecore.errors import EngineError
from voicecore.service.hearing import Utterance


class FakeStt:
    """Notes what it gets; every step can be told to fail or to hang."""

    name = "fake"
    rate_hz = 16_000

    def __init__(self) -> None:
        self.pushed: list[np.ndarray] = []
        self.cancelled = 0
        self.opening = self.finishing = "works"
        self.on_partial: Callable[[str], None] = lambda _: None
        self.opened = asyncio.Event()
        self.patience_s = 1.0

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def _step(self, how: str) -> None:
        if how == "fails":
            raise EngineError("no", engine="fake", code="broken")
        if how == "hangs":
            await asyncio.get_running_loop().create_future()
        if how == "slow":
            await asyncio.sleep(self.patience_s)

    async def open(self, on_partial: Callable[[str], None]) -> FakeStt:
        await self._step(self.opening)
        self.on_partial = on_partial
        self.opened.set()
        return self

    def push(self, pcm: np.ndarray) -> None:
        self.pushed.append(pcm)

    async def finish(self) -> str:
        await self._step(self.finishing)
        return "final words"

    async def cancel(self) -> None:
        self.cancelled += 1


class Hearing:
    def __init__(self, stt: FakeStt, ring: AudioRing, from_sample: int = 0) -> None:
        self.told: list[tuple[str, str]] = []
        engine: Any = stt
        self.utterance = Utterance(
            engine,
            ring,
            from_sample=from_sample,
            chunk_ms=100,
            on_partial=lambda text: self.told.append(("partial", text)),
            on_final=lambda text: self.told.append(("final", text)),
            on_failed=lambda code: self.told.append(("failed", code)),
        )

    async def over(self) -> list[tuple[str, str]]:
        await asyncio.wait([self.utterance.task])
        return self.told


def ramp(start: int, n: int) -> np.ndarray:
    return (np.arange(start, start + n) % 30_000).astype(np.int16)


def test_every_sample_from_the_start_to_the_end_once() -> None:
    async def main() -> None:
        ring, stt = AudioRing(160_000), FakeStt()
        ring.write(ramp(0, 5000))
        hearing = Hearing(stt, ring, from_sample=1234)
        await stt.opened.wait()
        for start in range(5000, 21_000, 320):
            ring.write(ramp(start, 320))
            hearing.utterance.pump()
        assert {len(chunk) for chunk in stt.pushed} == {1600}
        hearing.utterance.finish(20_001)
        assert await hearing.over() == [("final", "final words")]
        whole = np.concatenate(stt.pushed)
        assert (whole == ramp(1234, len(whole))).all()
        assert len(whole) in (20_001 - 1234, (20_001 - 1234) // 1600 * 1600 + 1600)

    virtually(main())


def test_audio_before_the_stream_is_open_is_not_lost() -> None:
    async def main() -> None:
        ring, stt = AudioRing(160_000), FakeStt()
        stt.opening = "slow"
        hearing = Hearing(stt, ring)
        for start in range(0, 16_000, 320):
            ring.write(ramp(start, 320))
            hearing.utterance.pump()
        hearing.utterance.finish(16_000)
        assert await hearing.over() == [("final", "final words")]
        assert (np.concatenate(stt.pushed) == ramp(0, 16_000)).all()

    virtually(main())


def test_a_recogniser_that_opens_later_than_the_ring_holds_misses_nothing() -> None:
    async def main() -> None:
        for finish_at_s in (3, None):
            ring, stt = AudioRing(1 << 14), FakeStt()  # a second
            stt.opening = "slow"
            stt.patience_s = 4.5
            hearing = Hearing(stt, ring)
            end = 0
            for start in range(0, 80_000, 320):
                ring.write(ramp(start, 320))
                due = hearing.utterance.due
                if due is not None and ring.position >= due:
                    hearing.utterance.pump()
                if finish_at_s is not None and start == finish_at_s * 16_000:
                    end = start + 100
                    hearing.utterance.finish(end)
                await asyncio.sleep(0.02)
            if finish_at_s is None:
                end = 79_900
                hearing.utterance.finish(end)
            assert await hearing.over() == [("final", "final words")]
            whole = np.concatenate(stt.pushed)
            assert (whole == ramp(0, len(whole))).all()
            assert end <= len(whole) <= end + 1600
            assert hearing.utterance.dropped == 0

    virtually(main())


def test_what_waits_for_a_recogniser_is_bounded_and_the_oldest_goes() -> None:
    async def main() -> None:
        ring, stt = AudioRing(1 << 14), FakeStt()
        stt.opening = "slow"
        hearing = Hearing(stt, ring)
        for start in range(0, 12 * 16_000, 1600):
            ring.write(ramp(start, 1600))
            hearing.utterance.pump()
        hearing.utterance.finish(12 * 16_000)
        assert await hearing.over() == [("final", "final words")]
        assert hearing.utterance.dropped == 20
        assert (np.concatenate(stt.pushed) == ramp(2 * 16_000, 10 * 16_000)).all()

    virtually(main())


def test_a_chunk_is_due_while_one_is_wanted() -> None:
    async def main() -> None:
        ring, stt = AudioRing(1 << 14), FakeStt()
        hearing = Hearing(stt, ring, from_sample=0)
        assert hearing.utterance.due == 1600
        await stt.opened.wait()
        ring.write(ramp(0, 3500))
        hearing.utterance.pump()
        assert hearing.utterance.due == 4800
        hearing.utterance.finish(3500)
        assert hearing.utterance.due is None
        await hearing.over()
        cancelled = Hearing(FakeStt(), ring)
        cancelled.utterance.cancel()
        assert cancelled.utterance.due is None
        await cancelled.over()

    virtually(main())


def test_an_end_beyond_the_ring_is_the_ring_s_end_and_the_first_end_counts() -> None:
    async def main() -> None:
        ring, stt = AudioRing(160_000), FakeStt()
        ring.write(ramp(0, 3000))
        hearing = Hearing(stt, ring)
        hearing.utterance.finish(99_999)
        hearing.utterance.finish(10)
        assert await hearing.over() == [("final", "final words")]
        assert sum(map(len, stt.pushed)) == 3000

    virtually(main())


def test_a_start_that_is_no_longer_held_begins_with_what_is() -> None:
    async def main() -> None:
        ring, stt = AudioRing(16_000), FakeStt()
        for start in range(0, 40_000, 400):
            ring.write(ramp(start, 400))
        hearing = Hearing(stt, ring, from_sample=100)
        await stt.opened.wait()
        hearing.utterance.finish(40_000)
        assert (await hearing.over())[-1] == ("final", "final words")
        assert sum(map(len, stt.pushed)) <= 16_000

    virtually(main())


def test_partials_come_until_the_outcome() -> None:
    async def main() -> None:
        ring, stt = AudioRing(16_000), FakeStt()
        hearing = Hearing(stt, ring)
        await stt.opened.wait()
        stt.on_partial("fin")
        hearing.utterance.finish(0)
        await hearing.over()
        stt.on_partial("late")
        assert hearing.told == [("partial", "fin"), ("final", "final words")]

    virtually(main())


def test_each_failure_is_told_once_with_its_code() -> None:
    async def main() -> None:
        for opening, finishing, told in (
            ("fails", "works", "broken"),
            ("hangs", "works", "stt_timeout"),
            ("works", "fails", "broken"),
            ("works", "hangs", "stt_timeout"),
        ):
            stt = FakeStt()
            stt.opening, stt.finishing = opening, finishing
            hearing = Hearing(stt, AudioRing(16_000))
            hearing.utterance.finish(0)
            assert await hearing.over() == [("failed", told)]
            assert stt.cancelled == (1 if finishing == "hangs" else 0)

    virtually(main())


def test_a_cancelled_utterance_tells_nothing_and_gives_its_stream_back() -> None:
    async def main() -> None:
        for finish_first in (False, True):
            stt = FakeStt()
            stt.finishing = "hangs"
            hearing = Hearing(stt, AudioRing(16_000))
            await stt.opened.wait()
            if finish_first:
                hearing.utterance.finish(0)
                await asyncio.sleep(0.1)
            hearing.utterance.cancel()
            stt.on_partial("late")
            assert await hearing.over() == []
            assert stt.cancelled == 1
            hearing.utterance.pump()

    virtually(main())


def test_an_engine_that_raises_anything_is_a_failure_of_this_turn_alone() -> None:
    class Raising(FakeStt):
        async def finish(self) -> str:
            raise ZeroDivisionError

    class Deaf(FakeStt):
        def push(self, pcm: np.ndarray) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        for stt, opened_first in ((Raising(), False), (Deaf(), False), (Deaf(), True)):
            ring = AudioRing(16_000)
            ring.write(ramp(0, 100))
            hearing = Hearing(stt, ring)
            if opened_first:
                await stt.opened.wait()
            hearing.utterance.finish(100)
            told = await hearing.over()
            assert [kind for kind, _ in told] == ["failed"], "the turn would hang for ever"

    virtually(main())
