"""The client's transport-wide feedback, read back by a plain decoder of the draft."""

from __future__ import annotations

import ctypes as ct
import os
import random
import struct

import pytest

from load.native import library

pytestmark = pytest.mark.slow  # it compiles the client

TICK_NS = 250_000
REFERENCE_NS = 64_000_000


class Feedback:
    """``struct feedback`` and its two functions."""

    def __init__(self) -> None:
        self._state = ct.create_string_buffer(8192)
        self._lib = library()
        self._lib.feedback_note.argtypes = [ct.c_void_p, ct.c_uint16, ct.c_int64]
        self._lib.feedback_build.restype = ct.c_size_t
        self._lib.feedback_build.argtypes = [ct.c_void_p, ct.c_void_p, ct.c_uint32, ct.c_uint32]

    def note(self, sequence: int, at_ns: int) -> None:
        self._lib.feedback_note(self._state, sequence, at_ns)

    def build(self) -> bytes:
        packet = ct.create_string_buffer(2048)
        length = self._lib.feedback_build(self._state, packet, 1, 2)
        return packet.raw[:length]


def decoded(packet: bytes) -> dict[int, int | None]:
    """By sequence: when it came (ns of the far clock), or None for lost."""
    first, fmt, words, sender, media = (
        packet[0] >> 6,
        packet[0] & 31,
        *struct.unpack_from("!HII", packet, 2),
    )
    assert (first, fmt, packet[1], sender, media) == (2, 15, 205, 1, 2)
    assert 4 * (words + 1) == len(packet)
    base, count = struct.unpack_from("!HH", packet, 12)
    at_ns = int.from_bytes(packet[16:19], "big") * REFERENCE_NS
    symbols: list[int] = []
    at = 20
    while len(symbols) < count:
        chunk = struct.unpack_from("!H", packet, at)[0]
        at += 2
        if not chunk >> 15:
            symbols += [chunk >> 13 & 3] * (chunk & 0x1FFF)
        elif chunk >> 14 & 1:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    found: dict[int, int | None] = {}
    for i, symbol in enumerate(symbols[:count]):
        sequence = (base + i) % 2**16
        found[sequence] = None
        if symbol:
            form = "!B" if symbol == 1 else "!h"
            at_ns += struct.unpack_from(form, packet, at)[0] * TICK_NS
            at += struct.calcsize(form)
            found[sequence] = at_ns
    assert len(packet) - at < 4
    return found


def test_nothing_came_nothing_is_fed_back() -> None:
    feedback = Feedback()
    assert feedback.build() == b""
    feedback.note(5, 10**9)
    assert feedback.build()
    assert feedback.build() == b""


def test_the_gap_between_two_feedbacks_is_reported_lost() -> None:
    feedback = Feedback()
    feedback.note(65_534, 10**9)
    assert list(decoded(feedback.build())) == [65_534]
    feedback.note(1, 10**9 + 60_000_000)
    found = decoded(feedback.build())
    assert [found[s] is None for s in (65_535, 0, 1)] == [True, True, False]


@pytest.mark.parametrize("_", range(20))
def test_arrivals_survive_the_encoding(_: int) -> None:
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    rng = random.Random(seed)
    feedback = Feedback()
    sequence, at_ns = rng.randrange(2**16), rng.randrange(10**12, 10**13)
    told: dict[int, int] = {}
    heard: dict[int, int | None] = {}
    for _round in range(5):
        for _packet in range(rng.randrange(1, 40)):
            sequence = (sequence + 1) % 2**16
            at_ns += rng.choice((0, 1_000_000, 20_000_000, 200_000_000))
            if rng.random() < 0.9:
                told[sequence] = at_ns + rng.randrange(-5_000_000, 5_000_000)
                feedback.note(sequence, told[sequence])
        if packet := feedback.build():
            heard |= decoded(packet)
    assert {s for s, at in heard.items() if at is not None} == set(told)
    period_ns = 2**24 * REFERENCE_NS
    for number, came_ns in told.items():
        fed_back_ns = heard[number]
        assert fed_back_ns is not None
        assert abs((came_ns - fed_back_ns + period_ns // 2) % period_ns - period_ns // 2) < TICK_NS
