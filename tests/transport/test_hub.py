"""The hub: batches from the media threads, shared ports, one call's fault alone."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fakes.media_threads import HandThreads
from voicecore.transport.hub import DATAGRAM, MediaHub

SOURCE = ("192.0.2.9", 5000)


class Handler:
    """Notes what it is told; ``fault`` is raised once."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.datagrams: list[tuple[Any, ...]] = []
        self.media: list[tuple[Any, ...]] = []
        self.fault = fault

    def on_datagram(self, port: int, data: bytes, source: tuple[str, int]) -> None:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        self.datagrams.append((port, data, source))

    def on_media(self, kind: int, *details: Any) -> None:
        self.media.append((kind, *details))


@pytest.fixture
def threads() -> HandThreads:
    return HandThreads()


@pytest.fixture
async def hub(threads: HandThreads) -> AsyncIterator[MediaHub]:
    made = MediaHub(threads, addresses=lambda: ["192.0.2.2", "fd00::2"])
    yield made
    made.close()


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_events_reach_their_peer_in_order(threads: HandThreads, hub: MediaHub) -> None:
    one, two = Handler(), Handler()
    a, b = hub.add_peer("aaaa", one), hub.add_peer("bbbb", two)
    threads.put((DATAGRAM, a, 7, b"1", SOURCE), (3, b, "x", 4), (DATAGRAM, a, 7, b"2", SOURCE))
    await turns()
    assert one.datagrams == [(7, b"1", SOURCE), (7, b"2", SOURCE)]
    assert two.media == [(3, "x", 4)]
    assert hub.peers == 2


async def test_events_of_who_is_gone_are_dropped(threads: HandThreads, hub: MediaHub) -> None:
    handler = Handler()
    peer = hub.add_peer("aaaa", handler)
    threads.put((DATAGRAM, peer, 7, b"1", SOURCE), (DATAGRAM, 999, 7, b"1", SOURCE))
    hub.remove_peer(peer)
    hub.remove_peer(peer)
    await turns()
    assert handler.datagrams == []
    assert hub.stray == 2
    assert threads.peers == {}


async def test_a_flood_leaves_the_loop_to_others(threads: HandThreads, hub: MediaHub) -> None:
    handler = Handler()
    peer = hub.add_peer("aaaa", handler)
    threads.put(*[(DATAGRAM, peer, 7, bytes([i % 256]), SOURCE) for i in range(1000)])
    seen = []
    for _ in range(30):
        await asyncio.sleep(0)
        seen.append(len(handler.datagrams))
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert seen[-1] == 1000
    assert max(steps) <= 64
    assert [data[1][0] for data in handler.datagrams] == [i % 256 for i in range(1000)]


async def test_a_handlers_fault_is_told_and_harms_no_other(
    threads: HandThreads, hub: MediaHub, caplog: pytest.LogCaptureFixture
) -> None:
    broken, sound = Handler(RuntimeError("x")), Handler()
    a, b = hub.add_peer("aaaa", broken), hub.add_peer("bbbb", sound)
    with caplog.at_level(logging.ERROR):
        threads.put(*[(DATAGRAM, peer, 7, b"1", SOURCE) for peer in (a, b, a)])
        await turns()
    assert len(sound.datagrams) == len(broken.datagrams) == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_handler_may_close_the_hub(threads: HandThreads, hub: MediaHub) -> None:
    class Closes(Handler):
        def on_datagram(self, port: int, data: bytes, source: tuple[str, int]) -> None:
            super().on_datagram(port, data, source)
            hub.close()

    handler = Closes()
    peer = hub.add_peer("aaaa", handler)
    threads.put(*[(DATAGRAM, peer, 7, b"1", SOURCE)] * 3)
    await turns()
    assert len(handler.datagrams) == 1
    hub.close()
    assert threads.closed == 1
    hub.send(peer, 7, b"x", SOURCE)
    assert threads.sent == []


async def test_sending_is_for_peers_and_never_raises(threads: HandThreads, hub: MediaHub) -> None:
    peer = hub.add_peer("aaaa", Handler())
    hub.send(peer, 7, b"x", SOURCE)
    hub.send(peer, 7, b"x", ("unreachable", 1))
    hub.send(999, 7, b"x", SOURCE)
    assert threads.sent == [(peer, 7, b"x", *SOURCE)]
    assert hub.unsent == 1


# -- ports ------------------------------------------------------------------------------


async def test_one_number_on_every_address(threads: HandThreads, hub: MediaHub) -> None:
    ports = hub.ports()
    assert [port.host for port in ports] == ["192.0.2.2", "fd00::2"]
    assert len({port.udp_port for port in ports}) == 1
    assert hub.ports() == ports
    assert len(threads.open) == 2


async def test_a_fixed_port_and_one_that_is_taken(threads: HandThreads) -> None:
    threads.refused = {("fd00::2", 3479)}
    hub = MediaHub(threads, udp_port=3479, addresses=lambda: ["192.0.2.2", "fd00::2"])
    assert [(port.host, port.udp_port) for port in hub.ports()] == [("192.0.2.2", 3479)]
    hub.close()
    threads = HandThreads()
    threads.refused = {("192.0.2.2", 3479)}
    hub = MediaHub(threads, udp_port=3479, addresses=lambda: ["192.0.2.2"])
    with pytest.raises(OSError, match="taken"):
        hub.ports()
    hub.close()


async def test_a_number_taken_on_the_second_address(threads: HandThreads) -> None:
    hub = MediaHub(threads, addresses=lambda: ["192.0.2.2", "fd00::2"])
    threads.refused = {("fd00::2", 40_001)}
    first, second = hub.ports()
    assert first.udp_port != second.udp_port
    hub.close()


async def test_addresses_that_come_go_and_come_back(threads: HandThreads) -> None:
    now, present = 0.0, ["192.0.2.2"]
    hub = MediaHub(threads, addresses=lambda: present, now_s=lambda: now)
    (first,) = hub.ports()
    present = ["192.0.2.3"]
    assert hub.ports() == [first], "asked again too soon"
    now = 31.0
    assert [port.host for port in hub.ports()] == ["192.0.2.3"]
    assert len(threads.open) == 2, "calls may still be on the old one"
    now, present = 62.0, ["192.0.2.2", "192.0.2.3"]
    assert hub.ports()[0] == first
    for number in range(200):
        now += 31.0
        present = [f"fd00::{number:x}"]
        assert [port.host for port in hub.ports()] == present
    assert len(threads.open) <= 65
    hub.close()


async def test_ports_of_a_calls_own(threads: HandThreads, hub: MediaHub) -> None:
    port = hub.open_port("192.0.2.2", 5004)
    assert (port.host, port.udp_port) == ("192.0.2.2", 5004)
    with pytest.raises(OSError, match="taken"):
        hub.open_port("192.0.2.2", 5004)
    hub.close_port(port)
    assert threads.open == {}
