"""Beginnings and ends on the media plane: in any order, under traffic, and nothing left over."""

from __future__ import annotations

import gc
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from loopback import LOOPBACK
from native.plane_kit import OPUS, PROFILE, Call, End, Wire, make_outbound, tone, wait_for
from native.test_inbound import opus_payloads
from voicecore._native import plane, rtp
from voicecore._native.inbound import Inbound
from voicecore._native.plane import MediaThreads
from voicecore.errors import MisuseError

KEY = bytes(30)


@pytest.fixture
def end() -> Iterator[End]:
    made = End()
    yield made
    made.threads.close()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def media_threads() -> int:
    """How many threads of ours this process has."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # ended meanwhile
            names.append((task / "comm").read_text())
    return sum(name.startswith("media-") for name in names)


def test_threads_and_descriptors_end_with_it() -> None:
    threads, before = media_threads(), descriptors()
    end = End(rx_threads=2, tx_threads=3)
    assert media_threads() == threads + 5
    for _ in range(300):
        end.threads.open_port(LOOPBACK)
    assert descriptors() == before + 1 + 2 * 2 + 301 * 2, "events, epoll and wake, sockets"
    call = Call(end, End())
    wait_for(lambda: call.at_a.inbound.ring.position > 0, call.a, call.b)
    call.b.threads.close()
    end.threads.close()
    end.threads.close()
    assert (media_threads(), descriptors()) == (threads, before)
    assert end.threads.fd == -1
    for use in (
        end.threads.take,
        end.threads.counters,
        lambda: end.threads.open_port(LOOPBACK),
        lambda: end.threads.add_peer("x"),
        lambda: call.at_a.stats(),
        lambda: call.at_a.wake_at(1),
        lambda: call.at_a.inject(b"x"),
        lambda: call.at_a.unroute(),
    ):
        with pytest.raises(MisuseError) as caught:
            use()
        assert caught.value.code == "closed"
    end.threads.close_port(end.port)
    end.threads.remove_peer(call.peer_a)
    call.at_a.close()


@pytest.mark.parametrize("order", ["session", "peer", "port", "threads"])
def test_ends_in_any_order(order: str) -> None:
    a, b = End(), End()
    call = Call(a, b)
    wait_for(lambda: call.at_b.inbound.ring.position > 0, a, b)
    ends = {
        "session": call.at_b.close,
        "peer": lambda: b.threads.remove_peer(call.peer_b),
        "port": lambda: b.threads.close_port(call.port_b),
        "threads": b.threads.close,
    }
    for name in sorted(ends, key=lambda name: name != order):
        ends[name]()
        assert call.at_a.stats()["sent"] > 0
    call.at_b.inbound.close()
    call.at_b.outbound.close()
    a.threads.close()


def test_dropped_without_a_close() -> None:
    """Garbage in a ring, found by the collector while packets fly."""
    gc.collect()  # of what a failed test has left
    threads, before = media_threads(), descriptors()
    for _ in range(3):
        a, b = End(), End()
        call = Call(a, b)
        call.at_a.outbound.write(tone(400, 1), 0)
        wait_for(lambda call=call: call.at_b.inbound.ring.position > 0, a, b)  # type: ignore[misc]
        inbound = call.at_b.inbound
        del a, b, call
        gc.collect()
        inbound.close()  # nobody drives it any more
    gc.collect()
    assert (media_threads(), descriptors()) == (threads, before)


def test_a_peer_has_one_session_and_audio_one_peer(end: End) -> None:
    peers = [end.threads.add_peer(name) for name in ("one", "two")]
    audio: dict[str, Any] = {"inbound": Inbound(opus_pt=OPUS), "outbound": make_outbound()}
    session = end.session(peers[0], receive=KEY, send=KEY, **audio)
    with pytest.raises(MisuseError) as caught:
        end.session(peers[0], receive=KEY, send=KEY)
    assert caught.value.code == "in_use"
    for half in audio:
        with pytest.raises(MisuseError) as caught:
            end.session(peers[1], receive=KEY, send=KEY, **{half: audio[half]})
        assert caught.value.code == "in_use"
    for drive in (
        lambda: audio["inbound"].poll(0),
        lambda: audio["inbound"].close(),
        lambda: audio["outbound"].next_packet(),
        lambda: audio["outbound"].close(),
    ):
        with pytest.raises(MisuseError) as caught:
            drive()
        assert caught.value.code == "in_use"
    session.close()
    again = end.session(peers[1], receive=KEY, send=KEY, **audio)
    again.close()
    audio["inbound"].close()
    with pytest.raises(MisuseError) as caught:
        end.session(end.threads.add_peer("three"), receive=KEY, send=KEY, **audio)
    assert caught.value.code == "closed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"receive": bytes(29), "send": bytes(29)},
        {"send": bytes(29)},
        {"srtp_profile": "SRTP_NULL"},
        {"srtp_profile": "SRTP_AEAD_AES_256_GCM"},
        {"vad": True},
        {"threshold": 0.0},
        {"threshold": float("nan")},
        {"start_ms": 0},
        {"clock_hz": 0},
        {"report_interval_ms": 0},
    ],
)
def test_sessions_that_are_refused_leave_the_audio_free(end: End, wrong: dict[str, Any]) -> None:
    peer = end.threads.add_peer("wire")
    audio: dict[str, Any] = {"inbound": Inbound(opus_pt=OPUS), "outbound": make_outbound()}
    with pytest.raises(MisuseError):
        end.session(peer, **({"receive": KEY, "send": KEY} | audio | wrong))
    end.session(peer, receive=KEY, send=KEY, **audio).close()


@pytest.mark.parametrize(
    "wrong",
    [{"rx_threads": 0}, {"rx_threads": 9}, {"tx_threads": 0}, {"tx_threads": 9}],
)
def test_thread_counts_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(MisuseError):
        MediaThreads(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_port_is_bound_once(threads: int) -> None:
    """Several receiving threads share a port among them, and with nobody else."""
    end, other = End(rx_threads=threads), End(rx_threads=threads)
    with pytest.raises(OSError, match="in use"):
        other.threads.open_port(*end.address)
    with pytest.raises(OSError, match="in use"):
        end.threads.open_port(*end.address)
    for host, port in (("127.0.0.1", -1), ("127.0.0.1", 65_536), ("localhost", 0), ("", 0)):
        with pytest.raises(MisuseError):
            end.threads.open_port(host, port)
    with pytest.raises(OSError, match="assign"):
        end.threads.open_port("192.0.2.1")
    end.threads.close()
    other.threads.close()


def test_every_thread_reads_its_share() -> None:
    end = End(rx_threads=4)
    wires = [Wire(end, name=f"wire{i}") for i in range(12)]
    payload = opus_payloads(1)[0]
    for wire in wires:
        wire.send_rtp(rtp.header(OPUS, 0, 0, 7) + payload)
    wait_for(lambda: all(w.session.inbound.ring.position > 0 for w in wires), end)
    assert end.threads.counters()["received"] == len(wires)
    for wire in wires:
        wire.close()
    end.threads.close()


@pytest.mark.slow
def test_reading_counters_holds_up_no_thread() -> None:
    """Another Python thread that keeps the GIL for long doesn't keep a session's lock with it."""
    a, b = End(), End()
    call = Call(a, b)
    wait_for(lambda: call.at_b.inbound.ring.position > 0, a, b)
    before, done = sys.getswitchinterval(), threading.Event()

    def spin() -> None:
        while not done.is_set():
            pass

    spinner = threading.Thread(target=spin)
    sys.setswitchinterval(0.5)  # so long does who wants the GIL wait for it
    try:
        spinner.start()
        b.threads.counters()
        until = time.monotonic() + 2
        while time.monotonic() < until:  # now and then a media thread has the lock just then
            call.at_b.stats()
        late_ms = b.threads.counters()["rx_late_max_ms"]
    finally:
        done.set()
        spinner.join()
        sys.setswitchinterval(before)
    assert late_ms < 250
    a.threads.close()
    b.threads.close()


def churn(end: End, traffic: list[bytes], to_send: socket.socket, rounds: int) -> None:
    payload = opus_payloads(1)[0]
    for i in range(rounds):
        peer = end.threads.add_peer(f"peer{i}")
        end.threads.send(peer, end.port, b"\x16 hello", *to_send.getsockname())
        session = end.session(peer, receive=KEY, send=KEY, srtp_profile=PROFILE)
        session.route(end.port, *to_send.getsockname())
        session.outbound.write(tone(400, 0.04), 0)
        for data in traffic:
            to_send.sendto(data, end.address)
        to_send.sendto(rtp.header(OPUS, i, i * 960, 7) + payload, end.address)
        if i % 3 == 0:
            session.close()
        end.threads.remove_peer(peer)
        end.take()


@pytest.mark.parametrize("threads", [1, 2])
def test_sessions_come_and_go_while_packets_fly(threads: int) -> None:
    before = descriptors()
    end = End(rx_threads=threads, tx_threads=threads)
    stop = threading.Event()
    traffic = [b"\x80" + bytes([OPUS]) + os.urandom(80), b"\x80\xc8" + os.urandom(40)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind((LOOPBACK, 0))

        def flood() -> None:
            while not stop.is_set():
                for data in traffic:
                    wire.sendto(data, end.address)
                stop.wait(0.0005)

        flooder = threading.Thread(target=flood)
        flooder.start()
        churn(end, traffic, wire, 150)
        stop.set()
        flooder.join()
        wait_for(lambda: end.threads.counters()["received"] > 450, end)
        counters = end.threads.counters()
        assert counters["malformed"] == counters["events_lost"] == 0
        end.threads.close()
    assert descriptors() == before


def test_a_session_may_end_within_its_own_events(end: End) -> None:
    wire = Wire(end)
    wire.send_rtp(rtp.header(OPUS, 0, 0, 7) + opus_payloads(1)[0])
    wire.session.wake_at(1)
    wait_for(lambda: end.of(plane.AUDIO), end)
    end.threads.remove_peer(wire.peer)
    wire.send_rtp(rtp.header(OPUS, 1, 960, 7) + opus_payloads(1)[0])
    wait_for(lambda: end.threads.counters()["unknown_address"] == 1, end)
    assert wire.session.inbound.ring.position > 0, "still readable"
    wire.close()
