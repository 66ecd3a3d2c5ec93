"""A call's way: its candidates, the pair in use and its changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aioice import ice, stun
from aiortc import RTCIceServer

from fakes.media_threads import HandThreads
from transport.kit import loud, media_hub, over, tone, until
from transport.networks import binding_request, turn_server
from transport.path_kit import PASSWORD, Rig, offered, rig
from transport.peer_kit import Notes
from voicecore.transport.hub import MediaHub
from voicecore.transport.ice_way import PathConfig
from voicecore.transport.media_path import RELAYED, MediaPath, SelectedPair
from voicecore.transport.peer import Peer
from voicecore.transport.peer_config import PeerConfig

FAR, FARTHER = ("192.0.2.77", 5000), ("192.0.2.78", 6000)
# -- candidates -----------------------------------------------------------------------


async def test_host_candidates_of_both_versions_at_the_one_port() -> None:
    async with rig("192.0.2.2", "fd00::2") as made:
        assert await offered(made) == [
            ("host", "192.0.2.2", 3479, None),
            ("host", "fd00::2", 3479, None),
        ]
        assert len(made.threads.open) == 2
        await made.connection.gather_candidates()
        assert len(made.connection.local_candidates) == 2


async def test_a_call_opens_no_socket() -> None:
    hub = MediaHub(HandThreads(), addresses=lambda: ["192.0.2.2"])
    hub.ports()
    threads: Any = hub.threads
    for _ in range(5):
        connection = ice.Connection(ice_controlling=False)
        path = MediaPath(hub, connection, PathConfig())
        await connection.gather_candidates()
        assert len(threads.open) == 1
        await connection.close()
        path.close()
    assert len(threads.open) == 1
    hub.close()


@pytest.mark.parametrize(
    ("hide", "expected"),
    [
        (False, ["203.0.113.7", "2001:db8::7", "10.0.0.2", "10.0.0.3", "fd00::2"]),
        (True, ["203.0.113.7", "2001:db8::7", "10.0.0.3"]),
    ],
)
async def test_public_addresses_stand_before_private_ones(hide: bool, expected: list[str]) -> None:
    hosts = ("10.0.0.2", "10.0.0.3", "fd00::2")
    public = ("203.0.113.7", "2001:db8::7")
    async with rig(*hosts, public=public, hide_private=hide) as made:
        found = await offered(made)
    assert [host for _, host, _, _ in found] == expected
    assert {(kind, port) for kind, _, port, _ in found} == {("host", 3479)}


async def test_a_public_address_that_is_our_own_is_named_once() -> None:
    async with rig("203.0.113.7", public=("203.0.113.7",), hide_private=True) as made:
        assert await offered(made) == [("host", "203.0.113.7", 3479, None)]


async def test_names_are_long_and_differ() -> None:
    async with rig() as one, rig() as two:
        names = {one.connection.local_username, two.connection.local_username}
        assert len(names) == 2
        assert all(8 <= len(name) <= 22 for name in names)
        assert set(one.threads.peers.values()) == {one.connection.local_username}


async def test_a_shared_port_that_is_anothers_gives_no_candidate(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with rig("10.0.0.2") as made:
        made.threads.refused = {("10.0.0.2", 3479)}
        assert await offered(made) == []
    assert "no port for a call: taken" in caplog.text


async def test_a_sinks_fault_does_not_stop_ice(caplog: pytest.LogCaptureFixture) -> None:
    async with rig() as made:
        await made.connect()
        (port,) = made.threads.open

        def broken(pair: SelectedPair | None) -> None:
            raise RuntimeError("gone")

        made.sink.on_pair = broken  # type: ignore[method-assign]
        await made.nominate(port, FAR)
        assert made.path.pair is not None
        assert made.path.dropped == 0
    assert "telling the pair" in caplog.text


async def test_ports_of_the_calls_own_are_given_back() -> None:
    ports = iter([5000, 5001, 5002, 5003])
    made = Rig(["10.0.0.2", "10.0.0.3"], ports=lambda: next(ports), tries=3)
    made.threads.refused = {("10.0.0.2", 5000)}
    assert [(host, port) for _, host, port, _ in await offered(made)] == [
        ("10.0.0.2", 5001),
        ("10.0.0.3", 5002),
    ]
    threads = made.threads
    await made.close()
    assert threads.open == {}


async def test_a_relayed_call_carries_audio_both_ways() -> None:
    async with turn_server() as (port, server):
        entry = RTCIceServer(f"turn:127.0.0.1:{port}", username="user", credential="secret")
        # One speaks IPv6 alone, the other IPv4: only the relay, on IPv4, joins them.
        hubs = [media_hub(host) for host in ("::1", "127.0.0.1")]
        near, far = Notes(), Notes()
        one = Peer(PeerConfig(hubs[0], (entry,)), near)
        two = Peer(PeerConfig(hubs[1]), far)
        try:
            await one.answer(await two.accept(await one.offer()))
            await until(lambda: near.link and far.link)
            assert near.link is not None
            assert far.link is not None
            pair = near.link.path.pair
            assert pair is not None
            assert (pair.port, pair.local_type) == (RELAYED, "relay")
            before = server.relayed
            with over(near.link, hubs[0]) as here, over(far.link, hubs[1]) as there:
                for mouth, ear in ((here, there), (there, here)):
                    mouth.play(tone(0.3), mouth.generation)
                    await until(lambda ear=ear: loud(ear))
            assert server.relayed > before
        finally:
            await one.close()
            await two.close()
            for hub in hubs:
                hub.close()


async def test_a_direct_way_is_used_though_there_is_a_relay() -> None:
    async with turn_server() as (port, _):
        entry = RTCIceServer(f"turn:127.0.0.1:{port}", username="user", credential="secret")
        hubs = [media_hub("127.0.0.1") for _ in range(2)]
        near, far = Notes(), Notes()
        one, two = (
            Peer(PeerConfig(hub, (entry,)), notes)
            for hub, notes in zip(hubs, (near, far), strict=True)
        )
        try:
            offer = await one.offer()
            assert "typ relay" in offer
            await one.answer(await two.accept(offer))
            await until(lambda: near.link and far.link)
            assert near.link is not None
            assert near.link.selected_types() == ("host", "host")
        finally:
            await one.close()
            await two.close()
            for hub in hubs:
                hub.close()


# -- the pair in use --------------------------------------------------------------------


async def test_the_pair_is_told_when_it_is_there_when_it_moves_and_when_it_is_gone() -> None:
    async with rig() as made:
        await made.connect()
        (port,) = made.threads.open
        assert made.sink.pairs == [None]
        assert not made.path.send(b"x")
        await made.nominate(port, FAR)
        assert made.sink.pairs[1:] == [SelectedPair(port, *FAR, "host", "prflx")]
        assert made.path.send(b"media")
        assert made.threads.sent[-1] == (made.path.peer, port, b"media", *FAR)
        await made.nominate(port, FAR)
        assert len(made.sink.pairs) == 2, "the same pair again is no change"
        await made.nominate(port, FARTHER)
        assert made.sink.pairs[2:] == [SelectedPair(port, *FARTHER, "host", "prflx")]
        assert made.path.pair == made.sink.pairs[-1]
        await made.connection.close()
        assert made.sink.pairs[3:] == [None]
        assert not made.path.send(b"x")


async def test_a_check_cancelled_by_the_first_pair_can_still_become_the_pair() -> None:
    async with rig() as made:
        await made.connect()
        (port,) = made.threads.open
        name = made.connection.local_username
        # Checked, not yet answered: aioice cancels it when the other pair is nominated.
        await made.arrive(port, binding_request(name, PASSWORD), FARTHER)
        await made.nominate(port, FAR)
        assert made.connecting is not None
        await asyncio.wait_for(made.connecting, 60)
        for _ in range(5):
            await asyncio.sleep(0)
        made.threads.sent.clear()
        await made.nominate(port, FARTHER)
        assert made.sink.pairs[-1] == SelectedPair(port, *FARTHER, "host", "prflx")


async def test_what_arrives_goes_where_it_belongs() -> None:
    async with rig() as made:
        await made.connect()
        (port,) = made.threads.open
        queued: list[bytes] = []
        made.connection.data_received = lambda data, component: queued.append(data)
        made.path.on_media(3, 1, 2)
        await made.arrive(port, b"\x80relayed", FAR)
        await made.arrive(port, b"\x16dtls", FAR)
        await made.arrive(999, b"\x16closed port", FAR)
        for junk in (b"", b"\x04", b"\x40turn", b"\xff", b"\x00\x01"):
            await made.arrive(port, junk, FAR)
        assert made.sink.packets == [b"\x80relayed"]
        assert made.sink.media == [(3, 1, 2)]
        assert queued == [b"\x16dtls"]
        assert made.path.dropped == 5


async def test_strangers_get_no_answer_and_odd_callers_raise_nothing() -> None:
    async with rig() as made:
        await made.connect()
        (port,) = made.threads.open
        name = made.connection.local_username
        await made.arrive(port, binding_request(name, "not the password"), FAR)
        await made.arrive(port, binding_request("another", PASSWORD), FAR)
        assert made.threads.sent == []
        assert made.path.dropped == 2
        bare = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        bare.attributes["USERNAME"] = f"{name}:far"
        bare.add_message_integrity(PASSWORD.encode())
        await made.arrive(port, bytes(bare), FAR)
        assert made.path.dropped == 3, "no PRIORITY"


async def test_the_queue_to_dtls_is_bounded() -> None:
    async with rig() as made:
        await made.connect()
        (port,) = made.threads.open
        for _ in range(5000):
            made.path.on_datagram(port, b"\x16" + bytes(50), FAR)
        assert made.path.dropped == 5000 - 256
