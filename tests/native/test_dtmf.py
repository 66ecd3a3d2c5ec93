"""Telephone events: each key once, at its end, whatever of it is lost."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from voicecore._native import rtp
from voicecore._native.dtmf import DtmfReader

MS = 1_000_000
ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("VOICECORE_CASES", ROOT.parent / "shared" / "cases"))

Packet = tuple[int, bytes, int]
"""When it comes (ms), its payload, its time stamp."""


def event(number: int, duration: int, *, end: bool = False) -> bytes:
    return struct.pack("!BBH", number, (0x80 if end else 0) | 10, duration)


def press(number: int, at_ms: int, ms: int = 100, ts: int | None = None) -> list[Packet]:
    """One key as a gateway sends it: a packet in 20 ms, then three that end it."""
    ts = at_ms * 8 if ts is None else ts
    packets = [(at_ms + t, event(number, t * 8), ts) for t in range(20, ms, 20)]
    return packets + [(at_ms + ms + 20 * i, event(number, ms * 8, end=True), ts) for i in range(3)]


def read(packets: list[Packet], clock_hz: int = 8000) -> list[tuple[str, int]]:
    reader = DtmfReader(clock_hz)
    told = []
    for ms, payload, ts in packets:
        if key := reader.poll(ms * MS):
            told.append(key)
        told += reader.push(payload, ts & 0xFFFFFFFF, ms * MS)
    if (due := reader.deadline()) >= 0:
        assert reader.poll(due - 1) is None
        key = reader.poll(due)
        assert key is not None
        told.append(key)
    assert reader.deadline() == -1
    return told


def test_every_key() -> None:
    packets = [p for n in range(17) for p in press(n, 1000 * n)]
    assert read(packets) == [(digit, 100) for digit in "0123456789*#ABCD!"]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (range(7), [("5", 100)]),
        ([6], [("5", 100)]),  # one end packet alone
        ([0, 1, 2, 3], [("5", 80)]),  # no end packet: as far as it was heard
        ([1, 5], [("5", 100)]),
        ([0, 5], [("5", 20)]),  # told after 100 ms of silence, and not again
        ([3, 2, 1, 0, 4], [("5", 100)]),  # swapped
        ([0, 0, 0, 4, 4, 4, 4], [("5", 100)]),  # doubled
        ([4, 1, 2], [("5", 100)]),  # the end first
        ([], []),
    ],
)
def test_what_of_a_key_arrives(kept: list[int], expected: list[tuple[str, int]]) -> None:
    packets = press(5, 0)
    times = sorted(packets[i][0] for i in kept)
    told = [(ms, *packets[i][1:]) for ms, i in zip(times, kept, strict=True)]
    assert read(told) == expected


def test_the_next_key_ends_one_whose_end_was_lost() -> None:
    first, second = press(1, 0)[:4], press(2, 100)
    assert read(first + second) == [("1", 80), ("2", 100)]
    assert read(first + second[-1:]) == [("1", 80), ("2", 100)], "both at once"


def test_the_same_key_twice() -> None:
    assert read(press(7, 0) + press(7, 200)) == [("7", 100)] * 2


def test_late_packets_of_the_key_before_say_nothing() -> None:
    first, second = press(1, 0), press(2, 200)
    assert read([*first[:5], *second[:2], *first[5:], *second[2:]]) == [("1", 100), ("2", 100)]


def test_a_pause_ends_a_key_and_its_rest_says_nothing() -> None:
    packets = press(3, 0, ms=400)
    gap = [p for p in packets if not 100 < p[0] < 300]
    assert read(gap) == [("3", 100)]


def test_time_stamps_wrap() -> None:
    packets = press(1, 0, ts=2**32 - 400) + press(2, 200, ts=2**32 + 1200)
    assert read(packets) == [("1", 100), ("2", 100)]


def test_a_sender_that_counts_anew_is_followed() -> None:
    packets = press(1, 0, ts=4_000_000_000) + press(2, 9000, ts=3_000_000_000)
    assert read(packets) == [("1", 100), ("2", 100)]


def test_a_key_longer_than_16_bits_of_ticks() -> None:
    """RFC 4733, 2.5.1.3: segments of 65,535 ticks, each with its own time stamp."""
    packets = [(t, event(9, min(8 * t, 0xFFFF)), 0) for t in range(50, 8200, 50)]
    packets += [(8192 + t, event(9, 8 * t), 0xFFFF) for t in range(50, 1000, 50)]
    packets += [(9192, event(9, 8000, end=True), 0xFFFF)]
    assert read(packets) == [("9", (0xFFFF + 8000) // 8)]


def test_at_48_khz() -> None:
    packets = [(20, event(4, 960), 0), (40, event(4, 4800, end=True), 0)]
    assert read(packets, 48_000) == [("4", 100)]


def test_other_events_and_short_payloads_are_passed_over() -> None:
    assert read([(0, event(32, 100, end=True), 0), (1, b"", 0), (2, b"\x05\x80\x01", 0)]) == []


def test_any_loss_of_many_keys(rng: np.random.Generator) -> None:
    """Each key at most once, in order, and never one that wasn't pressed."""
    for _ in range(200):
        numbers = [int(n) for n in rng.integers(0, 16, 12)]
        keys = [press(n, 250 * i) for i, n in enumerate(numbers)]
        kept = [[p for p in key if rng.random() > 0.5] for key in keys]
        packets = sorted((p for key in kept for p in key), key=lambda p: p[0])
        expected = ["0123456789*#ABCD"[n] for n, key in zip(numbers, kept, strict=True) if key]
        assert [digit for digit, _ in read(packets)] == expected


def test_recorded_packet() -> None:
    file = CASES / "wire_aiortc" / "rtp_dtmf.bin"
    if not file.exists():
        pytest.skip(f"recording not found: {file}")
    packet = file.read_bytes()
    parsed = rtp.parse(packet)
    assert parsed is not None
    payload = packet[parsed.payload_at :]
    reader = DtmfReader()
    told = reader.push(payload, parsed.timestamp, 0) or [reader.poll(1000 * MS)]
    assert [digit for digit, _ in told] == ["0123456789*#ABCD"[payload[0]]]


def test_misuse() -> None:
    with pytest.raises(ValueError, match="clock_hz"):
        DtmfReader(0)
    with pytest.raises(ValueError, match="32 bits"):
        DtmfReader().push(b"\0\0\0\0", 1 << 32, 0)
    with pytest.raises(TypeError):
        DtmfReader().push("text", 0, 0)  # type: ignore[arg-type]
