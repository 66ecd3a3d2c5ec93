"""Transport-wide feedback: what we write against a decoder of this file, what we read against
an encoder of this file, and both against a bad network."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from voicecore._native.rtcp import RtcpState

MS = 1_000_000
S = 1000 * MS
TICK_NS = 250_000
OURS, THEIRS = 1, 2


def state(ssrc: int = OURS, **options: Any) -> RtcpState:
    return RtcpState(ssrc, "c", transport_cc=True, reduced_size=True, **options)


@dataclass
class Told:
    """One feedback: arrival in ticks by number, None for what didn't come."""

    base: int
    count: int
    arrivals: dict[int, int | None]
    chunks: list[int]


def decode(packet: bytes) -> Told:
    """By the draft, section 3.1, as literally as it goes."""
    first, kind, words, ssrc, media = struct.unpack_from("!BBHLL", packet)
    assert (first, kind, ssrc, media) == (0x8F, 205, THEIRS, OURS)
    assert 4 * (words + 1) == len(packet)
    base, statuses, word = struct.unpack_from("!HHL", packet, 12)
    reference, count = word >> 8, word & 0xFF
    at, symbols, chunks = 20, [], []
    while len(symbols) < statuses:
        (chunk,) = struct.unpack_from("!H", packet, at)
        chunks.append(chunk)
        at += 2
        if chunk >> 15 == 0:
            symbols += [chunk >> 13] * (chunk & 0x1FFF)
        elif chunk >> 14 & 1:
            symbols += [chunk >> (12 - 2 * i) & 3 for i in range(7)]
        else:
            symbols += [chunk >> (13 - i) & 1 for i in range(14)]
    ticks = reference * 256
    arrivals: dict[int, int | None] = {}
    for i, symbol in enumerate(symbols[:statuses]):
        if symbol:
            assert symbol in (1, 2)
            delta = packet[at] if symbol == 1 else struct.unpack_from("!h", packet, at)[0]
            at += symbol
            ticks += delta
        arrivals[base + i & 0xFFFF] = ticks if symbol else None
    assert packet[at:] == bytes(-at % 4), "padded with zeros to 32 bits"
    return Told(base, count, arrivals, chunks)


def encode(
    base: int, symbols: list[int], deltas: list[int], *, count: int = 0, reference: int = 10,
    chunks: list[int] | None = None, statuses: int | None = None,
) -> bytes:  # fmt: skip
    """A feedback in two-bit chunks, unless ``chunks`` are given."""
    if chunks is None:
        rows = [symbols[i : i + 7] for i in range(0, len(symbols), 7)]
        chunks = [0xC000 | sum(s << (12 - 2 * i) for i, s in enumerate(row)) for row in rows]
    fci = struct.pack("!HH", base, len(symbols) if statuses is None else statuses)
    fci += reference.to_bytes(3, "big") + bytes([count])
    fci += b"".join(struct.pack("!H", chunk) for chunk in chunks)
    received = [s for s in symbols if s]
    for symbol, delta in zip(received, deltas, strict=True):
        fci += struct.pack("!B" if symbol == 1 else "!h", delta)
    fci += bytes(-len(fci) % 4)
    return struct.pack("!BBHLL", 0x8F, 205, 2 + len(fci) // 4, THEIRS, OURS) + fci


def counts(of: RtcpState) -> tuple[int, int, int]:
    remote = of.remote()
    return remote["cc_reported"], remote["cc_lost"], remote["cc_late"]


# -- writing ------------------------------------------------------------------------------------


def test_first_feedback_is_due_at_once_then_every_100_ms() -> None:
    ours = state(THEIRS)
    assert ours.feedback(OURS, S) == b"", "nothing came"
    ours.arrived(7, S)
    assert decode(ours.feedback(OURS, S)).arrivals == {7: 4000}
    assert ours.feedback(OURS, 2 * S) == b"", "nothing came since"
    ours.arrived(8, 2 * S)
    assert ours.feedback(OURS, 2 * S)
    ours.arrived(9, 2 * S + 20 * MS)
    assert ours.feedback(OURS, 2 * S + 99 * MS) == b""
    told = decode(ours.feedback(OURS, 2 * S + 100 * MS))
    assert (told.base, told.count) == (9, 2)


def test_feedback_goes_in_a_compound_packet_unless_reduced_size_is_negotiated() -> None:
    aiortc_rtp = pytest.importorskip("aiortc.rtp")
    ours = RtcpState(THEIRS, "name", transport_cc=True)
    ours.arrived(7, S)
    packet = ours.feedback(OURS, S)
    report, sdes, feedback = aiortc_rtp.RtcpPacket.parse(packet)
    assert report == aiortc_rtp.RtcpRrPacket(ssrc=THEIRS)
    assert isinstance(sdes, aiortc_rtp.RtcpSdesPacket)
    assert feedback.fmt == 15
    assert decode(packet[-24:]).arrivals == {7: 4000}


def test_known_bytes() -> None:
    """Worked out by hand: 65534, 65535 and 1 came, 0 did not."""
    ours = state(THEIRS)
    for number, ms in ((65534, 64), (65535, 84), (1, 2164)):
        ours.arrived(number, ms * MS)
    assert ours.feedback(OURS, 3 * S).hex(" ") == (
        "8f cd 00 06 00 00 00 02 00 00 00 01 "
        "ff fe 00 04 00 00 01 00 "  # base, four statuses, 1 x 64 ms, first feedback
        "d4 80 "  # 11 01 01 00 10 ...: small, small, lost, large
        "00 50 20 80 00 00"  # 0, 80 ticks = 20 ms, 8320 ticks = 2080 ms, padding
    )


@pytest.mark.parametrize(
    ("numbers", "chunks"),
    [
        (range(20), [0x2000 | 20]),  # a run that arrived
        ([0, 31], [0xA000, 0x0000 | 17, 0x4000 | 1]),  # 14 statuses, a run of losses, one at 620 ms
        ([0, 1, 20, 21], [0xB000, 0xC000 | 0b00000000000010, 0x2000 | 1]),
    ],
)
def test_runs(numbers: Any, chunks: list[int]) -> None:
    ours = state(THEIRS)
    for number in numbers:
        ours.arrived(number, S + number * 20 * MS)
    told = decode(ours.feedback(OURS, 2 * S))
    assert told.chunks == chunks
    assert {n for n, t in told.arrivals.items() if t is not None} == set(numbers)


def test_a_late_packet_is_told_again_with_what_came_behind_it() -> None:
    ours = state(THEIRS)
    for number in (1, 2, 4, 5):
        ours.arrived(number, S + number * MS)
    assert decode(ours.feedback(OURS, S)).arrivals[3] is None
    ours.arrived(3, S + 30 * MS)
    ours.arrived(3, S + 40 * MS)  # a duplicate
    told = decode(ours.feedback(OURS, S + 100 * MS))
    assert told.arrivals == {3: 4 * 1030, 4: 4 * 1004, 5: 4 * 1005}


def test_a_pause_too_long_for_a_delta_splits_the_feedback() -> None:
    ours = state(THEIRS)
    ours.arrived(1, S)
    ours.arrived(2, 10 * S)
    ours.arrived(3, 10 * S + 20 * MS)
    assert decode(ours.feedback(OURS, 11 * S)).arrivals == {1: 4000}
    assert decode(ours.feedback(OURS, 12 * S)).arrivals == {2: 40_000, 3: 40_080}


def test_of_too_many_the_oldest_go_untold() -> None:
    ours = state(THEIRS)
    for number in range(1000):
        ours.arrived(number, S)
    told = decode(ours.feedback(OURS, S))
    assert list(told.arrivals) == list(range(872, 1000))
    assert len(ours.feedback(OURS, 2 * S)) == 0


def test_a_sender_that_begins_anew_is_followed() -> None:
    ours = state(THEIRS)
    for number in (30_000, 30_001):
        ours.arrived(number, S)
    ours.feedback(OURS, S)
    ours.arrived(5, 2 * S)  # alone it may be a stray
    assert ours.feedback(OURS, 2 * S) == b""
    ours.arrived(6, 2 * S)
    ours.arrived(7, 2 * S)
    assert list(decode(ours.feedback(OURS, 3 * S)).arrivals) == [6, 7]


def test_nothing_of_it_unless_negotiated() -> None:
    ours = RtcpState(OURS, "c")
    ours.arrived(1, S)
    ours.sent(1, S)
    assert ours.feedback(THEIRS, 2 * S) == b""
    assert ours.read(encode(1, [1], [0]), 2 * S)
    assert counts(ours) == (0, 0, 0)


# -- reading ------------------------------------------------------------------------------------


def sender(numbers: Any, start_ns: int = S) -> RtcpState:
    ours = state()
    for i, number in enumerate(numbers):
        ours.sent(number & 0xFFFF, start_ns + i * 20 * MS, 100)
    return ours


def test_lost_and_arrived_are_counted_once() -> None:
    ours = sender(range(10, 20))
    assert ours.read(encode(10, [1, 0, 1, 0, 0], [0, 80]), 2 * S)
    assert counts(ours) == (5, 3, 0)
    assert ours.remote()["cc_octets"] == 200
    assert ours.read(encode(10, [1, 0, 1, 0, 0], [0, 80]), 2 * S), "repeated"
    assert counts(ours) == (5, 3, 0)
    assert ours.read(encode(12, [1, 0, 1, 1], [0, 80, 80]), 2 * S), "one came late"
    assert counts(ours) == (6, 3, 1)
    remote = ours.remote()
    assert (remote["cc_feedbacks"], remote["last_cc_ns"]) == (3, 2 * S)


@pytest.mark.parametrize(
    ("chunks", "symbols"),
    [
        ([0x2000 | 9], [1] * 9),
        ([0x0000 | 9], [0] * 9),
        ([0x4000 | 9], [2] * 9),
        ([0x8000 | 0b10101010100000], [1, 0] * 4 + [1]),
        ([0xC000 | 0b00011000011000, 0xC000 | 0b10010000000000], [0, 1, 2, 0, 1, 2, 0, 2, 1]),
        ([0x2000 | 2, 0x0000 | 5, 0x8000 | 0b10000000000000], [1, 1] + [0] * 5 + [1, 0]),
        ([0x2000 | 8191], [1] * 9),  # a run may go beyond the count
    ],
)
def test_chunks_of_every_kind(chunks: list[int], symbols: list[int]) -> None:
    ours = sender(range(100, 109))
    deltas = [300 if s == 2 else 80 for s in symbols if s]
    assert ours.read(encode(100, symbols, deltas, chunks=chunks), 2 * S)
    assert counts(ours) == (9, symbols.count(0), 0)


def test_numbers_never_sent_or_long_forgotten_are_passed_over() -> None:
    ours = sender(range(60_000, 70_000))  # over the wrap; 1,024 are remembered
    assert ours.read(encode(60_000, [0] * 20, []), 300 * S)
    assert ours.read(encode(70_000 & 0xFFFF, [1] * 20, [1] * 20), 300 * S)
    assert counts(ours) == (0, 0, 0)
    everything = encode(1, [0] * 65535, [], chunks=[8191] * 8 + [7])
    assert ours.read(everything, 300 * S)
    assert counts(ours) == (1024, 1024, 0)


def test_numbers_that_were_skipped_are_no_losses() -> None:
    ours = sender([1, 2, 10])
    assert ours.read(encode(1, [1] + [0] * 9, [0]), 2 * S)
    assert counts(ours) == (3, 2, 0)


def test_feedback_before_anything_was_sent() -> None:
    assert state().read(encode(1, [1, 0], [0]), S)


def test_round_trip_by_feedback_until_a_report_gives_it() -> None:
    ours = sender(range(10))
    assert ours.read(encode(0, [1], [0]), S + 60 * MS)
    assert ours.remote()["round_trip_ns"] == pytest.approx(60 * MS, abs=MS // 10)
    assert ours.read(encode(1, [1, 1], [0, 80]), S + 40 * MS + 50 * MS)
    assert ours.remote()["round_trip_ns"] == pytest.approx(50 * MS, abs=MS // 10)
    assert ours.read(encode(3, [1], [0]), S + 60 * MS + 130 * MS)
    assert ours.remote()["round_trip_ns"] == pytest.approx(55 * MS, abs=MS // 10)
    other = RtcpState(THEIRS, "them")
    other.read(ours.write(2 * S), 2 * S)
    ours.read(other.write(2 * S, remote_ssrc=OURS, expected=1, received=1), 2 * S + 30 * MS)
    assert ours.remote()["round_trip_ns"] == pytest.approx(30 * MS, abs=MS // 10)
    assert ours.read(encode(4, [1], [0]), 3 * S)
    assert ours.remote()["round_trip_ns"] == pytest.approx(30 * MS, abs=MS // 10)


def test_a_growing_queue_shows() -> None:
    ours, theirs = state(), state(THEIRS)
    offset_ns = 40_000 * S  # their clock is another one
    seen = []
    for i in range(600):
        now_ns = S + i * 20 * MS
        ours.sent(i, now_ns, 100)
        queue_ns = max(0, i - 200) * MS // 2 if i < 400 else 0
        theirs.arrived(i, now_ns + offset_ns + 30 * MS + queue_ns)
        if packet := theirs.feedback(OURS, now_ns + offset_ns):
            ours.read(packet, now_ns)
        seen.append(ours.remote()["cc_queue_ns"] / MS)
    assert max(seen[:200]) < 0.5
    assert 80 < seen[399] < 100
    assert seen[-1] < 1


@pytest.mark.parametrize(
    "fci",
    [
        b"\0\1\0\1\0\0\0",  # no whole head
        struct.pack("!HHL", 1, 1, 0),  # no chunk
        struct.pack("!HHLH", 1, 1, 0, 0x2001),  # no delta
        struct.pack("!HHLHB", 1, 1, 0, 0x4001, 0),  # half a delta
        struct.pack("!HHLH", 1, 1, 0, 0x6001),  # a reserved status, in a run
        struct.pack("!HHLH", 1, 1, 0, 0xF000),  # and in a vector
        struct.pack("!HHLHH", 1, 5, 0, 0x0000, 0x0005),  # a run of nothing
        struct.pack("!HHLH", 1, 30, 0, 0x8000),  # too few chunks
    ],
)
def test_feedback_shorter_than_it_claims_is_malformed(fci: bytes) -> None:
    ours = sender(range(10))
    padding = -len(fci) % 4
    body = fci + bytes(max(0, padding - 1)) + bytes([padding] if padding else [])
    head = struct.pack("!BBHLL", 0xAF if padding else 0x8F, 205, 2 + len(body) // 4, THEIRS, OURS)
    assert not ours.read(head + body, 2 * S)
    assert counts(ours) == (0, 0, 0)
    assert ours.remote()["malformed"] == 1


# -- both, over a bad network ---------------------------------------------------------------------


@dataclass
class Road:
    """800 packets, one in 20 ms with perhaps a pause: when each was sent and when it came."""

    sent_ns: list[int]
    came_ns: dict[int, int]

    @classmethod
    def draw(cls, rng: np.random.Generator, pause_ns: int) -> Road:
        loss, jitter_ms = rng.choice([0, 0.02, 0.3, 0.9]), rng.choice([1, 30, 300])
        sent_ns = [S + i * 20 * MS + (pause_ns if i > 500 else 0) for i in range(800)]
        delays = rng.exponential(jitter_ms, 800) * MS
        came = rng.random(800) >= loss
        came_ns = {i: sent_ns[i] + int(delays[i]) for i in range(800) if came[i] or i == 0}
        return cls(sent_ns, came_ns)

    def steps(self) -> Iterator[tuple[int, list[int], list[int]]]:
        """``(now_ns, sent, arrived)`` each 20 ms; the numbers since the step before."""
        order = sorted(self.came_ns, key=self.came_ns.__getitem__)
        sent = came = 0
        for now_ns in range(S, max(self.came_ns.values()) + S, 20 * MS):
            begin = sent, came
            while sent < 800 and self.sent_ns[sent] <= now_ns:
                sent += 1
            while came < len(order) and self.came_ns[order[came]] <= now_ns:
                came += 1
            yield now_ns, list(range(begin[0], sent)), order[begin[1] : came]


class Ledger:
    """What a sender should have learnt, by sets."""

    def __init__(self) -> None:
        self.came: set[int] = set()
        self.lost: set[int] = set()

    def take(self, told: dict[int, bool]) -> None:
        self.came |= {i for i, came in told.items() if came}
        self.lost |= {i for i, came in told.items() if not came and i not in self.came}

    @property
    def counts(self) -> tuple[int, int, int]:
        return len(self.came | self.lost), len(self.lost), len(self.lost & self.came)


@pytest.mark.parametrize("pause_ns", [0, 30 * S])
@pytest.mark.parametrize("run", range(4))
def test_writer_and_reader_agree(rng: np.random.Generator, run: int, pause_ns: int) -> None:
    """Random losses, delays and swaps, over the wrap; some feedback is lost or comes twice."""
    ours, theirs, ledger = state(), state(THEIRS), Ledger()
    first = int(rng.choice([0, 65_300, 32_700]))
    offset_ns = int(rng.integers(0, 20 * 24 * 3600)) * S  # beyond the reference time's wrap too
    road = Road.draw(rng, pause_ns)
    ever_told = set()
    for now_ns, sent, arrived in road.steps():
        for i in sent:
            ours.sent(first + i & 0xFFFF, road.sent_ns[i], 100)
        for i in arrived:
            theirs.arrived(first + i & 0xFFFF, offset_ns + road.came_ns[i])
        packet = theirs.feedback(OURS, now_ns)
        if not packet:
            continue
        told = {number - first & 0xFFFF: t for number, t in decode(packet).arrivals.items()}
        for i, ticks in told.items():
            if ticks is None:
                assert road.came_ns.get(i, now_ns + 1) > now_ns, "it had arrived"
            else:
                expected = (offset_ns + road.came_ns[i]) // TICK_NS
                assert (ticks - expected) & 0xFFFFFFFF == 0
                ever_told.add(i)
        for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 1, 2])):
            assert ours.read(packet, now_ns)
            ledger.take({i: ticks is not None for i, ticks in told.items()})
        assert counts(ours) == ledger.counts
    in_time = {i for i, t in road.came_ns.items() if t - road.sent_ns[i] < 2400 * MS}
    assert in_time <= ever_told <= set(road.came_ns)
