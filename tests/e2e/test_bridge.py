"""A caller's own packets, from stock aiortc to a recogniser: what is in them was heard."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription

from caller.speech import FRAME_SAMPLES, RATE_HZ, Pcm
from caller.track import ClockedTrack
from e2e.patience import timely
from e2e.spoken import command
from transport.kit import until
from transport.peer_kit import peer, plane
from voicecore._native import g711
from voicecore._native.opus import Decoder
from voicecore._native.resample import Resampler
from voicecore.engines.protocols import EncodedPacket
from voicecore.service.hearing import Utterance
from voicecore.transport.native_plane import NativePlane

HEAR_HZ = 16_000
PRE_SKIP_SAMPLES = 312
"""What an Ogg Opus file's reader throws away first, at 48 kHz (here by libopus's encoder)."""


class Speaking(ClockedTrack):
    """Says something once, then is silent."""

    def __init__(self, pcm: Pcm) -> None:
        super().__init__()
        self._pcm = pcm

    def samples(self, at: int) -> Pcm:
        piece = self._pcm[at : at + FRAME_SAMPLES]
        return np.concatenate([piece, np.zeros(FRAME_SAMPLES - len(piece), np.int16)])


class Noting:
    """A recogniser's engine, session and stream: takes packets, understands nothing."""

    def __init__(self) -> None:
        self.packets: list[EncodedPacket] = []
        self.samples = 0

    async def open(self, _on_partial: Any) -> Noting:
        return self

    def push(self, pcm: Pcm) -> None:
        raise AssertionError("it takes packets")

    def push_encoded(self, pcm: Pcm, packets: Sequence[EncodedPacket]) -> None:
        self.samples += len(pcm)
        self.packets += packets

    async def finish(self) -> str:
        return ""

    async def cancel(self) -> None: ...


@asynccontextmanager
async def call(pcm: Pcm, mime_type: str) -> AsyncIterator[NativePlane]:
    """The media plane of a stock client's call that says ``pcm`` in one codec."""
    far = RTCPeerConnection()
    track = Speaking(pcm)
    try:
        async with peer() as (near, notes):
            transceiver = far.addTransceiver(track, direction="sendrecv")
            known = RTCRtpSender.getCapabilities("audio").codecs
            transceiver.setCodecPreferences([c for c in known if c.mimeType == mime_type])
            await far.setLocalDescription(await far.createOffer())
            answer = await near.accept(far.localDescription.sdp)
            await far.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: notes.link)
            with plane(notes) as here:
                yield here
    finally:
        track.stop()
        await far.close()


async def hear(here: NativePlane, begin: int, end: int) -> Noting:
    """What a recogniser is given of ring positions [begin, end), as the service does it."""
    noting, over = Noting(), asyncio.Event()
    engine: Any = noting
    await until(lambda: here.ring.position >= begin + HEAR_HZ // 2)  # the pre-roll
    utterance = Utterance(
        engine,
        here.ring,
        from_sample=begin,
        chunk_ms=50,
        on_partial=lambda _: None,
        on_final=lambda _: over.set(),
        on_failed=lambda code: pytest.fail(code),
        tap=here.tap(),
    )
    while here.ring.position < end:
        utterance.pump()
        await asyncio.sleep(0.02)
    utterance.finish(end)
    await over.wait()
    return noting


def written(path: Path, packets: Sequence[EncodedPacket]) -> None:
    """An Ogg Opus file of the packets as they are."""
    at = 0
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=RATE_HZ, layout="mono")
        stream.codec_context.open()
        for each in packets:
            packet = av.Packet(each.payload)
            packet.stream, packet.time_base = stream, fractions.Fraction(1, RATE_HZ)
            packet.pts = packet.dts = at
            packet.duration = round(each.duration_ms * RATE_HZ / 1000)
            at += packet.duration
            container.mux(packet)


def read(path: Path) -> Pcm:
    """The file as another program hears it, at 16 kHz."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=HEAR_HZ)
    with av.open(str(path)) as container:
        blocks = [b for frame in container.decode(audio=0) for b in resampler.resample(frame)]
    blocks += resampler.resample(None)
    return np.concatenate([block.to_ndarray()[0] for block in blocks])


def likeness(a: Pcm, b: Pcm, most_lag: int = 160) -> float:
    """The best correlation of two stretches within 10 ms of each other."""
    n = min(len(a), len(b)) - most_lag
    one = a[most_lag // 2 : most_lag // 2 + n].astype(float)
    others = (b[lag : lag + n].astype(float) for lag in range(most_lag))
    return max(float(one @ b / np.sqrt((one @ one) * (b @ b) + 1.0)) for b in others)


def whole(here: NativePlane) -> None:
    """A stalled machine may lose a packet, and then nothing can be exact."""
    stats = here.stats()
    timely(stats["lost"] + stats["paused_ms"] == 0, "packets came too late")


async def test_opus_packets_make_what_was_heard(tmp_path: Path) -> None:
    said = command()[1]
    end = len(said) // 3 + HEAR_HZ // 5
    async with call(said, "audio/opus") as here:
        here.tap()
        assert here.codec == "opus"
        noting = await hear(here, 0, end)
        heard = here.ring.copy(0, end)
        whole(here)
    took_ms = sum(each.duration_ms for each in noting.packets)
    assert 0 <= took_ms * 16 - end < 320, "to the end of the packet that covers it"
    decoder = Decoder(HEAR_HZ)
    theirs = np.concatenate([decoder.decode(each.payload) for each in noting.packets])
    assert np.array_equal(theirs[:end], heard), "from the first packet on, to the last bit"
    file = tmp_path / "utterance.opus"
    written(file, noting.packets)
    skipped = PRE_SKIP_SAMPLES * HEAR_HZ // RATE_HZ
    alike = likeness(read(file), heard[skipped:])
    words = Resampler(RATE_HZ, HEAR_HZ)
    spoken = likeness(heard, np.concatenate([words.process(said), words.flush()]), 1600)
    print(f"file against ring {alike:.5f}, ring against what was said {spoken:.5f}, "
          f"{file.stat().st_size} bytes for {took_ms:.0f} ms")  # fmt: skip
    assert alike > 0.999
    assert spoken > 0.7, "the encoder's high-pass filter shifts phases"


async def test_g711_comes_bit_for_bit_and_with_the_pre_roll() -> None:
    said = command()[1]
    begin, end = 5000, len(said) // 3
    async with call(said, "audio/PCMU") as here:
        here.tap()
        assert here.codec == "pcmu"
        noting = await hear(here, begin, end)
        heard = here.ring.copy(0, end)
        packets = here.tap().reader(0).rest(end)
        whole(here)
    payload = b"".join(each.payload for each in packets)
    theirs = Resampler(8000, HEAR_HZ).process(g711.ulaw_decode(payload))
    assert np.array_equal(theirs[:end], heard), "to the last bit"
    first = begin // 320
    assert [each.payload for each in noting.packets] == [each.payload for each in packets[first:]]
    assert noting.samples == end - begin
    assert packets[first].end_sample - 320 <= begin < packets[first].end_sample
    assert packets[-1].end_sample - 320 < end <= packets[-1].end_sample
