"""Fakes for the transport: a clock in the test's hand, a scorer that knows, a noted network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicecore._native.inbound import Inbound
from voicecore._native.outbound import Outbound
from voicecore._native.speech_gate import SpeechGate
from voicecore.core.speech_gate import SpeechEdge
from voicecore.transport.rtcp import Reporter
from voicecore.transport.rtp_plane import RtpPlane

MS = 1_000_000
FRAME_NS = 20 * MS
PLAY_HZ = 24_000
FRAME = PLAY_HZ // 50
Pcm = NDArray[np.int16]


def tone(seconds: float, rate_hz: int = PLAY_HZ, peak: int = 8000, hz: float = 440.0) -> Pcm:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def rms_dbfs(pcm: Pcm) -> float:
    return 20 * np.log10(max(np.sqrt((pcm.astype(np.float64) ** 2).mean()), 1e-3) / 32768)


class HandClock:
    """A tick clock that ticks when it is told to."""

    def __init__(self) -> None:
        self.tickers: dict[int, Callable[[int], None]] = {}
        self._next = 0

    def add(self, ticker: Callable[[int], None]) -> int:
        self._next += 1
        self.tickers[self._next] = ticker
        return self._next

    def remove(self, key: int) -> None:
        self.tickers.pop(key, None)

    def tick(self, now_ns: int) -> None:
        for ticker in list(self.tickers.values()):
            ticker(now_ns)


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

    def on_plane_failed(self, error: Exception) -> None:
        self.told.append(("failed", str(error)))

    def kinds(self) -> list[str]:
        return [entry[1] if entry[0] == "edge" else entry[0] for entry in self.told]


class Rig:
    """A plane whose time, network and voice activity are in the test's hand."""

    def __init__(self, *, ssrc: int = 77, codec: str = "opus", attach: bool = True) -> None:
        self.now_ns = 10_000 * MS
        self.clock = HandClock()
        self.scorer = LoudnessScorer()
        self.sink = NotingSink()
        self.sent: list[bytes] = []
        self.reports: list[bytes] = []
        opus = codec == "opus"
        rate_hz = PLAY_HZ if opus else 8000
        self.outbound = Outbound(
            codec=codec, payload_type=111 if opus else 0, ssrc=ssrc, sequence=65_530,
            timestamp=(1 << 32) - 5000, rate_hz=rate_hz,
        )  # fmt: skip
        self.inbound = Inbound(opus_pt=111, pcmu_pt=0)
        self.reporter = Reporter(ssrc, "name", 48_000 if opus else 8000, self.reports.append)
        clock: Any = self.clock
        self.plane = RtpPlane(
            self.inbound,
            self.outbound,
            clock=clock,
            send=self.sent.append,
            rejected=lambda: 3,
            reports=self.reporter,
            gate=SpeechGate(),
            scorer=self.scorer,
            vad_stream=self,
            now=lambda: self.now_ns,
        )
        if attach:
            self.plane.attach(self.sink)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.now_ns += FRAME_NS
            self.clock.tick(self.now_ns)
