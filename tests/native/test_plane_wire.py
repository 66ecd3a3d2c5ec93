"""What a stranger, a broken peer or a flood may send to the media plane: dropped and counted."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopback import LOOPBACK
from native.plane_kit import HELLO, OPUS, End, Wire, wait_for
from native.test_inbound import opus_payloads
from voicecore._native import plane, rtp
from voicecore._native.srtp import SrtpContext
from voicecore.errors import MisuseError, PeerError

CASES = Path(os.environ.get("VOICECORE_CASES", Path(__file__).parents[3] / "shared" / "cases"))
OPUS_PAYLOAD = opus_payloads(1)[0]


@pytest.fixture
def end() -> Iterator[End]:
    made = End()
    yield made
    made.threads.close()


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        yield made


def stun(kind: int = 1, username: bytes | None = None, body: bytes = b"") -> bytes:
    if username is not None:
        body = struct.pack(">HH", 6, len(username)) + username + bytes(-len(username) % 4) + body
    return struct.pack(">HHI", kind, len(body), 0x2112A442) + bytes(12) + body


def counted(end: End, **expected: int) -> None:
    """Wait until so many more than none are counted, and nothing else is."""
    received(end, expected.pop("received"))
    names = ("unknown_address", "unknown_name", "malformed", "oversized", "throttled",
             "datagrams_lost", "events_lost", "kernel_drops")  # fmt: skip

    def others() -> dict[str, int]:
        counters = end.threads.counters()
        return {name: counters[name] for name in names if counters[name]}

    wait_for(lambda: sum(others().values()) >= sum(expected.values()), end)
    assert others() == expected


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "malformed"),
        (b"\x80", "malformed"),
        (b"\x80" * 7, "malformed"),
        (b"\x10" * 100, "malformed"),
        (b"\x50" * 100, "malformed"),
        (b"\xff" * 100, "malformed"),
        (b"\x80" * 100, "unknown_address"),
        (b"\x80" * 1500, "unknown_address"),
        (b"\x80" * 1501, "oversized"),
        (b"\x80" * 4000, "oversized"),
        (HELLO, "unknown_address"),
        (stun(username=b"somebody:else"), "unknown_name"),
        (stun(), "unknown_name"),
        (stun(username=b""), "unknown_name"),
        (stun(username=b":x"), "unknown_name"),
        (stun(username=b"x" * 23), "unknown_name"),
        (stun(0x101), "unknown_address"),
        (stun(0x11), "unknown_address"),
        (stun()[:19], "malformed"),
        (stun()[:4] + bytes(16), "malformed"),
        (stun(username=b"wire:x")[:-4], "malformed"),
        (stun() + b"\0", "malformed"),
        (stun(body=b"\0\6\0\x09wire:x\0\0"), "malformed"),
        (stun(body=b"\0\7\xff\xffwire"), "malformed"),
    ],
)
def test_a_strangers_datagram(end: End, stranger: socket.socket, data: bytes, why: str) -> None:
    end.threads.add_peer("wire")
    stranger.sendto(data, end.address)
    counted(end, received=1, **{why: 1})
    assert not end.events


def test_a_known_name_or_address_comes_to_python(end: End, stranger: socket.socket) -> None:
    stranger.bind((LOOPBACK, 0))
    peer = end.threads.add_peer("wire")
    second = end.threads.open_port(LOOPBACK)
    messages = [
        stun(username=b"wire:them"),
        stun(username=b"wire"),
        stun(body=b"\x80\x22\0\4abcd" + b"\0\6\0\6wire:x\0\0"),
        stun(0x101),
        HELLO,
    ]
    end.threads.send(peer, end.port, b"\x16 hello to you", *stranger.getsockname())
    for message in messages:
        stranger.sendto(message, end.address)
    wait_for(lambda: len(end.events) >= len(messages), end)
    assert end.events == [
        (plane.DATAGRAM, peer, end.port, message, stranger.getsockname()) for message in messages
    ]
    stranger.sendto(messages[0], end.threads.port_address(second))
    stranger.sendto(HELLO, end.threads.port_address(second))
    counted(end, received=len(messages) + 2, unknown_address=1)
    wait_for(lambda: end.events[-1][2] == second, end)  # a name is known on every port


def test_a_name_is_taken_once_and_free_again(end: End) -> None:
    first = end.threads.add_peer("wire")
    with pytest.raises(MisuseError, match="taken"):
        end.threads.add_peer("wire")
    end.threads.remove_peer(first)
    assert end.threads.add_peer("wire") != first
    for bad in ("", "x" * 23):
        with pytest.raises(MisuseError, match="22"):
            end.threads.add_peer(bad)


def test_a_peer_may_have_several_names_at_once(end: End, stranger: socket.socket) -> None:
    """As in an ICE restart: both until the new one has a pair, then the new one alone."""
    stranger.bind((LOOPBACK, 0))
    peer, other = (end.threads.add_peer(name) for name in ("wire", "other"))
    end.threads.add_name(peer, "fresh")
    for name in (b"wire", b"fresh"):
        stranger.sendto(stun(username=name + b":x"), end.address)
    wait_for(lambda: len(end.events) == 2, end)
    assert {event[1] for event in end.events} == {peer}
    end.threads.drop_name(peer, "wire")
    stranger.sendto(stun(username=b"wire:x"), end.address)
    counted(end, received=3, unknown_name=1)
    assert end.threads.add_peer("wire"), "it is free again"
    for bad, says in (("fresh", "taken"), ("other", "taken"), ("", "22"), ("x" * 23, "22")):
        with pytest.raises(MisuseError, match=says):
            end.threads.add_name(peer, bad)
    for _, name in zip(range(3), ("b", "c", "d"), strict=True):
        end.threads.add_name(peer, name)
    with pytest.raises(MisuseError, match="at most 4"):
        end.threads.add_name(peer, "e")
    for name in ("b", "c", "d"):
        end.threads.drop_name(peer, name)
    for whose, name in ((peer, "fresh"), (peer, "b"), (peer, "other"), (peer, ""), (999, "fresh")):
        with pytest.raises(MisuseError):
            end.threads.drop_name(whose, name)
    with pytest.raises(MisuseError, match="no peer 999"):
        end.threads.add_name(999, "z")
    end.threads.add_name(peer, "wired")
    end.threads.remove_peer(peer)
    for name in ("fresh", "wired"):
        assert end.threads.add_peer(name) != other, "all of them went with the peer"


def test_who_talks_to_an_address_first_keeps_it(end: End, stranger: socket.socket) -> None:
    stranger.bind((LOOPBACK, 0))
    first, second = (end.threads.add_peer(name) for name in ("first", "second"))
    end.threads.send(first, end.port, HELLO, *stranger.getsockname())
    end.threads.send(second, end.port, HELLO, *stranger.getsockname())
    stranger.sendto(HELLO, end.address)
    wait_for(lambda: end.events, end)
    assert end.events[0][1] == first
    end.threads.remove_peer(first)
    end.threads.send(second, end.port, HELLO, *stranger.getsockname())
    stranger.sendto(HELLO, end.address)
    wait_for(lambda: len(end.events) == 2, end)
    assert end.events[1][1] == second


def test_the_address_media_goes_to_is_not_forgotten(end: End) -> None:
    """Though the peer has been sent to at more addresses than are kept."""
    wire = Wire(end)
    for udp_port in range(20_000, 20_040):
        end.threads.send(wire.peer, end.port, HELLO, "127.0.0.9", udp_port)
    wire.send_rtp(rtp.header(OPUS, 0, 0, 7) + OPUS_PAYLOAD)
    counted(end, received=1)
    wait_for(lambda: wire.session.stats()["srtp_packets"] == 1, end)
    wire.close()


def test_media_that_is_not_authentic(end: End) -> None:
    wire = Wire(end)
    packets = [rtp.header(OPUS, i, i * 960, 7) + OPUS_PAYLOAD for i in range(4)]
    good = wire.send_rtp(packets[0])
    wire.send(good)
    foreign = SrtpContext("SRTP_AES128_CM_SHA1_80", bytes(30), sending=True)
    wire.send(foreign.rtp(packets[1]))
    wire.send(foreign.rtcp(struct.pack(">BBHI", 0x80, 201, 1, 7)))
    cut = wire.sending.rtp(packets[2])
    wire.send(cut[:-1])
    wire.send(cut[:11])
    wire.send(cut[:12])
    wire.send(b"\x80" + bytes([OPUS]) + os.urandom(1400))
    wire.send(b"\xbf" + bytes([OPUS]) + os.urandom(30))
    wire.send_rtp(packets[3])
    counted(end, received=10)
    wait_for(lambda: wire.session.stats()["srtp_packets"] == 2, end)
    stats = wire.session.stats()
    assert (stats["replayed"], stats["rejected"], stats["reports_rejected"]) == (1, 6, 1)
    assert stats["received"] == 2
    wire.close()


def test_reports_that_are_malformed(end: End) -> None:
    wire = Wire(end)
    for report in (
        struct.pack(">BBHI", 0x80, 201, 9, 7),
        struct.pack(">BBHI", 0x82, 201, 1, 7),
        struct.pack(">BBHI", 0x81, 205, 1, 7),
        struct.pack(">BBHII", 0x81, 206, 2, 7, 1),
    ):
        wire.send_rtcp(report)
    wire.send_rtcp(struct.pack(">BBHI", 0x80, 201, 1, 7))
    wait_for(lambda: wire.session.network()["malformed"] >= 3, end)
    assert wire.session.stats()["reports_rejected"] == 0
    assert not end.of(plane.BYE)
    wire.close()


def test_the_rest_is_readable_after_a_take(end: End) -> None:
    """More datagrams wait than one take() gives: nobody has to send another to see them."""
    wire = Wire(end)
    for i in range(150):
        wire.send(HELLO + bytes([i]))
    wait_for(lambda: end.threads.counters()["received"] == 150)
    wait_for(lambda: len(end.of(plane.DATAGRAM)) == 150, end)
    assert [e[3][-1] for e in end.of(plane.DATAGRAM)] == list(range(150))
    assert not end.take(0.05), "and not when nothing is left"
    wire.close()


def test_a_peers_flood_is_throttled_and_its_own_affair(end: End, stranger: socket.socket) -> None:
    wire = Wire(end)
    other = end.threads.add_peer("other")
    for _ in range(600):
        wire.send(HELLO)
    stranger.sendto(stun(username=b"other:x"), end.address)
    wait_for(lambda: end.of(plane.DATAGRAM, other), end)
    counters = end.threads.counters()
    assert 100 < counters["throttled"] <= 400
    assert counters["throttled"] + len(end.of(plane.DATAGRAM, wire.peer)) == 600
    assert counters["datagrams_lost"] == 0
    wire.send_rtp(rtp.header(OPUS, 0, 0, 7) + OPUS_PAYLOAD)
    wait_for(lambda: wire.session.stats()["srtp_packets"] == 1, end)
    wire.close()


def test_datagrams_that_nobody_takes(end: End, stranger: socket.socket) -> None:
    names = [f"name{i}".encode() for i in range(4)]
    for name in names:
        end.threads.add_peer(name.decode())
    for _ in range(180):
        for name in names:
            stranger.sendto(stun(username=name + b":x"), end.address)
    wait_for(lambda: end.threads.counters()["received"] == 720)
    wait_for(lambda: end.threads.counters()["datagrams_lost"] == 720 - 512)
    wait_for(lambda: len(end.events) == 512, end)


def test_events_that_nobody_takes(end: End) -> None:
    """Its peer is told to have lost some: what is known of it is no longer the truth."""
    wire = Wire(end)
    quiet = end.threads.add_peer("quiet")
    wire.send_rtp(rtp.header(OPUS, 0, 0, 7) + OPUS_PAYLOAD)
    wait_for(lambda: wire.session.inbound.ring.position > 0)
    for _ in range(16_384 + 100):
        wire.session.wake_at(0)  # reached: told at once
    assert end.threads.counters()["events_lost"] >= 100
    wait_for(lambda: end.of(plane.LOST), end)
    # Whoever is slow to ask so often has a stall told among the rest.
    wait_for(lambda: len(end.events) > 16_384, end)
    assert len(end.of(plane.AUDIO)) > 16_380
    assert end.of(plane.LOST) == [(plane.LOST, wire.peer, 0, 0)]
    assert not [e for e in end.events if e[1] == quiet]
    wire.close()


def received(end: End, count: int) -> None:
    wait_for(lambda: end.threads.counters()["received"] >= count, end)


def cases(folder: str) -> list[bytes]:
    found = [path for path in sorted((CASES / folder).glob("*")) if "LICENSE" not in path.name]
    return [path.read_bytes()[:1600] for path in found if path.name != "SOURCE.txt"]


@pytest.mark.parametrize("folder", ["wire_aiortc", "fuzz_webrtc"])
def test_recorded_packets(end: End, stranger: socket.socket, folder: str) -> None:
    """From a stranger, from a peer as they are, and from a peer as authentic media."""
    packets = cases(folder)
    if not packets:
        pytest.skip("no recorded packets found")
    wire = Wire(end)
    sent = 0
    for data in packets:
        stranger.sendto(data, end.address)
        wire.send(data)
        sent += 2
        sent += send_protected(wire, data)
        received(end, sent)
    check_alive(end, wire)
    dropped = ("unknown_address", "unknown_name", "malformed", "oversized", "throttled")
    counters, stats = end.threads.counters(), wire.session.stats()
    assert counters["received"] == sent + 1
    wait_for(lambda: accounted(end, wire, dropped) >= sent, end)
    assert accounted(end, wire, dropped) <= sent + 1
    assert stats["malformed"] + stats["unknown_pt"] > 0
    wire.close()


def accounted(end: End, wire: Wire, dropped: tuple[str, ...]) -> int:
    """Every datagram is somewhere; RTCP that was authentic isn't counted, so it was sent apart."""
    counters, stats = end.threads.counters(), wire.session.stats()
    told = len(end.of(plane.DATAGRAM, wire.peer))
    media = sum(stats[name] for name in ("srtp_packets", "rejected", "replayed"))
    return told + sum(counters[name] for name in dropped) + media + stats["reports_rejected"]


def send_protected(wire: Wire, data: bytes) -> int:
    """As authentic RTP, if libsrtp takes it for a packet at all."""
    if len(data) < 12 or data[0] >> 6 != 2 or len(data) > 1480 or 192 <= data[1] <= 223:
        return 0
    try:
        wire.send(wire.sending.rtp(data))
    except PeerError:
        return 0
    return 1


def check_alive(end: End, wire: Wire) -> None:
    """An authentic packet of a new stream still arrives."""
    before = wire.session.stats()["srtp_packets"]
    wire.send_rtp(rtp.header(OPUS, 0, 0, 0x5EED) + OPUS_PAYLOAD)
    wait_for(lambda: wire.session.stats()["srtp_packets"] > before, end)


def test_random_datagrams(end: End, rng: np.random.Generator) -> None:
    """Headers of every kind, from a known address: nothing dies, audio still arrives."""
    wire = Wire(end)
    for sent in range(1, 1501):
        size = int(rng.choice([0, 1, 8, 12, 13, 20, 28, 60, 200, 1400, 1501]))
        data = bytearray(rng.bytes(size))
        kind: Any = rng.integers(4)
        if size and kind < 3:
            data[0] = int(rng.choice([(0, 1, 3), (22, 23, 63), (0x80, 0x90, 0xBF)][kind]))
        if size >= 20 and kind == 0:
            data[2:8] = struct.pack(">HI", size - 20, 0x2112A442)
        wire.send(bytes(data))
        if sent % 100 == 0:
            received(end, sent)
    check_alive(end, wire)
    assert not end.of(plane.BYE)
    wire.close()
