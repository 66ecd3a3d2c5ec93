"""One utterance: every sample and every packet once, one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pytest

from fakes.virtual_loop import virtually
from voicecore._native.inbound import Inbound
from voicecore._native.packet_tap import PacketTap
from voicecore._native.ring import AudioRing
from voicecore._native.rtp import header
from voicecore.core.actions import FinishListening, Listen
from voicecore.core.events import TranscriptFinal
from voicecore.engines.protocols import EncodedPacket
from voicecore.errors import EngineError
from voicecore.service.ears import Ears
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


class EncodedStt(FakeStt):
    """One that wants the caller's packets."""

    def __init__(self) -> None:
        super().__init__()
        self.packets: list[EncodedPacket] = []
        self.counts: list[int] = []

    def push_encoded(self, pcm: np.ndarray, packets: Sequence[EncodedPacket]) -> None:
        self.pushed.append(pcm)
        self.packets += packets
        self.counts.append(len(packets))

    def payload(self) -> bytes:
        return b"".join(each.payload for each in self.packets)


class Caller:
    """One who speaks G.711: packet n has 160 bytes of n."""

    def __init__(self, ring_ms: int = 4096, opus_pt: int = -1) -> None:
        self.inbound = Inbound(pcmu_pt=0, opus_pt=opus_pt, ring_ms=ring_ms)
        self.ring, self.tap = self.inbound.ring, self.inbound.tap()
        self.said = 0

    def speak(self, packets: int, *, lost: Collection[int] = ()) -> None:
        for _ in range(packets):
            if self.said not in lost:
                head = header(0, self.said, self.said * 160, 7)
                self.inbound.push(head + bytes([self.said & 255]) * 160, self.said * 20_000_000)
            self.inbound.poll(self.said * 20_000_000)
            self.said += 1


def said(first: int, end: int) -> bytes:
    return b"".join(bytes([n & 255]) * 160 for n in range(first, end))


class Hearing:
    def __init__(
        self,
        stt: FakeStt,
        ring: AudioRing,
        from_sample: int = 0,
        tap: PacketTap | None = None,
    ) -> None:
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
            tap=tap,
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


# -- the caller's own packets ----------------------------------------------------------------


def test_packets_go_beside_the_chunks_within_which_they_end() -> None:
    async def main() -> None:
        caller, stt = Caller(), EncodedStt()
        caller.speak(10)
        hearing = Hearing(stt, caller.ring, from_sample=700, tap=caller.tap)
        await stt.opened.wait()
        for _ in range(40):
            caller.speak(1)
            hearing.utterance.pump()
        assert stt.counts == [5] * 9, "700 to 2300, to 3900 and so on, of packets at 640 to 960"
        hearing.utterance.finish(15_400)
        assert await hearing.over() == [("final", "final words")]
        assert stt.payload() == said(2, 49), "15,360 to 15,680 is the one that covers the end"
        assert {each.duration_ms for each in stt.packets} == {20.0}
        assert (np.concatenate(stt.pushed) == caller.ring.copy(700, 14_700)).all()

    virtually(main())


def test_an_end_within_a_packet_brings_it_even_when_no_samples_are_left() -> None:
    async def main() -> None:
        caller, stt = Caller(), EncodedStt()
        caller.speak(6)
        hearing = Hearing(stt, caller.ring, from_sample=100, tap=caller.tap)
        await stt.opened.wait()
        hearing.utterance.pump()
        assert [len(pcm) for pcm in stt.pushed] == [1600]
        assert stt.payload() == said(0, 5)
        hearing.utterance.finish(1700)
        await hearing.over()
        assert [len(pcm) for pcm in stt.pushed] == [1600, 0]
        assert stt.payload() == said(0, 6)

    virtually(main())


def test_packets_wait_for_a_late_recogniser_as_samples_do() -> None:
    async def main() -> None:
        for seconds, dropped in ((3, 0), (12, 20)):
            caller, stt = Caller(), EncodedStt()
            stt.opening = "slow"
            hearing = Hearing(stt, caller.ring, tap=caller.tap)
            for _ in range(seconds * 10):
                caller.speak(5)
                hearing.utterance.pump()
            hearing.utterance.finish(caller.ring.position)
            assert await hearing.over() == [("final", "final words")]
            assert hearing.utterance.dropped == dropped
            assert stt.payload() == said(dropped * 5, seconds * 50)
            assert sum(map(len, stt.pushed)) == 2 * len(stt.payload())

    virtually(main())


def test_what_was_lost_is_bridged_so_that_time_is_kept() -> None:
    async def main() -> None:
        caller, stt = Caller(), EncodedStt()
        hearing = Hearing(stt, caller.ring, tap=caller.tap)
        await stt.opened.wait()
        caller.speak(50, lost={20, 21})
        caller.inbound.poll(10_000_000_000)
        hearing.utterance.finish(caller.ring.position)
        await hearing.over()
        assert stt.payload() == said(0, 20) + b"\xff" * 320 + said(22, 50)

    virtually(main())


def test_a_listener_that_fell_behind_loses_packets_with_their_samples() -> None:
    async def main() -> None:
        caller, stt = Caller(ring_ms=1000), EncodedStt()
        hearing = Hearing(stt, caller.ring, tap=caller.tap)
        await stt.opened.wait()
        caller.speak(5)
        hearing.utterance.pump()
        caller.speak(100)
        hearing.utterance.finish(caller.ring.position)
        await hearing.over()
        assert stt.payload() == said(0, 5) + said(55, 105)
        assert sum(map(len, stt.pushed)) == 2 * len(stt.payload())

    virtually(main())


def test_a_stream_that_wants_samples_gets_samples() -> None:
    """Of a chain of engines one may take packets and the next not."""

    async def main() -> None:
        for finish_first in (False, True):
            caller, stt = Caller(), FakeStt()
            hearing = Hearing(stt, caller.ring, from_sample=0, tap=caller.tap)
            if not finish_first:
                await stt.opened.wait()
            caller.speak(11)
            hearing.utterance.finish(3400)
            assert await hearing.over() == [("final", "final words")]
            assert sum(map(len, stt.pushed)) == 3400
            assert all(map(len, stt.pushed))

    virtually(main())


def test_without_a_tap_samples_are_pushed_whatever_the_stream_takes() -> None:
    async def main() -> None:
        caller, stt = Caller(), EncodedStt()
        hearing = Hearing(stt, caller.ring)
        await stt.opened.wait()
        caller.speak(10)
        hearing.utterance.finish(3200)
        await hearing.over()
        assert (stt.packets, sum(map(len, stt.pushed))) == ([], 3200)

    virtually(main())


def test_a_cancelled_utterance_takes_no_more_packets() -> None:
    async def main() -> None:
        caller, stt = Caller(), EncodedStt()
        hearing = Hearing(stt, caller.ring, tap=caller.tap)
        await stt.opened.wait()
        hearing.utterance.cancel()
        caller.speak(10)
        hearing.utterance.pump()
        assert await hearing.over() == []
        assert (stt.packets, stt.cancelled) == ([], 1)

    virtually(main())


def test_a_codec_that_the_recogniser_was_not_told_of_is_told_to_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        caller = Caller(opus_pt=111)
        caller.speak(5)
        for packets, warned in ((10, True), (0, False)):
            stt = EncodedStt()
            begin = caller.ring.position
            hearing = Hearing(stt, caller.ring, from_sample=begin, tap=caller.tap)
            await stt.opened.wait()
            caller.speak(packets)
            caplog.clear()
            hearing.utterance.finish(caller.ring.position)
            assert await hearing.over() == [("final", "final words")]
            assert [record.getMessage()[:10] for record in caplog.records] == [
                "10 packets"
            ] * warned
            assert len(stt.packets) == packets, "of no content"
            assert all(len(each.payload) == 1 for each in stt.packets)

    virtually(main())


def test_ears_turn_the_tap_on_only_for_who_takes_packets() -> None:
    class Plane:
        def __init__(self) -> None:
            self.caller = Caller()
            self.ring = self.caller.ring
            self.asked = 0

        def tap(self) -> PacketTap:
            self.asked += 1
            return self.caller.tap

    async def main() -> None:
        for encoded in (False, True):
            plane, stt, told = Plane(), EncodedStt(), []
            fakes: Any = (stt, plane)
            ears = Ears(
                *fakes,
                chunk_ms=100,
                report=told.append,
                changed=lambda: None,
                encoded=encoded,
            )
            assert plane.asked == encoded
            for turn in (1, 2):
                first = plane.caller.said
                stt.opened.clear()
                ears.listen(Listen(turn, plane.ring.position))
                await stt.opened.wait()
                plane.caller.speak(20)
                ears.pump()
                ears.finish(FinishListening(turn, plane.ring.position))
                await asyncio.gather(*ears.tasks)
                assert stt.payload() == (said(first, first + 20) if encoded else b"")
                stt.packets.clear()
            assert plane.asked == encoded
            assert [type(event) for event in told] == [TranscriptFinal] * 2

    virtually(main())
