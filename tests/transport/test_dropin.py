"""``native_audio(pc)`` between two aiortc programs over real sockets of this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
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

from caller.speech import FRAME_SAMPLES, RATE_HZ, Pcm
from caller.track import ClockedTrack
from transport.kit import rms_dbfs, until
from voicecore.aiortc import NativePeerConnection, native_audio
from voicecore.errors import MisuseError, PeerError

pytestmark = pytest.mark.realtime

PATIENCE_S = 180.0
"""For what takes half a second where nothing else runs."""

ENOUGH = 8
"""So many frames of 20 ms with the tone are the far end's voice and no accident."""


class Tone(ClockedTrack):
    """A tone without an end."""

    def __init__(self, hz: float = 400.0) -> None:
        super().__init__()
        self._hz = hz

    def samples(self, at: int) -> Pcm:
        t = (at + np.arange(FRAME_SAMPLES)) / RATE_HZ
        return (9000 * np.sin(2 * np.pi * self._hz * t)).astype(np.int16)


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


def has_tone(frame: Any, hz: float) -> bool:
    """Whether a frame is loud and its strongest frequency that one (it tells 50 Hz apart)."""
    pcm = frame.to_ndarray()[0][:: len(frame.layout.channels)]
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return rms_dbfs(pcm) > -20 and abs(int(spectrum.argmax()) * 50 - hz) <= 50


async def hear(track: MediaStreamTrack, hz: float = 400.0) -> list[Any]:
    """Read until frames enough have the tone: all that were read.

    How many others come before and in between is the machine's affair: one that has no time for
    this process makes it send in gusts, and what is missing is concealed and fades.
    """
    frames: list[Any] = []
    found = 0
    while found < ENOUGH:
        frames.append(await track.recv())
        found += has_tone(frames[-1], hz)
    return frames


def resources() -> tuple[set[str], int]:
    """Names of the threads, and how many descriptors."""
    names = set()
    for path in Path("/proc/self/task").glob("*/comm"):
        with suppress(OSError):  # ended meanwhile
            names.add(path.read_text())
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
        frames = await hear(call.at_program[0])
        assert frames[0].pts == 0
        assert all(b.pts > a.pts and b.pts % 960 == 0 for a, b in pairwise(frames))
        assert {(f.sample_rate, f.samples, f.layout.name) for f in frames} == {
            (48_000, 960, "stereo")
        }
        await hear(call.at_caller[0])
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
        frames = await hear(call.at_program[0])
        assert {(f.sample_rate, f.samples, f.layout.name) for f in frames} == {
            (16_000, 320, "mono")
        }
        await hear(call.at_caller[0])


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
        await hear(call.at_program[0])
        await hear(call.at_caller[0])


async def test_an_echo_through_a_relay() -> None:
    async with calling() as call:
        relay = MediaRelay()
        call.program.on("track", lambda track: call.program.addTrack(relay.subscribe(track)))
        call.caller.addTrack(Tone())
        await call.negotiate()
        await hear(call.at_caller[0])


async def test_video_and_native_audio_share_a_transport() -> None:
    async with calling() as call:
        call.caller.addTrack(Tone())
        call.caller.addTrack(VideoStreamTrack())
        call.program.addTrack(VideoStreamTrack())
        await call.negotiate()
        kinds = {track.kind: track for track in call.at_program}
        await hear(kinds["audio"])
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
        await hear(call.at_program[0])
        sender = call.program.getSenders()[0]
        assert isinstance(sender, RTCRtpSender)
        assert isinstance(call.program.getReceivers()[0], RTCRtpReceiver)
        # A transceiver that the caller's offer made is recvonly, as aiortc has it.
        assert call.program.getTransceivers()[0].currentDirection == "recvonly"
        assert [s for s in (await sender.getStats()).values() if s.type == "outbound-rtp"] == []
        call.program.addTrack(Tone())
        await call.negotiate()
        assert call.program.getTransceivers()[0].currentDirection == "sendrecv"
        await hear(call.at_caller[0])
        (sent,) = [s for s in (await sender.getStats()).values() if s.type == "outbound-rtp"]
        assert sent.packetsSent >= ENOUGH // 2
        inbound = call.program.getReceivers()[0]
        (got,) = [s for s in (await inbound.getStats()).values() if s.type == "inbound-rtp"]
        assert got.packetsReceived >= ENOUGH // 2
        assert got.ssrc == call.caller.getSenders()[0]._ssrc
        assert {s.source for s in inbound.getSynchronizationSources()} == {got.ssrc}


async def test_a_track_put_in_the_place_of_another_is_heard() -> None:
    async with calling() as call:
        call.caller.addTrack(Tone())
        sender = call.program.addTrack(Tone())
        await call.negotiate()
        await hear(call.at_caller[0])
        sender.track.stop()
        sender.replaceTrack(Tone(1000.0))
        await hear(call.at_caller[0], 1000.0)


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
    names, _ = resources()
    assert not any(name.startswith("media-") for name in names)
    await until(lambda: resources()[1] <= files)
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
        await hear(track)
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
