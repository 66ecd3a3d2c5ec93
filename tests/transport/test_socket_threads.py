"""Media sockets in Python: whose is a datagram, and who may claim an address."""

from __future__ import annotations

import os
import random
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from transport.networks import binding_request
from voicecore.transport.hub import DATAGRAM
from voicecore.transport.socket_threads import ARRIVED, SocketThreads, ufrag_of

DTLS, RTP = b"\x16\xfe\xfd" + bytes(20), b"\x80\x6f" + bytes(30)


@pytest.fixture
def threads() -> Iterator[SocketThreads]:
    made = SocketThreads()
    yield made
    made.close()


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


def arrivals(threads: SocketThreads) -> list[tuple[Any, ...]]:
    """What came until nothing does: loopback delivers within the call that sends."""
    out: list[tuple[Any, ...]] = []
    while select.select([threads.fd], [], [], 0)[0]:
        out += threads.take()
    return out


def test_a_check_is_its_names_and_an_address_its_first_speakers(
    threads: SocketThreads, stranger: socket.socket
) -> None:
    port = threads.open_port("127.0.0.1")
    here, there = threads.port_address(port), stranger.getsockname()
    one, two = threads.add_peer("oneone"), threads.add_peer("twotwo")
    for data in (DTLS, RTP, binding_request("nobody", "p"), b"", b"\xff"):
        stranger.sendto(data, here)
    assert arrivals(threads) == []
    assert threads.dropped == 5
    check = binding_request("oneone", "p")
    stranger.sendto(check, here)
    assert arrivals(threads) == [(DATAGRAM, one, port, check, there)]
    threads.send(one, port, b"reply", *there)
    assert stranger.recv(100) == b"reply"
    threads.send(two, port, b"mine!", *there)
    for data in (DTLS, RTP):
        stranger.sendto(data, here)
    assert arrivals(threads) == [(DATAGRAM, one, port, DTLS, there), (ARRIVED, one, RTP)]
    threads.remove_peer(one)
    threads.remove_peer(one)
    stranger.sendto(DTLS, here)
    stranger.sendto(check, here)
    assert arrivals(threads) == []


def test_names_are_unique_while_they_are_used(threads: SocketThreads) -> None:
    peer = threads.add_peer("oneone")
    with pytest.raises(ValueError, match="another"):
        threads.add_peer("oneone")
    threads.remove_peer(peer)
    assert threads.add_peer("oneone") != peer


def test_a_peer_has_so_many_addresses(threads: SocketThreads, stranger: socket.socket) -> None:
    port = threads.open_port("127.0.0.1")
    peer = threads.add_peer("oneone")
    for number in range(64):
        threads.send(peer, port, b"x", "127.0.0.2", 1024 + number)
    threads.send(peer, port, b"x", *stranger.getsockname())
    stranger.sendto(DTLS, threads.port_address(port))
    assert arrivals(threads) == []
    assert threads.dropped == 1


def test_ipv6_beside_ipv4_on_one_number(threads: SocketThreads) -> None:
    number = threads.port_address(threads.open_port("127.0.0.1"))[1]
    port = threads.open_port("::1", number)
    assert threads.port_address(port) == ("::1", number)
    with pytest.raises(OSError, match="in use"):
        threads.open_port("::1", number)
    peer = threads.add_peer("oneone")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind(("::1", 0))
        there = sock.getsockname()[:2]
        threads.send(peer, port, b"x", *there)
        sock.sendto(DTLS, ("::1", number))
        assert arrivals(threads) == [(DATAGRAM, peer, port, DTLS, there)]


def test_one_take_is_bounded_and_the_rest_waits(
    threads: SocketThreads, stranger: socket.socket
) -> None:
    port = threads.open_port("127.0.0.1")
    peer = threads.add_peer("oneone")
    threads.send(peer, port, b"x", *stranger.getsockname())
    for _ in range(200):
        stranger.sendto(DTLS, threads.port_address(port))
    assert len(threads.take()) == 64
    assert len(arrivals(threads)) == 136


def test_closed_ports_and_unknown_peers_are_passed_over(
    threads: SocketThreads, stranger: socket.socket
) -> None:
    port = threads.open_port("127.0.0.1")
    threads.send(5, port, b"x", *stranger.getsockname())
    threads.close_port(port)
    threads.close_port(port)
    threads.send(threads.add_peer("oneone"), port, b"x", *stranger.getsockname())
    threads.close()
    threads.close()
    assert threads.take() == []


def test_the_name_in_a_check() -> None:
    whole = binding_request("abcd", "p")
    assert ufrag_of(whole) == b"abcd"
    response = b"\x01\x01" + whole[2:]
    assert ufrag_of(response) == b""
    for size in range(len(whole)):
        assert ufrag_of(whole[:size]) in (b"", b"abcd")
    seed = int(os.environ.get("VOICECORE_SEED") or random.SystemRandom().randrange(2**32))
    print(f"VOICECORE_SEED={seed}")
    rng = random.Random(seed)
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        assert isinstance(ufrag_of(bytes(data[: rng.randrange(len(data) + 1)])), bytes)
