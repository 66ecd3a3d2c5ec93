"""A media plane without media: a ring that is written to, and a playout that passes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from voicecore._native.packet_tap import PacketTap
from voicecore._native.ring import AudioRing
from voicecore.core.voice import NO_VOICE, Voice
from voicecore.transport.plane import Placed, PlaneSink


class FakePlane:
    """A plane whose playout runs in virtual time while :meth:`run` does."""

    play_rate_hz = 24_000
    codec = "opus"

    def __init__(self) -> None:
        self.ring = AudioRing(1 << 16)
        self.generation = 1
        self.written = self.played = 0
        self.space = 1 << 30
        self.closed = False
        self.flushes = 0
        self.sink: PlaneSink | None = None
        self.wish: int | None = None
        self.adapted = 0
        self.held = False
        self.voiced_from: int | None = None
        self.pcm: list[np.ndarray] = []
        self.counters: dict[str, float] = {}
        self._speaking = False

    @property
    def heard(self) -> int:
        return self.ring.position

    def tap(self) -> PacketTap:
        """What the ring gets never were packets: all of them are lost."""
        return PacketTap(self.ring, self.codec)

    def attach(self, sink: PlaneSink) -> None:
        self.sink = sink

    def play(self, pcm: np.ndarray, generation: int) -> Placed:
        if generation != self.generation:
            return Placed(self.written, -1)
        position, self.written = self.written, self.written + len(pcm)
        self.pcm.append(pcm)
        return Placed(position, len(pcm))

    def hold(self) -> int:
        self.held = True
        return self.played

    def resume(self) -> int:
        self.held = False
        return self.played

    def lost(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        return ()

    def voice(self) -> Voice:
        if self.voiced_from is None:
            return NO_VOICE
        return Voice(True, self.voiced_from, self.ring.position, 0.9, 0.0)

    def flush(self) -> int:
        self.held = False
        self.flushes += 1
        self.generation += 1
        self.written = self.played
        self._speaking = False
        return self.played

    def stats(self) -> dict[str, float]:
        names = ("received", "lost", "late", "duplicate", "reordered", "fec", "malformed",
                 "unknown_pt", "concealed_ms", "sent", "encoded", "rejected",
                 "stalls", "byes")  # fmt: skip
        return self.counters or dict.fromkeys(names, 1.0)

    def wake_at(self, position: int | None) -> None:
        self.wish = position

    def adapt(self) -> None:
        self.adapted += 1

    def close(self) -> None:
        self.closed = True
        self.sink = None

    async def run(self, ms: float, pcm: np.ndarray | None = None) -> None:
        """Let ``ms`` pass on both ways; the caller's audio is ``pcm``, then silence."""
        spoken = np.zeros(0, np.int16) if pcm is None else pcm
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        for frame in range(round(ms / 20)):
            due_s += 0.02
            await asyncio.sleep(due_s - loop.time())
            heard = np.zeros(320, np.int16)
            piece = spoken[frame * 320 : (frame + 1) * 320]
            heard[: len(piece)] = piece
            self.ring.write(heard)
            sink = self.sink
            if sink is None:
                return
            if self.wish is not None and self.ring.position >= self.wish:
                self.wish = None
                sink.on_audio()
            if self.written > self.played and not self.held:
                self.played = min(self.played + 480, self.written)
                if not self._speaking:
                    self._speaking = True
                    sink.on_playout_started()
                if self.played == self.written:
                    self._speaking = False
                    sink.on_playout_drained(self.played)


@dataclass
class FakeLink:
    format: Any = field(default_factory=lambda: type("F", (), {"codec": "opus"})())

    def selected_types(self) -> tuple[str, str]:
        return ("host", "host")


class Channel:
    """The data channel."""

    def __init__(self) -> None:
        self.open = False
        self.sent: list[str] = []

    def send(self, texts: Sequence[str]) -> bool:
        self.sent += texts if self.open else []
        return self.open
