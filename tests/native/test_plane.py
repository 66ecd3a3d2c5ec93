"""The media plane, end to end on loopback: audio, playout, keys, reports, routes."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from loopback import LOOPBACK
from native.plane_kit import (
    KEY_BYTES,
    OPUS,
    Call,
    End,
    Lossy,
    Wire,
    hears,
    is_rtp,
    make_outbound,
    tone,
    wait_for,
)
from native.test_inbound import opus_payloads
from voicecore._native import outbound, plane, rtp
from voicecore._native.inbound import Inbound
from voicecore.errors import MisuseError

pytestmark = pytest.mark.realtime

MakeEnd = Callable[..., End]


@pytest.fixture
def make_end() -> Iterator[MakeEnd]:
    made: list[End] = []

    def make(*args: Any, **settings: Any) -> End:
        made.append(End(*args, **settings))
        return made[-1]

    yield make
    for end in made:
        end.threads.close()


@pytest.fixture
def ends(make_end: MakeEnd) -> tuple[End, End]:
    return make_end(), make_end()


def left_out(*ends: End) -> int:
    """Frames that weren't sent because this machine stood still."""
    return sum(int(end.threads.counters()["tx_skipped"]) for end in ends)


def reaches(call: Call, position: int) -> None:
    """Wait until both rings have come so far, told by AUDIO."""
    a, b = call.a, call.b
    call.at_a.wake_at(position)
    call.at_b.wake_at(position)
    wait_for(lambda: a.of(plane.AUDIO, call.peer_a) and b.of(plane.AUDIO, call.peer_b), a, b)


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_audio_goes_both_ways_under_every_profile(make_end: MakeEnd, threads: int) -> None:
    """Sequence numbers and timestamps wrap on the way, so the rollover counter counts."""
    a, b = (make_end(rx_threads=threads, tx_threads=threads) for _ in range(2))
    calls = [Call(a, b, profile=profile) for profile in KEY_BYTES]
    for i, call in enumerate(calls):
        call.at_a.outbound.write(tone(400 + 100 * i, 5), 0)
        call.at_b.outbound.write(tone(1000 + 100 * i, 5), 0)
    for call in calls:
        call.at_a.wake_at(9600)
        call.at_b.wake_at(9600)
    wait_for(lambda: len(a.of(plane.AUDIO)) == len(b.of(plane.AUDIO)) == len(calls), a, b)
    for i, call in enumerate(calls):
        for session, hz in ((call.at_b, 400 + 100 * i), (call.at_a, 1000 + 100 * i)):
            wait_for(lambda session=session, hz=hz: hears(session, hz), a, b)  # type: ignore[misc]
            wait_for(lambda session=session: session.stats()["highest_sequence"] > 65_550, a, b)  # type: ignore[misc]
            stats = session.stats()
            assert stats["srtp_packets"] >= 10
            assert stats["rejected"] == stats["replayed"] == 0
    assert [e[:2] for e in a.of(plane.AUDIO)].count((plane.AUDIO, calls[0].peer_a)) == 1


def test_ipv6(make_end: MakeEnd) -> None:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    a, b = make_end("::1"), make_end("::1")
    assert a.address[0] == "::1"
    call = Call(a, b)
    reaches(call, 1600)
    assert a.of(plane.DATAGRAM)[0][4] == call.address_b


def test_wake_at(ends: tuple[End, End]) -> None:
    a, b = ends
    call = Call(a, b)
    reaches(call, 1600)
    ring = call.at_a.inbound.ring
    position = ring.position
    told = len(a.of(plane.AUDIO))
    call.at_a.wake_at(800)
    assert wait_for(lambda: a.of(plane.AUDIO)[told:], a)[0][2] >= position, "reached long ago"
    while True:  # until it is taken back in time: the machine may stand still in between
        told = len(a.of(plane.AUDIO))
        wish = ring.position + 1600
        call.at_a.wake_at(wish)
        call.at_a.wake_at(None)
        if ring.position < wish:
            break
        wait_for(lambda: a.of(plane.AUDIO)[told:], a)  # noqa: B023 - called at once
    wait_for(lambda: ring.position > wish + 640, a, b)
    assert len(a.of(plane.AUDIO)) == told, "taken back"


def test_playout_is_told_with_its_generation(ends: tuple[End, End]) -> None:
    a, b = ends
    call = Call(a, b)
    out = call.at_a.outbound
    out.write(tone(400, 0.06), 0)
    wait_for(lambda: a.of(plane.DRAINED), a, b)
    assert a.of(plane.STARTED) == [(plane.STARTED, call.peer_a, 0, 0)]
    assert a.of(plane.DRAINED) == [(plane.DRAINED, call.peer_a, 1440, 0)]
    wait_for(lambda: out.last_kind == outbound.SILENCE, a, b)
    out.write(tone(400, 5), 0)
    wait_for(lambda: a.of(plane.STARTED)[1:], a, b)
    position = out.flush()
    assert out.generation == 1
    assert out.write(tone(400, 0.1), 0) == -1
    wait_for(lambda: out.last_kind == outbound.SILENCE, a, b)
    out.write(tone(1500, 0.04), 1)
    wait_for(lambda: a.of(plane.DRAINED)[1:], a, b)
    assert [e[3] for e in a.of(plane.STARTED)] == [0, 0, 1]
    assert a.of(plane.DRAINED)[1:] == [(plane.DRAINED, call.peer_a, position + 960, 1)]


def test_keys(make_end: MakeEnd) -> None:
    end = make_end()
    wire = Wire(end, inbound=Inbound(opus_pt=OPUS, dtmf_pts={101: 8000}))
    payload = opus_payloads(1)[0]
    wire.send_rtp(rtp.header(OPUS, 0, 0, 7) + payload)
    for i, last in enumerate((0, 0, 1, 1, 1)):
        event = struct.pack(">BBH", 11, last << 7 | 10, 160 * min(i + 1, 3))
        wire.send_rtp(rtp.header(101, i + 1, 960, 7) + event)
    assert wait_for(lambda: end.of(plane.DIGIT), end) == [(plane.DIGIT, wire.peer, ord("#"), 60)]
    wire.close()


@pytest.mark.parametrize("rx_threads", [1, 8])
def test_what_is_due_without_a_packet_is_done(make_end: MakeEnd, rx_threads: int) -> None:
    """By the thread that hears the peer, whichever that is."""
    end = make_end(rx_threads=rx_threads)
    wire = Wire(end, inbound=Inbound(opus_pt=OPUS, dtmf_pts={101: 8000}))
    wire.send_rtp(rtp.header(OPUS, 0, 0, 7) + opus_payloads(1)[0])
    wire.send_rtp(rtp.header(101, 1, 960, 7) + struct.pack(">BBH", 5, 10, 160))
    wait_for(lambda: end.of(plane.DIGIT), end)  # its end was lost
    wait_for(lambda: wire.session.stats()["stalls"] == 1, end)
    wire.send_rtp(rtp.header(OPUS, 9, 9 * 960, 7) + opus_payloads(1)[0])
    # It goes on, or, if we look late, went on and waits once more.
    wait_for(
        lambda: not wire.session.inbound.stalled or wire.session.stats()["stalls"] == 2,
        end,
    )
    wire.close()


def test_redundancy_mends_losses(ends: tuple[End, End]) -> None:
    a, b = ends
    wire = Lossy()
    call = Call(
        a,
        b,
        settings_a={"outbound": make_outbound(red_pt=63)},
        settings_b={"inbound": Inbound(opus_pt=OPUS, red_pt=63)},
        wire=wire,
    )
    call.at_a.outbound.configure(red=True)
    call.at_a.outbound.write(tone(400, 5), 0)
    count = dropped = 0

    def drop(side: int, data: bytes) -> bool:
        nonlocal count, dropped
        ours = side == 0 and is_rtp(data)
        count += ours
        dropped += ours and count % 5 == 4
        return ours and count % 5 == 4

    # How much is concealed besides depends on how punctual this process is: test_inbound.py
    # shows on a clock of its own that nothing is.
    wire.carry(drop, lambda: call.at_b.stats()["red"] >= 5, a, b)
    assert call.at_b.stats()["red"] <= dropped
    assert call.at_a.stats()["redundant"] > 0
    wire.close()


def test_transport_wide_feedback_tells_of_losses(ends: tuple[End, End]) -> None:
    a, b = ends
    wire = Lossy()
    settings = {"transport_cc": True}
    call = Call(
        a,
        b,
        settings_a=settings | {"outbound": make_outbound(transport_cc_id=3)},
        settings_b=settings | {"inbound": Inbound(opus_pt=OPUS, transport_cc_id=3)},
        wire=wire,
    )
    sent = lost = 0

    def drop(side: int, data: bytes) -> bool:
        nonlocal sent, lost
        if side or not is_rtp(data):
            return False
        sent += 1
        lost += sent % 4 == 2
        return sent % 4 == 2

    wire.carry(drop, lambda: call.at_a.network()["cc_reported"] >= 24, a, b)
    network = call.at_a.network()
    assert network["cc_feedbacks"] >= 1
    assert network["cc_lost"] / network["cc_reported"] == pytest.approx(0.25, abs=0.06)
    assert network["cc_lost"] <= lost
    assert network["malformed"] == 0
    wire.close()


def test_lost_packets_are_asked_for_and_sent_again(ends: tuple[End, End]) -> None:
    a, b = ends
    wire = Lossy()
    settings = {"nack": True, "report_interval_ms": 60}
    call = Call(
        a,
        b,
        settings_a=settings,
        settings_b=settings,
        wire=wire,
    )
    count = 0
    dropped: set[bytes] = set()
    mended: set[bytes] = set()

    def drop(side: int, data: bytes) -> bool:
        nonlocal count
        if data in dropped:
            mended.add(data)
        if side or not is_rtp(data) or call.at_b.network()["round_trip_ms"] < 0:
            return False
        count += 1
        if data in dropped or count % 5 != 2:
            return False
        dropped.add(data)
        return True

    wire.carry(drop, lambda: len(mended) >= 5, a, b)
    assert call.at_b.stats()["asked_again"] >= 5
    assert call.at_a.network()["nacks"] >= 5
    # Where this process is slow, what was on its way is asked for as well, and comes twice; what
    # was lost is no replay when it comes.
    assert call.at_b.stats()["replayed"] <= call.at_a.stats()["retransmitted"] - len(mended)
    wire.close()


def test_reports_and_bye(ends: tuple[End, End]) -> None:
    a, b = ends
    settings = {"report_interval_ms": 60}
    began_s = time.monotonic()
    call = Call(a, b, settings_a=settings, settings_b=settings)
    wait_for(
        lambda: call.at_a.network()["reports"] >= 2 and call.at_a.network()["round_trip_ms"] >= 0,
        a,
        b,
    )
    network = call.at_a.network()
    assert 0 <= network["round_trip_ms"] < 5000
    assert network["fraction_lost"] == 0
    assert 0 <= network["jitter_ms"] < 5000
    # No loss is told here. When what is told: tests/native/c/plane/report_news_check.c
    assert len(a.of(plane.REPORT)) <= 1 + time.monotonic() - began_s, "one a second"
    assert call.at_b.stats()["byes"] == 0
    call.at_a.close()
    wait_for(lambda: call.at_b.stats()["byes"], a, b)
    with pytest.raises(MisuseError) as caught:
        call.at_a.network()
    assert caught.value.code == "closed"
    call.at_a.outbound.close()


def test_a_bye_is_told_unless_the_voice_goes_on(make_end: MakeEnd) -> None:
    end = make_end()
    ended, changed = Wire(end, name="ended"), Wire(end, name="changed")
    payload = opus_payloads(1)[0]
    for wire in (ended, changed):
        wire.send_rtp(rtp.header(OPUS, 0, 0, 7) + payload)
        wire.send_rtcp(
            struct.pack(">BBHI", 0x80, 201, 1, 7) + struct.pack(">BBHI", 0x81, 203, 1, 7)
        )
        wire.send_rtp(rtp.header(OPUS, 1, 960, 7) + payload)  # it was overtaken
    sent = 0

    def told() -> bool:
        nonlocal sent
        sent += 1
        changed.send_rtp(rtp.header(OPUS, sent, sent * 960, 8) + payload)
        return bool(end.of(plane.BYE))

    wait_for(told, end)
    assert end.of(plane.BYE) == [(plane.BYE, ended.peer, 0, 0)]
    assert [wire.session.stats()["byes"] for wire in (ended, changed)] == [1, 1]
    ended.send_rtcp(struct.pack(">BBHI", 0x81, 203, 1, 7))
    wait_for(lambda: ended.session.stats()["byes"] == 2, end)
    ended.close()
    changed.close()


def test_by_way_of_a_relay(ends: tuple[End, End]) -> None:
    a, b = ends
    call = Call(a, b)
    call.at_a.route_relayed()
    call.at_b.route_relayed()
    call.at_a.outbound.write(tone(400, 5), 0)
    given = [0, 0]

    def carried() -> bool:
        for i, (end, to) in enumerate(((a, call.at_b), (b, call.at_a))):
            packets = end.of(plane.PACKET)
            for _, _, data in packets[given[i] :]:
                to.inject(data)
            given[i] = len(packets)
        return hears(call.at_b, 400) and call.at_a.inbound.ring.position > 0

    wait_for(carried, a, b)
    assert b.threads.counters()["received"] <= 2, "the hello alone"
    before = b.threads.counters()["malformed"]
    for bad in (b"", b"\x80", b"\x16" * 40, b"\x80" * 1501, b"\x80" * 40):
        call.at_b.inject(bad)
    assert b.threads.counters()["malformed"] == before + 4
    assert call.at_b.stats()["rejected"] == 1


def test_the_route_changes(make_end: MakeEnd) -> None:
    """The selected pair moves to another port of ours, then nowhere, then back."""
    end = make_end()
    wire = Wire(end)
    wire.receive(rtcp=False)
    second = end.threads.open_port(LOOPBACK)
    wire.session.route(second, *wire.address)
    sources = set()
    wait_for(
        lambda: (
            sources.add(wire.socket.recvfrom(2048)[1])
            or end.threads.port_address(second) in sources
        ),
        end,
    )
    wire.session.unroute()
    wait_for(lambda: wire.session.stats()["unsent"] >= 2, end)
    wire.session.route(end.port, *wire.address)
    wait_for(
        lambda: (
            sources.clear() or sources.add(wire.socket.recvfrom(2048)[1]) or end.address in sources
        ),
        end,
    )
    end.threads.close_port(second)
    wire.close()


def test_a_closed_port_sends_no_more_and_is_free_again(make_end: MakeEnd) -> None:
    end = make_end()
    wire = Wire(end)
    wire.receive(rtcp=False)
    end.threads.close_port(end.port)
    unsent = wire.session.stats()["unsent"]
    wait_for(lambda: wire.session.stats()["unsent"] > unsent + 1, end)
    wire.session.unroute()

    def bound() -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            try:
                again.bind(end.address)
            except OSError:
                return False
            return True

    wait_for(bound, end)
    wire.close()


def test_what_is_sent_is_rtp_of_one_stream(make_end: MakeEnd) -> None:
    end = make_end()
    wire = Wire(end, outbound=make_outbound(ssrc=0xABCD), report_interval_ms=60)
    wire.session.outbound.write(tone(400, 0.2), 0)
    packets = [wire.receive(rtcp=False) for _ in range(12)]
    fields = [struct.unpack(">BBHII", packet[:12]) for packet in packets]
    assert {(f[0], f[1] & 0x7F, f[4]) for f in fields} == {(0x80, OPUS, 0xABCD)}
    steps = np.diff([f[2] for f in fields]) % 65_536
    assert set(steps) == {1}
    ticks = np.diff(np.array([f[3] for f in fields], np.int64)) % 2**32
    assert set(ticks % 960) == {0}
    assert ticks.sum() <= 960 * (len(ticks) + left_out(end))
    report = wire.receive(rtcp=True)
    assert report[1] == 200
    assert struct.unpack(">I", report[4:8])[0] == 0xABCD
    wire.close()
