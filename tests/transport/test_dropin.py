"""``native_audio(pc)`` between two aiortc programs over real sockets of this machine."""

from __future__ import annotations

import asyncio
import fractions
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import MediaStreamError

from transport.kit import rms_dbfs
from voicecore.aiortc import NativePeerConnection, native_audio
from voicecore.errors import MisuseError, PeerError

PATIENCE_S = 20.0


class Tone(MediaStreamTrack):
    """400 Hz in 20 ms frames at 48 kHz, on a clock of its own."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._began_s = 0.0

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        self._began_s = self._began_s or time.monotonic()
        await asyncio.sleep(max(self._began_s + self._count / 50 - time.monotonic(), 0))
        t = np.arange(960) / 48_000
        pcm = (9000 * np.sin(2 * np.pi * 400 * t)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, self._count * 960
        frame.time_base = fractions.Fraction(1, 48_000)
        self._count += 1
        return frame


def new_connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def negotiate(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await offerer.setLocalDescription(await offerer.createOffer())
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription(await answerer.createAnswer())
    await offerer.setRemoteDescription(answerer.localDescription)


class Call:
    """A stock caller and a program of ours that answers, not yet negotiated."""

    def __init__(self, **options: Any) -> None:
        self.caller, self.program = new_connection(), new_connection()
        native_audio(self.program, **options)
        self.at_caller: list[MediaStreamTrack] = []
        self.at_program: list[MediaStreamTrack] = []
        self.caller.on("track", self.at_caller.append)
        self.program.on("track", self.at_program.append)

    async def negotiate(self) -> None:
        await negotiate(self.caller, self.program)

    async def close(self) -> None:
        await self.program.close()
        await self.caller.close()


@asynccontextmanager
async def calling(**options: Any) -> AsyncIterator[Call]:
    call = Call(**options)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield call
    finally:
        await call.close()


async def read(track: MediaStreamTrack, count: int) -> list[Any]:
    return [await track.recv() for _ in range(count)]


def is_loud(frames: list[Any]) -> bool:
    pcm = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    return rms_dbfs(pcm) > -20


def resources() -> tuple[set[str], int]:
    names = {path.read_text() for path in Path("/proc/self/task").glob("*/comm")}
    return names, len(list(Path("/proc/self/fd").iterdir()))


# -- audio ----------------------------------------------------------------------------


async def test_both_directions_and_a_data_channel_when_the_caller_offers() -> None:
    async with calling() as call:
        heard: asyncio.Queue[str] = asyncio.Queue()
        channel = call.caller.createDataChannel("chat")
        channel.on("open", lambda: channel.send("hello"))
        call.program.on("datachannel", lambda c: c.on("message", heard.put_nowait))
        call.caller.addTrack(Tone())
        call.program.addTrack(Tone())
        await call.negotiate()
        frames = await read(call.at_program[0], 20)
        assert [frame.pts for frame in frames] == [i * 960 for i in range(20)]
        assert {(f.sample_rate, f.samples, f.layout.name) for f in frames} == {
            (48_000, 960, "stereo")
        }
        assert is_loud(frames[10:])
        assert is_loud((await read(call.at_caller[0], 15))[10:])
        assert await heard.get() == "hello"
        assert "decoder" not in "".join(t.name for t in threading.enumerate() if "native" in t.name)


async def test_both_directions_when_the_program_offers() -> None:
    async with calling(frame_rate_hz=16_000, stereo=False, send_rate_hz=16_000) as call:
        call.program.createDataChannel("chat")
        call.program.addTrack(Tone())
        await call.program.setLocalDescription()
        await call.caller.setRemoteDescription(call.program.localDescription)
        call.caller.addTrack(Tone())
        await call.caller.setLocalDescription()
        await call.program.setRemoteDescription(call.caller.localDescription)
        frames = await read(call.at_program[0], 15)
        assert {(f.sample_rate, f.samples, f.layout.name) for f in frames} == {
            (16_000, 320, "mono")
        }
        assert is_loud(frames[8:])
        assert is_loud((await read(call.at_caller[0], 15))[10:])


async def test_two_programs_with_the_line_agree_on_all_we_can() -> None:
    # No more than agree: on one port of one process they can't be told apart.
    one, two = (NativePeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    one.addTrack(Tone())
    await negotiate(one, two)
    for description in (one.localDescription, two.localDescription):
        for line in ("red/48000/2", "useinbandfec=1", "transport-cc", "telephone-event/48000"):
            assert line in description.sdp
        assert "G722" not in description.sdp
    await one.close()
    await two.close()


@pytest.mark.parametrize("codec", ["audio/PCMU", "audio/PCMA"])
async def test_g711(codec: str) -> None:
    async with calling() as call:
        call.caller.addTrack(Tone())
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        call.caller.getTransceivers()[0].setCodecPreferences(
            [c for c in codecs if c.mimeType == codec]
        )
        call.program.addTrack(Tone())
        await call.negotiate()
        assert is_loud((await read(call.at_program[0], 15))[10:])
        assert is_loud((await read(call.at_caller[0], 15))[10:])


async def test_an_echo_through_a_relay() -> None:
    async with calling() as call:
        relay = MediaRelay()
        call.program.on("track", lambda track: call.program.addTrack(relay.subscribe(track)))
        call.caller.addTrack(Tone())
        await call.negotiate()
        assert is_loud((await read(call.at_caller[0], 30))[20:])


async def test_video_and_native_audio_share_a_transport() -> None:
    async with calling() as call:
        call.caller.addTrack(Tone())
        call.caller.addTrack(VideoStreamTrack())
        call.program.addTrack(VideoStreamTrack())
        await call.negotiate()
        kinds = {track.kind: track for track in call.at_program}
        assert is_loud((await read(kinds["audio"], 12))[8:])
        (picture,) = await read(kinds["video"], 1)
        assert isinstance(picture, av.VideoFrame)
        (back,) = await read(next(t for t in call.at_caller if t.kind == "video"), 1)
        assert isinstance(back, av.VideoFrame)


async def test_video_alone() -> None:
    async with calling() as call:
        call.caller.addTrack(VideoStreamTrack())
        await call.negotiate()
        (picture,) = await read(call.at_program[0], 1)
        assert isinstance(picture, av.VideoFrame)


async def test_who_only_listens_sends_nothing_and_may_begin_later() -> None:
    async with calling() as call:
        call.caller.addTrack(Tone())
        await call.negotiate()
        await read(call.at_program[0], 10)
        sender = call.program.getSenders()[0]
        assert isinstance(sender, RTCRtpSender)
        assert isinstance(call.program.getReceivers()[0], RTCRtpReceiver)
        # A transceiver that the caller's offer made is recvonly, as aiortc has it.
        assert call.program.getTransceivers()[0].currentDirection == "recvonly"
        assert [s for s in (await sender.getStats()).values() if s.type == "outbound-rtp"] == []
        call.program.addTrack(Tone())
        await call.negotiate()
        assert call.program.getTransceivers()[0].currentDirection == "sendrecv"
        assert is_loud((await read(call.at_caller[0], 15))[10:])
        (sent,) = [s for s in (await sender.getStats()).values() if s.type == "outbound-rtp"]
        assert sent.packetsSent > 5
        inbound = call.program.getReceivers()[0]
        (got,) = [s for s in (await inbound.getStats()).values() if s.type == "inbound-rtp"]
        assert got.packetsReceived >= 10
        assert got.ssrc == call.caller.getSenders()[0]._ssrc
        assert {s.source for s in inbound.getSynchronizationSources()} == {got.ssrc}


async def test_a_track_put_in_the_place_of_another_is_heard() -> None:
    async with calling() as call:
        call.caller.addTrack(Tone())
        sender = call.program.addTrack(Tone())
        await call.negotiate()
        await read(call.at_caller[0], 5)
        sender.track.stop()
        sender.replaceTrack(Tone())
        await read(call.at_caller[0], 10)
        assert is_loud(await read(call.at_caller[0], 5))


# -- the end --------------------------------------------------------------------------


async def test_nothing_is_left_after_the_last_connection() -> None:
    names, files = resources()
    assert not any(name.startswith("media-") for name in names)
    calls = [Call() for _ in range(2)]
    for call in calls:
        call.caller.addTrack(Tone())
        call.program.addTrack(Tone())
        await call.negotiate()
        await call.at_program[0].recv()
    names, _ = resources()
    assert sum(name.startswith("media-") for name in names) == 2, "threads are shared"
    ended: list[int] = []
    for number, call in enumerate(calls):
        call.at_program[0].on("ended", lambda number=number: ended.append(number))
        reading = asyncio.ensure_future(read(call.at_program[0], 10_000))
        await asyncio.gather(call.close(), call.program.close())
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(reading, PATIENCE_S)
    assert ended == [0, 1]
    names, left = resources()
    assert not any(name.startswith("media-") for name in names)
    assert left <= files
    assert [t.get_name() for t in asyncio.all_tasks() if t.get_name() in ("track", "video")] == []


async def test_a_far_end_that_hangs_up_ends_track_and_connection() -> None:
    async with calling() as call:
        call.caller.addTrack(Tone())
        await call.negotiate()
        await call.at_program[0].recv()
        closed = asyncio.Event()
        call.program.on(
            "connectionstatechange",
            lambda: closed.set() if call.program.connectionState == "closed" else None,
        )
        await call.caller.close()
        with pytest.raises(MediaStreamError):
            await read(call.at_program[0], 10_000)
        await closed.wait()


async def test_a_voice_that_ends_ends_its_track_and_not_the_connection() -> None:
    async with calling() as call:
        call.caller.addTrack(Tone())
        await call.negotiate()
        track = call.at_program[0]
        assert is_loud(await read(track, 20))
        await call.caller.getSenders()[0].stop()  # aiortc says BYE
        with pytest.raises(MediaStreamError):
            await read(track, 1000)
        assert call.program.connectionState == "connected"


async def test_a_connection_that_was_never_used_closes() -> None:
    pc = new_connection()
    native_audio(pc)
    await pc.close()
    await pc.close()
    names, _ = resources()
    assert not any(name.startswith("media-") for name in names)


# -- misuse and what is refused -------------------------------------------------------


@pytest.mark.parametrize(
    "what", ["track", "transceiver", "channel", "description", "twice", "closed"]
)
async def test_after_the_beginning_it_is_too_late(what: str) -> None:
    pc, other = new_connection(), new_connection()
    if what == "track":
        pc.addTrack(Tone())
    elif what == "transceiver":
        pc.addTransceiver("video")
    elif what == "channel":
        pc.createDataChannel("chat")
    elif what == "description":
        other.addTransceiver("audio")
        await other.setLocalDescription()
        await pc.setRemoteDescription(other.localDescription)
    elif what == "twice":
        native_audio(pc)
    else:
        await pc.close()
    with pytest.raises(MisuseError):
        native_audio(pc)
    await pc.close()
    await other.close()


@pytest.mark.parametrize("options", [{"frame_rate_hz": 44_100}, {"send_rate_hz": 8000}])
async def test_a_rate_that_is_none_of_ours(options: dict[str, int]) -> None:
    pc = new_connection()
    with pytest.raises(MisuseError):
        native_audio(pc, **options)
    await pc.close()


def test_without_an_event_loop() -> None:
    with pytest.raises(MisuseError):
        NativePeerConnection()


async def test_a_second_audio_track_is_refused() -> None:
    async with calling() as call:
        call.program.addTrack(Tone())
        with pytest.raises(MisuseError):
            call.program.addTransceiver("audio")


async def test_an_offer_of_two_audio_sections_is_refused() -> None:
    async with calling() as call:
        call.caller.addTransceiver("audio")
        call.caller.addTransceiver("audio")
        await call.caller.setLocalDescription()
        with pytest.raises(PeerError) as refused:
            await call.program.setRemoteDescription(call.caller.localDescription)
        assert refused.value.code == "two_audio"


async def test_an_offer_that_is_not_bundled_is_refused() -> None:
    async with calling() as call:
        call.caller.addTransceiver("audio")
        call.caller.createDataChannel("chat")
        offer = await call.caller.createOffer()
        apart = "\r\n".join(li for li in offer.sdp.split("\r\n") if "a=group:BUNDLE" not in li)
        with pytest.raises(PeerError) as refused:
            await call.program.setRemoteDescription(RTCSessionDescription(apart, "offer"))
        assert refused.value.code == "not_bundled"
