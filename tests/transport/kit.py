"""What transport tests share: media threads on loopback, planes, far ends, and fakes in hand."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopback import LOOPBACK
from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.opus import Encoder
from voicecore._native.outbound import Outbound
from voicecore._native.plane import MediaThreads
from voicecore._native.rtp import header
from voicecore._native.silero import SileroWeights
from voicecore._native.srtp import SrtpContext
from voicecore.core.speech_gate import SpeechEdge
from voicecore.transport.hub import MediaHub
from voicecore.transport.media_path import SelectedPair
from voicecore.transport.media_setup import play_rate_hz
from voicecore.transport.native_plane import NativePlane
from voicecore.transport.peer import AudioLink

MS = 1_000_000
PLAY_HZ = 24_000
OPUS_PT = 111
Pcm = NDArray[np.int16]


def tone(seconds: float, rate_hz: int = PLAY_HZ, peak: int = 8000, hz: float = 440.0) -> Pcm:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def rms_dbfs(pcm: Pcm) -> float:
    return 20 * np.log10(max(np.sqrt((pcm.astype(np.float64) ** 2).mean()), 1e-3) / 32768)


def loud(plane: NativePlane, since: int = 0) -> bool:
    """Whether the caller was heard in the last four seconds, and since that position."""
    ring = plane.ring
    end = ring.position
    held = min(end - since, ring.capacity - 3200)
    return bool(held > 0 and np.abs(ring.copy(end - held, held)).max() > 2000)


async def until(check: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Real sockets: there is no event to wait for but the far end's.

    The time-out is for what never happens, not for how long it takes on a busy machine.
    """
    async with asyncio.timeout(timeout_s):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def media_hub(*hosts: str, vad: SileroWeights | None = None) -> MediaHub:
    """Real media threads, bound to ``hosts`` (none: to every address of the machine)."""
    threads = MediaThreads(vad=vad)
    return MediaHub(threads, addresses=lambda: list(hosts)) if hosts else MediaHub(threads)


@contextmanager
def over(
    link: AudioLink, hub: MediaHub, hearing: Callable[[NativePlane], Any] | None = None
) -> Iterator[NativePlane]:
    """A plane with a noting sink over a connected peer's link."""
    form = link.format
    threads: Any = hub.threads
    outbound = Outbound(
        codec=form.codec, payload_type=form.payload_type, ssrc=link.ssrc, sequence=65_530,
        timestamp=(1 << 32) - 5000, rate_hz=play_rate_hz(form.codec, PLAY_HZ),
    )  # fmt: skip
    session = MediaSession(
        threads,
        link.path.peer,
        inbound=Inbound(opus_pt=form.opus_pt, pcmu_pt=form.pcmu_pt, pcma_pt=form.pcma_pt),
        outbound=outbound,
        srtp_profile=link.keys.profile,
        receive_key=link.keys.receive,
        send_key=link.keys.transmit,
        vad=False,
    )
    plane = NativePlane(session, link.path, hearing=hearing)
    plane.attach(NotingSink())
    try:
        yield plane
    finally:
        plane.close()


class LoudnessScorer:
    """Says speech where a frame is loud, at once; ``failing``: fails instead."""

    def __init__(self) -> None:
        self.failing = False
        self.forgotten: list[Any] = []
        self.frames = 0

    def submit(self, stream: Any, frame: NDArray[np.float32], sink: Any) -> None:
        self.frames += 1
        if self.failing:
            sink.failed(RuntimeError("no model"))
        else:
            sink.scored(1.0 if float((frame**2).mean()) > 1e-4 else 0.0)

    def forget(self, stream: Any) -> None:
        self.forgotten.append(stream)


@dataclass
class NotingSink:
    """All that a plane tells, in order."""

    told: list[tuple[Any, ...]] = field(default_factory=list)
    audio: int = 0

    def on_edge(self, edge: SpeechEdge, at_ns: int) -> None:
        self.told.append(("edge", edge.kind.value, edge.sample, at_ns))

    def on_audio(self) -> None:
        self.audio += 1

    def on_playout_started(self) -> None:
        self.told.append(("started",))

    def on_playout_drained(self, position: int) -> None:
        self.told.append(("drained", position))

    def on_digit(self, digit: str, duration_ms: int) -> None:
        self.told.append(("digit", digit, duration_ms))

    def on_way(self, leads: bool) -> None:
        self.told.append(("way", leads))

    def on_plane_failed(self, error: Exception) -> None:
        self.told.append(("failed", getattr(error, "code", str(error))))

    def kinds(self) -> list[str]:
        return [entry[1] if entry[0] == "edge" else entry[0] for entry in self.told]


class HandPath:
    """A path that leads where the test says; what is sent by it is noted."""

    def __init__(self, pair: SelectedPair | None = None) -> None:
        self.pair = pair
        self.sent: list[bytes] = []

    def attach(self, sink: Any) -> None:
        sink.on_pair(self.pair)

    def send(self, data: bytes) -> bool:
        self.sent.append(data)
        return True


class FarEnd:
    """The caller's end of one stream, with a socket of its own: each packet is sent by hand."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        self.socket.setblocking(False)
        self.address: tuple[str, int] = self.socket.getsockname()
        self.keys = (b"a" * 28, b"b" * 28)
        """Ours to receive with, and to send with."""
        self.profile = "SRTP_AEAD_AES_128_GCM"
        self._out = SrtpContext(self.profile, self.keys[0], sending=True)
        self._in = SrtpContext(self.profile, self.keys[1], sending=False)
        self._encoder = Encoder(16_000, application="voip", bitrate_bps=32_000)
        self._sequence = 65_530

    def packet(
        self, payload: bytes, *, payload_type: int = OPUS_PT, timestamp: int | None = None
    ) -> bytes:
        """The next protected packet."""
        self._sequence += 1
        if timestamp is None:
            timestamp = self._sequence * 960 & 0xFFFFFFFF
        plain = header(payload_type, self._sequence & 0xFFFF, timestamp, 5) + payload
        return self._out.rtp(plain)

    def speech(self, pcm: Pcm) -> list[bytes]:
        """``pcm`` (16 kHz) as packets of 20 ms."""
        frames = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
        return [self.packet(self._encoder.encode(frame)) for frame in frames]

    def send(self, packets: list[bytes], to: tuple[str, int]) -> None:
        for packet in packets:
            self.socket.sendto(packet, to)

    def received(self) -> list[bytes]:
        """Decrypted RTP that has come."""
        found = []
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return found
            if data[0] >= 128 and not 192 <= data[1] <= 223:
                found.append(self._in.rtp(data))

    def close(self) -> None:
        self.socket.close()
