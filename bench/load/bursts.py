"""A lossy network in virtual time before our receive path, and what came of every frame.

Packets of 20 ms go through ``Inbound``; losses come in bursts of exactly two. What each
20 ms became is not read from our own counters: a second decoder is driven by what the
network is known to have delivered, and the two outputs are compared sample by sample.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from jitter.traces import Gilbert
from voicecore._native.inbound import Inbound
from voicecore._native.opus import Decoder, packet_has_fec

Pcm = NDArray[np.int16]

RATE_HZ = 16_000
FRAME_MS = 20
FRAME = RATE_HZ * FRAME_MS // 1000
MS = 1_000_000

REAL, RED, FEC, CONCEALED, WRONG = "real", "RED", "FEC", "concealed", "wrong"
"""What a frame became; WRONG is none of what the network allowed for."""

_OPUS_PT, _RED_PT = 111, 63
_PATH_NS = 30 * MS
_DRAIN_NS = 500 * MS
_CLOCK_STEP = 960
_LONGEST_COPY = 1023  # RFC 2198: ten bits of length


@dataclass(frozen=True)
class Heard:
    """What a listener got of one stream."""

    pcm: Pcm
    """16 kHz."""
    frames: tuple[str, ...]
    """What every 20 ms of it became."""
    stats: dict[str, object]
    """The receive path's own counters."""

    def share(self, kind: str) -> float:
        """Share of the frames that became ``kind``."""
        return self.frames.count(kind) / len(self.frames)

    @property
    def gap_ms(self) -> int:
        """Longest stretch with neither a real nor a FEC/RED frame."""
        runs = groupby(frame in (CONCEALED, WRONG) for frame in self.frames)
        return max((FRAME_MS * len(list(run)) for gap, run in runs if gap), default=0)


def pairs(packets: int, share: float, seed: int) -> frozenset[int]:
    """Indices lost when ``share`` of the packets are, in bursts of exactly two.

    Between two bursts at least one packet arrives; so do the first one and the last.
    """
    count = round(packets * share / 2)
    starts = sorted(random.Random(seed).sample(range(1, packets - 2 * count), count))
    return frozenset(start + 2 * i + j for i, start in enumerate(starts) for j in (0, 1))


def gilbert(packets: int, share: float, burst: float, seed: int) -> frozenset[int]:
    """Indices lost when ``share`` of the packets are, in bursts of ``burst`` in the mean.

    The first one and the last arrive. With ``burst`` 1 no two in a row are lost.
    """
    path = Gilbert(share, burst, random.Random(seed))
    return frozenset(i for i in range(1, packets - 1) if path.lost())


def over(payloads: Sequence[bytes], lost: frozenset[int], red: int = 0) -> Heard:
    """Send Opus ``payloads`` of 20 ms, each with copies of the ``red`` ones before it."""
    inbound = Inbound(opus_pt=_OPUS_PT, red_pt=_RED_PT, ring_ms=_ring_ms(payloads))
    for i, packet in enumerate(packets_of(payloads, red)):
        now_ns = i * FRAME_MS * MS + _PATH_NS
        run_until(inbound, now_ns)
        if i not in lost:
            inbound.push(packet, now_ns)
            inbound.poll(now_ns)
    run_until(inbound, now_ns + _DRAIN_NS)
    return _heard(inbound, *_expected(payloads, lost, red))


def delayed(payloads: Sequence[bytes], arrival_ns: Sequence[int]) -> tuple[Heard, list[int]]:
    """Send ``payloads``, none lost, which arrive in order at these times.

    Also returns when the receive path said that the network stalled, and that it goes on.
    """
    inbound = Inbound(opus_pt=_OPUS_PT, ring_ms=_ring_ms(payloads))
    changes_ns: list[int] = []
    stalled = False

    def look(now_ns: int) -> None:
        nonlocal stalled
        if inbound.stalled != stalled:
            stalled = not stalled
            changes_ns.append(now_ns)

    for packet, now_ns in zip(packets_of(payloads, 0), arrival_ns, strict=True):
        while 0 <= inbound.deadline() <= now_ns:
            at_ns = inbound.deadline()
            inbound.poll(at_ns)
            look(at_ns)
        inbound.push(packet, now_ns)
        inbound.poll(now_ns)
        look(now_ns)
    return _heard(inbound, *_expected(payloads, frozenset(), 0)), changes_ns


def run_until(inbound: Inbound, now_ns: int) -> None:
    """Do what is due before ``now_ns``, each thing when it is."""
    while 0 <= inbound.deadline() <= now_ns:
        inbound.poll(inbound.deadline())


def packets_of(payloads: Sequence[bytes], red: int) -> list[bytes]:
    """RTP packets; with copies of the ``red`` payloads before each one (RFC 2198)."""
    packets = []
    for i, payload in enumerate(payloads):
        kind = _RED_PT if red else _OPUS_PT
        header = struct.pack("!BBHII", 0x80, kind, i & 0xFFFF, i * _CLOCK_STEP & 0xFFFFFFFF, 7)
        packets.append(header + (_with_copies(payloads, i, red) if red else payload))
    return packets


def _with_copies(payloads: Sequence[bytes], i: int, red: int) -> bytes:
    heads, copies = b"", b""
    for back in range(min(red, i), 0, -1):
        copy = payloads[i - back]
        if len(copy) <= _LONGEST_COPY:
            offset_and_length = back * _CLOCK_STEP << 10 | len(copy)
            heads += bytes([0x80 | _OPUS_PT]) + offset_and_length.to_bytes(3, "big")
            copies += copy
    return heads + bytes([_OPUS_PT]) + copies + payloads[i]


def _expected(
    payloads: Sequence[bytes], lost: frozenset[int], red: int
) -> tuple[tuple[str, ...], Pcm]:
    """What each frame can be at best, and the audio of that."""
    count = len(payloads)
    copied = {k for k in lost if any(k + n not in lost for n in range(1, red + 1) if k + n < count)}
    held = [k not in lost or k in copied for k in range(count)]
    decoder = Decoder(RATE_HZ)
    frames, pcm = [], []
    for k, payload in enumerate(payloads):
        if held[k]:
            frames.append(RED if k in copied else REAL)
            pcm.append(decoder.decode(payload))
        elif k + 1 < count and held[k + 1] and packet_has_fec(payloads[k + 1]):
            frames.append(FEC)
            pcm.append(decoder.decode(payloads[k + 1], fec=True))
        else:
            frames.append(CONCEALED)
            pcm.append(decoder.conceal(FRAME))
    return tuple(frames), np.concatenate(pcm)


def _heard(inbound: Inbound, frames: tuple[str, ...], expected: Pcm) -> Heard:
    pcm = inbound.ring.copy(0, inbound.ring.position)
    given = np.zeros(len(expected), np.int16)
    given[: len(pcm)] = pcm[: len(expected)]
    return Heard(given, compared(pcm, frames, expected), inbound.stats())


def compared(pcm: Pcm, frames: Sequence[str], expected: Pcm) -> tuple[str, ...]:
    """``frames``, but WRONG wherever ``pcm`` isn't what is expected, or is missing."""
    given = np.zeros(len(expected), np.int16)
    given[: len(pcm)] = pcm[: len(expected)]
    same = (given == expected).reshape(-1, FRAME).all(axis=1)
    same[len(pcm) // FRAME :] = False
    return tuple(kind if right else WRONG for kind, right in zip(frames, same, strict=True))


def _ring_ms(payloads: Sequence[bytes]) -> int:
    return max(1000, len(payloads) * FRAME_MS + 1000)
