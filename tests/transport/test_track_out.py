"""Local tracks: any frames in, whole packets of 20 ms out, and no more pulled than needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from fakes.virtual_loop import virtually
from transport.kit import tone
from voicecore._native import outbound as out
from voicecore._native.outbound import Outbound
from voicecore.transport.shared_hub import StallWatch
from voicecore.transport.track_out import AudioSender, Mixdown, Playout

HZ = 24_000
FRAME = HZ // 50


def frame_of(
    pcm: np.ndarray, rate_hz: int, name: str = "s16", layout: str = "mono", channels: int = 1
) -> Any:
    """``pcm`` (int16, mono) in each channel of a frame."""
    values: Any = pcm
    if name.startswith("flt"):
        values = (pcm / 32768).astype(np.float32)
    shaped = np.tile(values, (channels, 1))
    if not name.endswith("p"):
        shaped = np.ascontiguousarray(shaped.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(shaped, format=name, layout=layout)
    frame.sample_rate = rate_hz
    return frame


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize(
    ("name", "layout", "channels"),
    [("s16", "mono", 1), ("s16", "stereo", 2), ("s16p", "stereo", 2), ("fltp", "mono", 1),
     ("flt", "stereo", 2)],
)  # fmt: skip
def test_any_frame_becomes_mono_at_our_rate(
    rate_hz: int, name: str, layout: str, channels: int
) -> None:
    mixdown = Mixdown(HZ)
    pcm = tone(1.0, rate_hz)
    step = rate_hz // 50
    made = [
        mixdown(frame_of(pcm[at : at + step], rate_hz, name, layout, channels))
        for at in range(0, len(pcm) - step + 1, step)
    ]
    heard = np.concatenate(made)
    assert heard.dtype == np.int16
    assert abs(len(heard) - HZ) < HZ // 50 * 2
    middle = heard[HZ // 4 : HZ * 3 // 4].astype(float)
    # 440 Hz: 220 periods in half a second; PyAV mixes two channels down with a gain of its own.
    assert abs(np.count_nonzero(np.diff(np.signbit(middle))) - 440) <= 2
    level = np.sqrt((middle**2).mean()) / (8000 / np.sqrt(2))
    assert 0.68 < level < 1.45


def test_a_track_may_change_what_it_yields() -> None:
    mixdown = Mixdown(HZ)
    for rate_hz in (48_000, 16_000, 44_100, 24_000):
        got = mixdown(frame_of(tone(0.2, rate_hz), rate_hz))
        assert abs(len(got) - HZ // 5) < 60


def test_what_is_at_our_rate_is_untouched() -> None:
    pcm = tone(0.02)
    assert np.array_equal(Mixdown(HZ)(frame_of(pcm, HZ)), pcm)


def new_outbound() -> Outbound:
    return Outbound(
        codec="opus", payload_type=111, ssrc=5, sequence=0, timestamp=0, capacity_ms=1000
    )


def test_only_whole_frames_are_queued_and_nothing_is_lost() -> None:
    outbound = new_outbound()
    playout = Playout(outbound, lambda: 10.0)
    pcm = tone(0.5)
    for at in range(0, len(pcm), 250):
        assert not len(playout.offer(pcm[at : at + 250]))
        assert outbound.queued % FRAME == 0
    assert outbound.queued == FRAME + len(pcm), "a frame of silence goes ahead"


def test_silence_costs_no_encode() -> None:
    outbound, now_s = new_outbound(), [10.0]
    playout = Playout(outbound, lambda: now_s[0])
    for i in range(60):
        playout.offer(tone(0.02) if i < 5 or i >= 50 else np.zeros(FRAME, np.int16))
        outbound.next_packet()
        now_s[0] += 0.02
    assert outbound.queued == FRAME, "in step all along"
    assert outbound.encodes <= 14 + 4, "speech and its ends"


def test_what_begins_after_a_pause_has_one_frame_in_hand() -> None:
    outbound, now_s = new_outbound(), [10.0]
    playout = Playout(outbound, lambda: now_s[0])
    playout.offer(tone(0.02))
    assert outbound.queued == 2 * FRAME
    for _ in range(2):
        outbound.next_packet()
    now_s[0] += 0.021
    playout.offer(tone(0.02))
    assert outbound.queued == FRAME, "only late: no more is added"


class Tape(MediaStreamTrack):
    """Yields ``count`` frames: at once, or on a clock of its own."""

    kind = "audio"

    def __init__(self, count: int = 10_000, *, paced: bool = False, size_s: float = 0.02) -> None:
        super().__init__()
        self.left, self.paced, self.size_s = count, paced, size_s
        self.pulled = 0
        self.began_s = -1.0

    async def recv(self) -> Any:
        now_s = asyncio.get_running_loop().time()
        if self.began_s < 0:
            self.began_s = now_s
        if self.paced:
            await asyncio.sleep(max(self.began_s + self.pulled * self.size_s - now_s, 0))
        if self.pulled == self.left:
            raise MediaStreamError
        self.pulled += 1
        return frame_of(tone(self.size_s), HZ)


class HandSink:
    """A send path whose clock runs in the loop's time."""

    clock_hz = 48_000

    def __init__(self) -> None:
        self.outbound = new_outbound()
        self.silent: list[bool] = []
        self.kinds: list[int] = []
        self.reports = 0.0
        self.stood_still_s = 0.0

    def silence(self, silent: bool) -> None:
        self.silent.append(silent)

    def stalled_s(self) -> float:
        return self.stood_still_s

    def network(self) -> dict[str, float]:
        return {
            "reports": self.reports, "packets_lost": 2, "jitter_ms": 1.5, "round_trip_ms": 40.0,
            "fraction_lost": 0.25,
        }  # fmt: skip

    async def send(self, packets: int) -> None:
        for _ in range(packets):
            await asyncio.sleep(0.02)
            self.outbound.next_packet()
            self.kinds.append(self.outbound.last_kind)


class Still:
    """A transport that is not there; its state is all that is asked of it."""

    state = "new"


def sending(track: MediaStreamTrack | None, work: Callable[[AudioSender, HandSink], Any]) -> Any:
    """Run ``work`` in virtual time with a sender that is fed."""

    async def main() -> Any:
        transport: Any = Still()
        sender, sink = AudioSender(track, transport, lambda: None), HandSink()
        sender.feed(sink)
        try:
            return await work(sender, sink)
        finally:
            await sender.stop()
            sink.outbound.close()

    return virtually(main())


@pytest.mark.parametrize("size_s", [0.01, 0.02, 0.03, 0.06])
def test_a_track_that_never_waits_is_pulled_60_ms_ahead_at_most(size_s: float) -> None:
    tape = Tape(size_s=size_s)

    async def work(_: AudioSender, sink: HandSink) -> None:
        await sink.send(50)
        assert 1.0 <= tape.pulled * size_s <= 1.0 + 0.06 + size_s
        assert sink.kinds.count(out.SPEECH) >= 49

    sending(tape, work)


@pytest.mark.parametrize("size_s", [0.01, 0.02])
def test_a_track_on_its_own_clock_is_sent_without_a_hole(size_s: float) -> None:
    async def work(_: AudioSender, sink: HandSink) -> None:
        await asyncio.sleep(0.0073)
        await sink.send(100)
        first = sink.kinds.index(out.SPEECH)
        assert first <= 2
        assert set(sink.kinds[first:]) == {out.SPEECH}
        assert sink.outbound.queued <= 2 * FRAME

    sending(Tape(paced=True, size_s=size_s), work)


def test_a_frame_longer_than_the_queue_is_sent_whole() -> None:
    async def work(_: AudioSender, sink: HandSink) -> None:
        await sink.send(180)
        assert sink.kinds.count(out.SPEECH) == 150

    sending(Tape(1, size_s=3.0), work)


def test_a_track_that_ends_is_let_go_and_another_may_follow() -> None:
    async def work(sender: AudioSender, sink: HandSink) -> None:
        await sink.send(20)
        assert sender.track is None
        assert sink.silent[-1], "but only after its last frame"
        assert sink.kinds.count(out.SPEECH) == 5
        assert tape.readyState == "ended"
        following = Tape(5)
        sender.replaceTrack(following)
        assert sender.track is following
        assert not sink.silent[-1]
        await sink.send(20)
        assert sink.kinds.count(out.SPEECH) == 10

    tape = Tape(5)
    sending(tape, work)


def test_a_replaced_track_is_not_pulled_any_more() -> None:
    one, two = Tape(), Tape()

    async def work(sender: AudioSender, sink: HandSink) -> None:
        await sink.send(10)
        sender.replaceTrack(two)
        pulled = one.pulled
        await sink.send(10)
        assert one.pulled == pulled
        assert two.pulled >= 9
        assert one.readyState == "live", "others may use it"
        sender.replaceTrack(None)
        assert sink.silent[-1]
        await sink.send(10)
        assert two.pulled <= 14

    sending(one, work)


def test_while_it_may_not_send_frames_are_dropped_as_they_come() -> None:
    tape = Tape(paced=True)

    async def work(sender: AudioSender, sink: HandSink) -> None:
        sender._enabled = False
        assert sink.silent[-1]
        await sink.send(50)
        assert tape.pulled >= 49
        assert sink.kinds.count(out.SPEECH) == 0
        sender._enabled = True
        assert not sink.silent[-1]
        await sink.send(10)
        assert sink.kinds[-5:] == [out.SPEECH] * 5

    sending(tape, work)


class LateTape(Tape):
    """On its own clock, but once the program stood still for ``late_s``; loud until frame 40."""

    def __init__(self, late_s: float, *, noisy: bool) -> None:
        super().__init__(paced=True)
        self.late_s, self.noisy = late_s, noisy
        self.sink: HandSink | None = None

    async def recv(self) -> Any:
        if self.pulled == 20:
            await asyncio.sleep(self.late_s)
            if self.sink is not None:
                self.sink.stood_still_s += self.late_s
        frame = await super().recv()
        if self.pulled > 40 and not self.noisy:
            quiet = np.random.default_rng(self.pulled).integers(-20, 21, FRAME).astype(np.int16)
            frame = frame_of(quiet, HZ)
        return frame


def test_a_delay_is_made_up_for_in_the_next_pause() -> None:
    tape = LateTape(0.6, noisy=False)

    async def work(_: AudioSender, sink: HandSink) -> None:
        tape.sink = sink
        await sink.send(45)
        assert tape.pulled <= 20 + 3, "late"
        spoken = sink.kinds.count(out.SPEECH)
        await sink.send(55)
        assert tape.pulled * 0.02 >= 2.0 - 0.16
        assert sink.outbound.queued <= 3 * FRAME
        assert sink.kinds.count(out.SPEECH) >= spoken + 20, "no word is left out"

    sending(tape, work)


def test_a_long_delay_is_cut_even_without_a_pause() -> None:
    tape = LateTape(2.0, noisy=True)

    async def work(_: AudioSender, sink: HandSink) -> None:
        tape.sink = sink
        await sink.send(200)
        assert 4.0 - 1.2 <= tape.pulled * 0.02 <= 4.0 + 0.06

    sending(tape, work)


def test_a_track_that_was_late_itself_loses_nothing() -> None:
    tape = LateTape(1.5, noisy=False)

    async def work(_: AudioSender, sink: HandSink) -> None:
        await sink.send(200)
        assert tape.pulled * 0.02 <= 4.0 - 1.5 + 0.1

    sending(tape, work)


class HandLoop:
    """An event loop's clock and its one timer, in the test's hand."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.at_s, self.work = 0.0, lambda: None

    def time(self) -> float:
        return self.now_s

    def call_at(self, at_s: float, work: Callable[[], None]) -> Any:
        self.at_s, self.work = at_s, work
        return self

    def run(self, until_s: float) -> None:
        while self.at_s <= until_s:
            self.now_s = max(self.now_s, self.at_s)
            self.work()
        self.now_s = until_s


def test_the_loops_stalls_add_up() -> None:
    loop: Any = HandLoop()
    watch = StallWatch(loop)
    loop.run(101.01)
    assert watch.stalled_s() == 0.0
    loop.now_s += 0.7
    assert 0.64 < watch.stalled_s() <= 0.7, "told before the timer ran"
    loop.run(103.0)
    assert 0.64 < watch.stalled_s() <= 0.7
    loop.now_s += 0.2
    assert 0.79 < watch.stalled_s() <= 0.9


class Broken(Tape):
    async def recv(self) -> Any:
        raise RuntimeError("no microphone")


class Packets(Tape):
    async def recv(self) -> Any:
        return av.Packet(b"opus")


@pytest.mark.parametrize("kind", [Broken, Packets])
def test_a_track_that_fails_ends_with_a_warning(kind: Any, caplog) -> None:
    async def work(sender: AudioSender, sink: HandSink) -> None:
        await sink.send(5)
        assert sender.track is None

    sending(kind(), work)
    assert "a track that is sent failed" in caplog.text


def test_a_sender_without_a_track_is_silent_until_it_has_one() -> None:
    async def work(sender: AudioSender, sink: HandSink) -> None:
        assert sink.silent == [True]
        sender.replaceTrack(Tape())
        assert sink.silent[-1] is False
        await sink.send(5)
        assert out.SPEECH in sink.kinds

    sending(None, work)


async def test_stats_are_those_aiortc_has(dtls) -> None:
    sender, sink = AudioSender(None, dtls, lambda: None), HandSink()
    assert len(await sender.getStats()) == 1, "the transport's"
    sender.feed(sink)
    sink.outbound.next_packet()
    kinds = {stats.type: stats for stats in (await sender.getStats()).values()}
    assert set(kinds) == {"transport", "outbound-rtp"}
    assert (kinds["outbound-rtp"].packetsSent, kinds["outbound-rtp"].bytesSent) == (1, 3)
    sink.reports = 1.0
    kinds = {stats.type: stats for stats in (await sender.getStats()).values()}
    far = kinds["remote-inbound-rtp"]
    assert (far.packetsLost, far.jitter, far.fractionLost) == (2, 72, 64)
    assert far.roundTripTime == pytest.approx(0.04)
    await sender.stop()
