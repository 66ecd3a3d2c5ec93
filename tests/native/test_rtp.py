"""RTP on the wire: parser, writer, RTP or RTCP, RED."""

from __future__ import annotations

import os
import random
import struct
from pathlib import Path

import pytest

from voicecore._native import rtp

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("VOICECORE_CASES", ROOT.parent / "shared" / "cases"))
HEADER = rtp.header(111, 4660, 0x89ABCDEF, 0xDEADBEEF)


def cases(folder: str, pattern: str = "*") -> list[Path]:
    if not (CASES / folder).is_dir():
        pytest.skip(f"recordings not found: {CASES / folder}")
    return sorted((CASES / folder).glob(pattern))


def rtpdump(path: Path) -> list[tuple[int, bytes]]:
    """``(ms, packet)`` of a file in rtpdump format."""
    data = path.read_bytes()
    at = data.index(b"\n") + 1 + 16
    packets = []
    while at + 8 <= len(data):
        length, size, ms = struct.unpack_from(">HHI", data, at)
        if size:
            packets.append((ms, data[at + 8 : at + length]))
        at += length
    return packets


def test_header_round_trip() -> None:
    rng = random.Random(1)
    for _ in range(200):
        fields = (rng.getrandbits(7), rng.getrandbits(16), rng.getrandbits(32), rng.getrandbits(32))
        marker = rng.random() < 0.5
        packet = rtp.header(*fields, marker=marker) + b"payload"
        parsed = rtp.parse(packet)
        assert parsed is not None
        assert parsed[:5] == (*fields, marker)
        assert (parsed.payload_at, parsed.payload_len) == (12, 7)


def test_header_bytes() -> None:
    expected = bytes.fromhex("80 ef 12 34 89 ab cd ef de ad be ef")
    assert rtp.header(111, 4660, 0x89ABCDEF, 0xDEADBEEF, marker=True) == expected


@pytest.mark.parametrize(
    "fields", [(128, 0, 0, 0), (0, 65536, 0, 0), (0, 0, -1, 0), (0, 0, 0, 1 << 32)]
)
def test_header_refuses_what_does_not_fit(fields: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must fit"):
        rtp.header(*fields)


def test_csrc_extension_and_padding() -> None:
    packet = bytearray(HEADER)
    packet[0] |= 0x20 | 0x10 | 2
    packet += b"CSR1CSR2" + struct.pack(">HH", 0xBEDE, 1) + b"\x10\x55\0\0" + b"audio" + b"\0\0\3"
    parsed = rtp.parse(bytes(packet))
    assert parsed is not None
    assert bytes(packet[parsed.payload_at :][: parsed.payload_len]) == b"audio"
    assert (parsed.csrc_count, parsed.extension_profile) == (2, 0xBEDE)
    assert packet[parsed.extension_at :][: parsed.extension_len] == b"\x10\x55\0\0"


def changed(first: int, tail: bytes) -> bytes:
    return bytes([first]) + HEADER[1:] + tail


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (b"", "empty"),
        (HEADER[:11], "short header"),
        (changed(0x40, b"x"), "version 1"),
        (changed(0xC0, b"x"), "version 3"),
        (changed(0x81, b"abc"), "CSRC beyond the end"),
        (changed(0x90, b"\xbe\xde\0"), "extension header cut"),
        (changed(0x90, b"\xbe\xde\0\1abc"), "extension data cut"),
        (changed(0x90, b"\xbe\xde\xff\xff"), "extension of 256 KB"),
        (changed(0xA0, b""), "padding without payload"),
        (changed(0xA0, b"ab\0"), "padding of 0"),
        (changed(0xA0, b"ab\4"), "padding beyond the payload"),
        (HEADER + bytes(65536), "longer than a datagram"),
    ],
)
def test_malformed(packet: bytes, why: str) -> None:
    assert rtp.parse(packet) is None, why


def test_only_padding_is_an_empty_payload() -> None:
    parsed = rtp.parse(changed(0xA0, b"\0\0\3"))
    assert parsed is not None
    assert parsed.payload_len == 0


def test_is_rtcp() -> None:
    for second in range(256):
        assert rtp.is_rtcp(bytes([0x80, second])) == (192 <= second <= 223)
    assert not rtp.is_rtcp(b"\x40\xc8")
    assert not rtp.is_rtcp(b"\x80")


def red(blocks: list[tuple[int, int, bytes]]) -> bytes:
    *older, (primary_pt, _, primary) = blocks
    heads = b"".join(
        struct.pack(">I", 1 << 31 | pt << 24 | offset << 10 | len(data))
        for pt, offset, data in older
    )
    return heads + bytes([primary_pt]) + b"".join(d for _, _, d in older) + primary


def test_red() -> None:
    blocks = [(111, 1920, b"oldest"), (111, 960, b""), (111, 0, b"primary")]
    assert rtp.split_red(red(blocks)) == blocks
    assert rtp.split_red(red(blocks[-1:])) == blocks[-1:]
    full = [(1, 16383, b"x")] * 31 + [(1, 0, b"")]
    assert rtp.split_red(red(full)) == full


def test_red_malformed() -> None:
    whole = red([(111, 960, b"older"), (111, 0, b"")])
    for cut in range(len(whole)):
        assert rtp.split_red(whole[:cut]) is None
    assert rtp.split_red(red([(1, 1, b"")] * 32 + [(1, 0, b"")])) is None


@pytest.mark.parametrize("count", [0, 1, 2, 31])
def test_red_round_trip(count: int) -> None:
    rng = random.Random(count)
    older = [
        (rng.randrange(128), rng.randrange(1, 1 << 14), rng.randbytes(rng.randrange(200)))
        for _ in range(count)
    ]
    written = rtp.write_red(111, b"primary", older)
    assert written == red([*older, (111, 0, b"primary")])
    assert rtp.split_red(written) == [*older, (111, 0, b"primary")]


def test_red_leaves_out_what_its_fields_cannot_hold() -> None:
    longest = bytes(1023)
    blocks = [(1, 16384, b"old"), (2, 16383, longest), (3, 960, bytes(1024)), (4, 0, b"now")]
    assert rtp.split_red(rtp.write_red(111, b"p", blocks)) == [
        (2, 16383, longest), (111, 0, b"p"),
    ]  # fmt: skip
    assert rtp.write_red(111, b"", []) == bytes([111])


def test_red_misuse() -> None:
    with pytest.raises(ValueError, match="31 blocks"):
        rtp.write_red(1, b"", [(1, 1, b"")] * 32)
    with pytest.raises(ValueError, match="longer than a packet"):
        rtp.write_red(1, bytes(65535), [])
    with pytest.raises(ValueError, match="payload_type"):
        rtp.write_red(128, b"", [])
    with pytest.raises(TypeError, match="bytes"):
        rtp.write_red(1, b"", [(1, 1, "text")])  # type: ignore[list-item]


def extended(profile: int, data: bytes) -> bytes:
    data += bytes(-len(data) % 4)
    return changed(0x90, struct.pack(">HH", profile, len(data) // 4) + data + b"audio")


@pytest.mark.parametrize(
    ("profile", "data", "found"),
    [
        (0xBEDE, b"\x10a\x32bcd", {1: b"a", 3: b"bcd"}),
        (0xBEDE, b"\0\0\x10a\0\0\x2fABCDEFGHIJKLMNOP", {1: b"a", 2: b"ABCDEFGHIJKLMNOP"}),
        (0xBEDE, b"\x10a\x03bcd\x20e", {1: b"a"}),  # id 0 with a length ends it
        (0xBEDE, b"\x10a\xf0b\x20c", {1: b"a"}),  # and so does id 15
        (0xBEDE, b"\x10a\x2fb", {1: b"a"}),  # cut
        (0xBEDE, b"", {}),
        (0x1000, b"\x01\x01a\0\xf0\x02bc\x05\x00", {1: b"a", 240: b"bc", 5: b""}),
        (0x100F, b"\x01\x01a", {1: b"a"}),  # application bits
        (0x1000, b"\x01\x01a\x02\xffb", {1: b"a"}),
        (0x1000, b"\0\0\0\x01", {}),
        (0x2000, b"\x10a", {}),  # another profile
    ],
)
def test_header_extensions(profile: int, data: bytes, found: dict[int, bytes]) -> None:
    packet = extended(profile, data)
    told = {i: value for i in range(1, 256) if (value := rtp.extension(packet, i)) is not None}
    assert told == found


def test_no_header_extension() -> None:
    assert rtp.extension(HEADER + b"audio", 1) is None
    assert rtp.extension(b"too short", 1) is None


def test_transport_sequence_in_the_header() -> None:
    packet = rtp.header(111, 1, 2, 3, transport_cc=(5, 0xABCD)) + b"audio"
    assert packet[:12] == bytes([0x90]) + rtp.header(111, 1, 2, 3)[1:]
    assert packet[12:20].hex(" ") == "be de 00 01 51 ab cd 00"
    parsed = rtp.parse(packet)
    assert parsed is not None
    assert (parsed.payload_at, parsed.payload_len) == (20, 5)
    assert rtp.extension(packet, 5) == b"\xab\xcd"
    assert rtp.extension(packet, 4) is None
    for wrong in ((0, 1), (15, 1), (1, 1 << 16)):
        with pytest.raises(ValueError, match="must"):
            rtp.header(111, 1, 2, 3, transport_cc=wrong)


def test_header_extensions_against_aiortc() -> None:
    aiortc_rtp = pytest.importorskip("aiortc.rtp")
    rng = random.Random(3)
    for _ in range(200):
        ids = rng.sample(range(1, 15 if rng.random() < 0.5 else 256), rng.randrange(1, 6))
        elements = [(i, rng.randbytes(rng.randrange(1, 17))) for i in ids]
        profile, value = aiortc_rtp.pack_header_extensions(elements)
        packet = extended(profile, value)
        assert [(i, rtp.extension(packet, i)) for i in ids] == elements


def test_random_bytes_never_break_a_parser() -> None:
    seed = 7
    rng = random.Random(seed)
    for _ in range(20_000):
        data = rng.randbytes(rng.randrange(80))
        if rng.random() < 0.7 and data:
            data = bytes([0x80 | data[0] & 0x3F]) + data[1:]
        parsed = rtp.parse(data)
        if parsed is not None:
            assert parsed.payload_at + parsed.payload_len <= len(data), f"seed {seed}"
        level = rtp.extension(data, 1)
        assert level is None or len(level) <= len(data)
        blocks = rtp.split_red(data)
        if blocks is not None:
            assert sum(len(block) for _, _, block in blocks) < len(data)


def test_types() -> None:
    with pytest.raises(TypeError):
        rtp.parse("text")  # type: ignore[arg-type]


# -- recordings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "payload_type", "payload_len", "csrc"),
    [
        ("rtp.bin", 0, 160, 0),
        ("rtp_dtmf.bin", 101, 4, 0),
        ("rtp_only_padding.bin", 120, 0, 0),
        ("rtp_only_padding_with_header_extensions.bin", 98, 0, 0),
        ("rtp_with_csrc.bin", 0, 160, 2),
        ("rtp_with_sdes_mid.bin", 111, 54, 0),
    ],
)
def test_wire_aiortc(name: str, payload_type: int, payload_len: int, csrc: int) -> None:
    (path,) = cases("wire_aiortc", name)
    parsed = rtp.parse(path.read_bytes())
    assert parsed is not None
    assert (parsed.payload_type, parsed.payload_len, parsed.csrc_count) == (
        payload_type,
        payload_len,
        csrc,
    )


def test_rtcp_and_rtp_are_told_apart_in_recordings() -> None:
    for path in cases("wire_aiortc", "rtcp_*.bin"):
        assert rtp.is_rtcp(path.read_bytes()), path.name
    for path in cases("wire_aiortc", "rtp*.bin"):
        assert not rtp.is_rtcp(path.read_bytes()), path.name


def test_fuzz_corpus() -> None:
    for path in cases("fuzz_webrtc", "rt*"):
        data = path.read_bytes()
        for cut in range(len(data) + 1):
            parsed = rtp.parse(data[:cut])
            assert parsed is None or parsed.payload_at + parsed.payload_len <= cut
            rtp.split_red(data[:cut])


@pytest.mark.parametrize(
    ("name", "payload_type", "ssrc", "packets", "lowest", "highest"),
    [
        ("call1_ulaw.a", 0, 0xD2C7ADA6, 592, 15259, 15850),
        ("call1_ulaw.o", 0, 0xDB0DB55B, 591, 473, 1063),
        ("call1_alaw.a", 8, 0x1B5D8C64, 405, 10224, 10628),
        ("call1_alaw.o", 8, 0xB6EEAE89, 405, 5759, 6163),
    ],
)
def test_recorded_call(
    name: str, payload_type: int, ssrc: int, packets: int, lowest: int, highest: int
) -> None:
    (path,) = cases("rtp_rtpproxy", f"*{name}.rtpdump")
    parsed = [rtp.parse(packet) for _, packet in rtpdump(path)]
    assert all(p is not None and p.ssrc == ssrc and p.payload_len == 160 for p in parsed)
    sequences = {p.sequence for p in parsed if p is not None and p.payload_type == payload_type}
    assert (len(sequences), min(sequences), max(sequences)) == (packets, lowest, highest)
