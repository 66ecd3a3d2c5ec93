"""Ring and jitter buffer: what every packet pays, against what others do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from aiortc.jitterbuffer import JitterBuffer as AiortcJitterBuffer
from aiortc.rtp import RtpPacket

from kernels.conftest import Race
from voicecore._native.jitter import JitterBuffer
from voicecore._native.ring import AudioRing

BLOCK = np.zeros(320, np.int16)
PAYLOAD = bytes(80)


def _ours_ring() -> Callable[[], object]:
    ring = AudioRing(480_000)
    vad, stt = ring.reader(), ring.reader()

    def step() -> None:
        ring.write(BLOCK)
        vad.read(512)
        stt.read(1600)

    return step


def _bytes_ring() -> Callable[[], object]:
    state = {"vad": b"", "stt": b""}
    data = BLOCK.tobytes()

    def step() -> None:
        for name, size in (("vad", 1024), ("stt", 3200)):
            state[name] += data
            if len(state[name]) >= size:
                np.frombuffer(state[name][:size], np.int16)
                state[name] = state[name][size:]

    return step


@pytest.mark.parametrize(("who", "make"), [("ours", _ours_ring), ("bytes", _bytes_ring)])
def test_ring(race: Race, who: str, make: Callable) -> None:
    race("ring: a 20 ms write, two readers", who, make(), goal_ratio=1.0)


def _ours_jitter() -> Callable[[], object]:
    jitter = JitterBuffer()
    state = [0]

    def step() -> None:
        i = state[0] = state[0] + 1
        now = i * 20_000_000
        jitter.push(i & 0xFFFF, i * 960 & 0xFFFFFFFF, now, PAYLOAD)
        jitter.pop(now)

    return step


def _aiortc_jitter() -> Callable[[], object]:
    jitter = AiortcJitterBuffer(capacity=16, prefetch=4)
    packet = RtpPacket(payload_type=111)
    packet._data = PAYLOAD
    state = [0]

    def step() -> None:
        i = state[0] = state[0] + 1
        packet.sequence_number, packet.timestamp = i & 0xFFFF, i * 960 & 0xFFFFFFFF
        jitter.add(packet)

    return step


@pytest.mark.parametrize(("who", "make"), [("ours", _ours_jitter), ("aiortc", _aiortc_jitter)])
def test_jitter(race: Race, who: str, make: Callable) -> None:
    race("jitter buffer: push and pop", who, make(), goal_ratio=3.0)
