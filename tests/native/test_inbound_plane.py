"""What the receive path gives the media plane: keys, transport sequences, wraps, its ring."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from native.netem import MS
from native.test_inbound import OPUS, heard, opus_payloads, packet, play
from voicecore._native import inbound, opus, rtp
from voicecore._native.inbound import Inbound
from voicecore.errors import MisuseError

KEY, KEY_48K = 126, 110


def key_packet(seq: int, ts: int, digit: int, ticks: int, *, end: bool, pt: int = KEY) -> bytes:
    payload = struct.pack(">BBH", digit, 0x80 * end | 10, ticks)
    return rtp.header(pt, seq & 0xFFFF, ts, 7) + payload


def press(path: Inbound, seq: int, digit: int, *, hz: int = 8000, pt: int = KEY) -> int:
    """A key held for 60 ms amid audio of 20 ms packets; returns the next sequence number."""
    step = hz // 50
    for i, end in enumerate((False, False, True, True, True)):
        ticks = step * min(i + 1, 3)
        path.push(key_packet(seq + i, seq * 960, digit, ticks, end=end, pt=pt), seq * 20 * MS)
    path.poll(seq * 20 * MS)
    return seq + 5


@pytest.mark.parametrize(("pt", "hz"), [(KEY, 8000), (KEY_48K, 48000)])
def test_keys_are_told_once_and_make_no_hole(pt: int, hz: int) -> None:
    path = Inbound(opus_pt=OPUS, dtmf_pts={KEY: 8000, KEY_48K: 48000})
    payload = opus_payloads(1)[0]
    seq = 0
    for digit in (1, 11, 16):
        assert path.push(packet(seq, payload), seq * 20 * MS) == inbound.OK
        seq = press(path, seq + 1, digit, hz=hz, pt=pt)
    assert [path.poll_dtmf() for _ in range(4)] == [("1", 60), ("#", 60), ("!", 60), None]
    stats = path.stats()
    assert (stats["keys"], stats["unknown_pt"], stats["lost"]) == (3, 0, 0)
    assert stats["concealed_ms"] == 0


def test_a_key_without_its_end_is_told_when_it_is_silent() -> None:
    path = Inbound(opus_pt=OPUS, dtmf_pts={KEY: 8000})
    path.push(packet(0, opus_payloads(1)[0]), 0)
    path.poll(0)
    path.push(key_packet(1, 960, 5, 160, end=False), 20 * MS)
    path.push(key_packet(2, 960, 5, 320, end=False), 40 * MS)
    path.poll(40 * MS)
    assert path.poll_dtmf() is None
    now_ns = 40 * MS
    while (key := path.poll_dtmf()) is None:
        now_ns = max(now_ns, path.deadline())
        assert now_ns <= 140 * MS, "100 ms after its last packet"
        path.poll(now_ns)
    assert key == ("5", 40)


def test_keys_that_nobody_takes_are_dropped_and_counted() -> None:
    path = Inbound(opus_pt=OPUS, dtmf_pts={KEY: 8000})
    path.push(packet(0, opus_payloads(1)[0]), 0)
    seq = 1
    for digit in range(20):
        seq = press(path, seq, digit % 10)
    found = []
    while (event := path.poll_dtmf()) is not None:
        found.append(event[0])
    assert "".join(found) == "0123456789012345"
    assert path.stats()["keys_dropped"] == 4


def test_malformed_keys_are_counted_and_of_other_streams_ignored() -> None:
    path = Inbound(opus_pt=OPUS, dtmf_pts={KEY: 8000})
    path.push(packet(0, opus_payloads(1)[0]), 0)
    assert path.push(rtp.header(KEY, 1, 0, 7) + b"\5\x80\0", 0) == inbound.MALFORMED
    stranger = rtp.header(KEY, 1, 0, 99) + b"\5\x8a\1\0"
    assert path.push(stranger, 0) == inbound.UNKNOWN_PT
    assert path.poll_dtmf() is None


def extended(seq: int, payload: bytes, extension: bytes, profile: int = 0xBEDE) -> bytes:
    head = bytearray(rtp.header(OPUS, seq, seq * 960, 7))
    head[0] |= 0x10
    extension += bytes(-len(extension) % 4)
    return bytes(head) + struct.pack(">HH", profile, len(extension) // 4) + extension + payload


@pytest.mark.parametrize(
    ("extension", "profile", "expected"),
    [
        (b"\x31\x12\x34", 0xBEDE, 0x1234),
        (b"\x10\x99\x31\x12\x34", 0xBEDE, 0x1234),
        (b"\0\0\x31\xff\xff", 0xBEDE, 0xFFFF),
        (b"\x30\x12", 0xBEDE, -1),  # one byte is no sequence number
        (b"\xf0\x31\x12\x34", 0xBEDE, -1),  # 15 ends the list
        (b"\x3f\x12\x34", 0xBEDE, -1),  # longer than what is there
        (b"\x21\x12\x34", 0xBEDE, -1),
        (b"\x03\x02\x12\x34", 0x1000, 0x1234),
        (b"\x09\x00\x03\x02\x12\x34", 0x100F, 0x1234),
        (b"\x03\xff\x12\x34", 0x1000, -1),
        (b"\0\0\0\x03", 0x1000, -1),
        (b"\x31\x12\x34", 0x2000, -1),
        (b"", 0xBEDE, -1),
    ],
)
def test_transport_sequence(extension: bytes, profile: int, expected: int) -> None:
    path = Inbound(opus_pt=OPUS, transport_cc_id=3)
    payload = opus_payloads(1)[0]
    assert path.push(extended(0, payload, extension, profile), 0) == inbound.OK
    assert path.last_transport_sequence == expected
    assert path.poll(0) == 320
    path.push(packet(1, payload), 0)
    assert path.last_transport_sequence == -1


def test_sequence_and_timestamp_wrap_cleanly() -> None:
    """A call may begin at any number: both wrap soon, with a loss on either side of it."""
    path = Inbound(opus_pt=OPUS)
    count, first, origin = 700, 65_000, 2**32 - 100 * 960
    payloads = opus_payloads(count)
    packets = [
        (
            i * 20 * MS,
            rtp.header(OPUS, (first + i) & 0xFFFF, (origin + i * 960) & 0xFFFFFFFF, 7) + p,
        )
        for i, p in enumerate(payloads)
    ]
    lost = {99, 101, 535, 537}
    statuses = play(path, [p for i, p in enumerate(packets) if i not in lost])
    assert set(statuses) == {inbound.OK}
    stats = path.stats()
    assert (stats["expected"], stats["received"]) == (count, count - len(lost))
    assert (stats["lost"], stats["resets"], stats["ts_jumps"]) == (len(lost), 0, 0)
    assert stats["highest_sequence"] == first + count - 1
    assert (path.ring.position, stats["concealed_ms"]) == (count * 320, 20 * len(lost))


def test_the_ring_holds_four_seconds_and_knows_what_was_concealed_in_them() -> None:
    path = Inbound(opus_pt=OPUS)
    assert path.ring.capacity == 65_536
    payloads = opus_payloads(400)
    packets = [(i * 20 * MS, packet(i, p)) for i, p in enumerate(payloads)]
    play(path, packets[::2])
    end = path.ring.position
    start = end - path.ring.capacity
    frames = np.arange(start, end) // 320 % 2
    assert path.concealed(start, end) == np.count_nonzero(frames)


def test_decoding_is_as_before() -> None:
    path = Inbound(opus_pt=OPUS, transport_cc_id=3, dtmf_pts={KEY: 8000})
    payloads = opus_payloads(50)
    decoder = opus.Decoder(16000)
    play(path, [(i * 20 * MS, packet(i, p)) for i, p in enumerate(payloads)])
    assert np.array_equal(heard(path), np.concatenate([decoder.decode(p) for p in payloads]))


@pytest.mark.parametrize(
    "arguments",
    [
        {"transport_cc_id": 15},
        {"dtmf_pts": {OPUS: 8000}},
        {"dtmf_pts": {128: 8000}},
        {"dtmf_pts": {KEY: 0}},
        {"dtmf_pts": dict.fromkeys(range(5), 8000)},
    ],
)
def test_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(MisuseError):
        Inbound(opus_pt=OPUS, **arguments)  # type: ignore[arg-type]
