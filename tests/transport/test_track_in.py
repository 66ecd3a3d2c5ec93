"""Remote tracks: what a program reads, over a ring in the test's hand."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from transport.kit import tone
from voicecore._native.ring import AudioRing
from voicecore.transport.track_in import AudioReceiver, FrameForm, NativeTrack

HZ = 16_000
FRAME = HZ // 50


class HandSource:
    """A caller who says what the test writes."""

    def __init__(self) -> None:
        self.ring = AudioRing(4 * HZ)
        self.track: NativeTrack | None = None
        self.woken_at: list[int] = []
        self.missing = 0
        self.remote_ssrc = 77

    def wake_at(self, position: int) -> None:
        self.woken_at.append(position)

    def skipped(self) -> int:
        return self.missing

    def stats(self) -> dict[str, Any]:
        return {"received": 90, "expected": 100, "jitter": 3.6}

    def say(self, pcm: np.ndarray) -> None:
        self.ring.write(pcm)
        assert self.track is not None
        self.track.on_audio()


def rig(form: FrameForm | None = None) -> tuple[NativeTrack, HandSource]:
    track, source = NativeTrack("an-id", form or FrameForm()), HandSource()
    source.track = track
    track.feed(source)
    return track, source


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def read(track: NativeTrack, count: int) -> list[Any]:
    return [await track.recv() for _ in range(count)]


@pytest.mark.parametrize(
    ("form", "samples", "layout"),
    [
        (FrameForm(), 960, "stereo"),
        (FrameForm(48_000, False), 960, "mono"),
        (FrameForm(16_000, False), 320, "mono"),
        (FrameForm(24_000, True), 480, "stereo"),
    ],
)
async def test_frames_are_what_was_asked_for(form: FrameForm, samples: int, layout: str) -> None:
    track, source = rig(form)
    source.say(tone(0.1, HZ))
    frames = await read(track, 5)
    assert [frame.pts for frame in frames] == [i * samples for i in range(5)]
    for frame in frames:
        assert (frame.samples, frame.layout.name, frame.format.name) == (samples, layout, "s16")
        assert frame.sample_rate == form.rate_hz
        assert float(frame.time_base) == 1 / form.rate_hz
    pcm = np.concatenate([frame.to_ndarray()[0] for frame in frames[1:]]).astype(float)
    assert np.sqrt((pcm**2).mean()) == pytest.approx(8000 / np.sqrt(2), rel=0.02)
    if form.stereo:
        assert np.array_equal(pcm[0::2], pcm[1::2])


async def test_at_its_own_rate_audio_is_untouched() -> None:
    track, source = rig(FrameForm(16_000, False))
    pcm = tone(0.06, HZ)
    source.say(pcm)
    frames = await read(track, 3)
    assert np.array_equal(np.concatenate([frame.to_ndarray()[0] for frame in frames]), pcm)


async def test_a_frame_comes_with_its_last_sample() -> None:
    track, source = rig()
    waiting = asyncio.ensure_future(track.recv())
    await settle()
    assert source.woken_at == [FRAME]
    source.say(tone(0.01, HZ))
    await settle()
    assert not waiting.done()
    source.say(tone(0.01, HZ))
    assert (await waiting).pts == 0


async def test_missing_audio_is_a_gap_in_pts() -> None:
    track, source = rig(FrameForm(16_000, False))
    source.say(tone(0.04, HZ))
    first = await read(track, 2)
    source.missing = 5 * FRAME
    source.say(tone(0.04, HZ))
    assert [f.pts for f in first + await read(track, 2)] == [0, FRAME, 7 * FRAME, 8 * FRAME]


async def test_who_is_far_behind_loses_the_oldest_and_pts_tells() -> None:
    track, source = rig(FrameForm(16_000, False))
    source.say(tone(0.02, HZ))
    await track.recv()
    for i in range(300):
        source.say(np.full(FRAME, i, np.int16))
    frame = await track.recv()
    assert frame.pts > 2 * HZ
    assert frame.to_ndarray()[0, 0] == frame.pts // FRAME - 1, "pts and audio agree"


async def test_an_unwanted_track_drops_what_comes() -> None:
    track, source = rig(FrameForm(16_000, False))
    track.read(False)
    waiting = asyncio.ensure_future(track.recv())
    source.say(np.full(10 * FRAME, 1, np.int16))
    await settle()
    assert not waiting.done()
    track.read(True)
    await settle()
    source.say(np.full(FRAME, 2, np.int16))
    assert set((await waiting).to_ndarray()[0]) == {2}


async def test_at_the_end_what_is_there_is_read_and_then_the_track_ends() -> None:
    track, source = rig()
    ended: list[bool] = []
    track.on("ended", lambda: ended.append(True))
    source.say(tone(0.05, HZ))
    track.finish()
    await read(track, 2)
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert ended == [True]
    assert track.readyState == "ended"


async def test_stop_wakes_whoever_waits() -> None:
    track, _ = rig()
    waiting = [asyncio.ensure_future(track.recv()) for _ in range(2)]
    await settle()
    track.stop()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, MediaStreamError)


async def test_two_readers_share_the_frames() -> None:
    track, source = rig(FrameForm(16_000, False))
    waiting = [asyncio.ensure_future(track.recv()) for _ in range(2)]
    await settle()
    source.say(tone(0.04, HZ))
    assert sorted(frame.pts for frame in await asyncio.gather(*waiting)) == [0, FRAME]


async def test_the_receiver_makes_its_track_of_aiortcs_and_tells_of_its_stream(dtls) -> None:
    started: list[bool] = []
    receiver = AudioReceiver(dtls, FrameForm(), lambda: started.append(True))
    assert receiver.track is None
    made = NativeTrack("their-id", FrameForm())
    receiver._track = made
    assert receiver.track is not made
    assert receiver.track.id == "their-id"
    await receiver.receive(None)  # type: ignore[arg-type]
    assert started == [True]
    source = HandSource()
    receiver.feed(source)
    (stats,) = [s for s in (await receiver.getStats()).values() if s.type == "inbound-rtp"]
    assert (stats.ssrc, stats.packetsReceived, stats.packetsLost, stats.jitter) == (77, 90, 10, 3)
    assert [s.source for s in receiver.getSynchronizationSources()] == [77]
    await receiver.stop()
    with pytest.raises(MediaStreamError):
        await receiver.track.recv()


async def test_a_receiver_that_is_not_enabled_drops_what_comes(dtls) -> None:
    """Pipecat switches it off while nobody reads."""
    receiver = AudioReceiver(dtls, FrameForm(16_000, False), lambda: None)
    receiver._enabled = False
    receiver._track = NativeTrack("their-id", FrameForm(16_000, False))
    source = HandSource()
    source.track = receiver.track
    receiver.feed(source)
    source.say(np.full(5 * FRAME, 1, np.int16))
    receiver._enabled = True
    source.say(np.full(FRAME, 2, np.int16))
    assert set((await receiver.track.recv()).to_ndarray()[0]) == {2}
    assert receiver.track._queue.empty(), "some programs empty it"
