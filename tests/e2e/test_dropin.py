"""One line in an aiortc program: the same call without it and with it, a tenth of it lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from caller.speech import FRAME_SAMPLES, RATE_HZ, Pcm
from caller.track import ClockedTrack
from e2e.patience import timely
from e2e.udp_proxy import UdpProxy

SEED = 20_240_611
LOSS = 0.10
WAY_MS = 5.0
TALK_S = 12.0
BEEP, EVERY = 5, 25
"""Frames of 20 ms: 100 ms of tone each half second."""

LOUD = 1000.0


class Beeper(ClockedTrack):
    """Beeps on a clock of its own; notes when each beep was handed to the encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.began = asyncio.Event()
        self.beeps_ns: list[int] = []

    def samples(self, at: int) -> Pcm:
        t = (at + np.arange(FRAME_SAMPLES)) / RATE_HZ
        loud = self.sent % EVERY < BEEP
        if self.sent % EVERY == 0:
            self.beeps_ns.append(time.monotonic_ns())
        self.sent += 1
        self.began.set()
        return (9000 * np.sin(2 * np.pi * 400 * t) * loud).astype(np.int16)


@dataclass(frozen=True)
class Figures:
    """What one program did in one call."""

    delivered: float
    delay_ms: float
    worst_delay_ms: float
    cpu_ms: float
    echoed: int
    beeps: float

    def __str__(self) -> str:
        return (
            f"frames delivered {self.delivered:.1%}, sound in -> frame out "
            f"{self.delay_ms:.0f} ms (median; worst {self.worst_delay_ms:.0f}; "
            f"{self.beeps:.0%} of the beeps were heard), "
            f"CPU {self.cpu_ms:.1f} ms per second, {self.echoed} loud frames came back"
        )


def delays_ms(beeps_ns: list[int], frames: list[list[float]]) -> list[float]:
    """From each beep to the first loud frame that has it."""
    loud = [at for at, _, _, rms in frames if rms > LOUD]
    found = []
    for beep_ns in beeps_ns:
        until_ns = beep_ns + EVERY * 20_000_000 * 0.95
        first = next((at for at in loud if beep_ns < at < until_ns), None)
        if first is not None:
            found.append((first - beep_ns) / 1e6)
    return found


async def call(kind: str) -> Figures:
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).parent / "echo_program.py"),
        kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    beeper = Beeper()
    heard: list[float] = []
    players: list[asyncio.Task[None]] = []

    @pc.on("track")
    def on_track(track: MediaStreamTrack) -> None:
        async def play() -> None:
            with contextlib.suppress(MediaStreamError):
                while True:
                    frame: Any = await track.recv()
                    pcm = frame.to_ndarray().astype(np.float64)
                    heard.append(float(np.sqrt((pcm**2).mean())))

        players.append(asyncio.get_running_loop().create_task(play()))

    pc.addTrack(beeper)
    try:
        async with UdpProxy(SEED, loss=LOSS, delay_ms=WAY_MS) as proxy:
            await pc.setLocalDescription(await pc.createOffer())
            offer = {"type": "offer", "sdp": await proxy.caller_sdp(pc.localDescription.sdp)}
            program.stdin.write(json.dumps(offer).encode() + b"\n")
            answer = json.loads(await program.stdout.readline())
            answer["sdp"] = await proxy.server_sdp(answer["sdp"])
            await pc.setRemoteDescription(RTCSessionDescription(**answer))
            await asyncio.wait_for(beeper.began.wait(), 30)
            await asyncio.sleep(TALK_S)
            program.stdin.close()
            recorded = json.loads(await program.stdout.readline())
            sent = beeper.sent
            timely(proxy.dropped_full == 0, "the proxy could not keep up")
            assert proxy.lost > 30
    finally:
        await pc.close()
        await asyncio.gather(*players, return_exceptions=True)
        program.stdin.close()
        await program.wait()
    assert program.returncode == 0
    frames = recorded["frames"]
    found = delays_ms(beeper.beeps_ns, frames)
    timely(len(found) >= 5, f"{kind}: only {len(found)} of {len(beeper.beeps_ns)} beeps were heard")
    return Figures(
        delivered=sum(samples for _, _, samples, _ in frames) / 960 / sent,
        delay_ms=float(np.median(found)),
        worst_delay_ms=max(found),
        cpu_ms=recorded["cpu_s"] / recorded["wall_s"] * 1000,
        echoed=sum(level > LOUD for level in heard),
        beeps=len(found) / len(beeper.beeps_ns),
    )


async def test_the_line_delivers_more_and_sooner_for_less() -> None:
    print(f"seed {SEED}: {LOSS:.0%} lost each way, {WAY_MS:.0f} ms of way, {TALK_S:.0f} s")
    stock = await call("stock")
    print(f"stock aiortc: {stock}")
    native = await call("native")
    print(f"with the line: {native}")
    assert native.cpu_ms < stock.cpu_ms
    assert native.echoed > TALK_S, "what comes back suffers the same, at a stock receiver"
    timely(native.delivered > stock.delivered, "frames were not read in time, or lost")
    timely(native.delay_ms < stock.delay_ms, "frames came late")
    # Stock aiortc: about half of both.
    timely(native.delivered > 0.9, "frames were not read in time")
    timely(native.beeps > 0.75, "beeps were heard too late to be told from the next")
