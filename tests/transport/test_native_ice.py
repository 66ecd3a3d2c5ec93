"""ICE over the native media threads: the same ways as over Python's sockets, without packets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiortc import RTCIceServer

from transport.kit import NotingSink, until
from transport.networks import turn_server
from transport.peer_kit import peer
from voicecore._native import plane as native
from voicecore._native.inbound import Inbound
from voicecore._native.media_session import MediaSession
from voicecore._native.outbound import Outbound
from voicecore._native.plane import MediaThreads
from voicecore.errors import MissingLibraryError
from voicecore.transport.hub import DATAGRAM, MediaHub
from voicecore.transport.media_path import RELAYED
from voicecore.transport.native_plane import NativePlane
from voicecore.transport.peer import AudioLink


@asynccontextmanager
async def native_hub(*addresses: str) -> AsyncIterator[MediaHub]:
    try:
        threads = MediaThreads()
    except MissingLibraryError as error:
        pytest.skip(str(error))
    hub = MediaHub(threads, addresses=lambda: list(addresses)) if addresses else MediaHub(threads)
    try:
        yield hub
    finally:
        hub.close()


def talking(hub: MediaHub, link: AudioLink) -> NativePlane:
    """The audio of a connected call, on the threads."""
    form = link.format
    outbound = Outbound(
        codec="opus", payload_type=form.payload_type, ssrc=link.ssrc,
        sequence=random.getrandbits(16), timestamp=random.getrandbits(32), rate_hz=24_000,
    )  # fmt: skip
    session = MediaSession(
        hub.threads, link.path.peer, inbound=Inbound(opus_pt=form.opus_pt), outbound=outbound,
        srtp_profile=link.keys.profile, receive_key=link.keys.receive,
        send_key=link.keys.transmit, vad=False,
    )  # type: ignore[arg-type]  # fmt: skip
    plane = NativePlane(session, link.path)
    plane.attach(NotingSink())
    return plane


def test_the_kinds_of_events_are_the_threads_own() -> None:
    assert DATAGRAM == native.DATAGRAM


async def test_a_relayed_call_goes_through_python_and_back() -> None:
    async with turn_server() as (port, server), native_hub("::1") as hub:
        entry = RTCIceServer(f"turn:127.0.0.1:{port}", username="user", credential="secret")
        async with (
            peer(ice_servers=(entry,), hub=hub) as (one, near),
            native_hub("127.0.0.1") as other,
            peer(hub=other) as (two, far),
        ):
            await one.answer(await two.accept(await one.offer()))
            await until(lambda: near.link and far.link)
            assert near.link is not None
            assert far.link is not None
            pair = near.link.path.pair
            assert pair is not None
            assert pair.port == RELAYED
            planes = [talking(hub, near.link), talking(other, far.link)]
            await until(lambda: all(plane.stats()["received"] >= 5 for plane in planes))
            assert server.relayed > 10
            for plane in planes:
                plane.close()


async def test_a_call_may_end_while_its_packets_are_in_flight() -> None:
    async with native_hub() as hub:
        for _ in range(3):
            async with peer() as (one, far), peer(hub=hub) as (two, near):
                await one.answer(await two.accept(await one.offer()))
                await until(lambda far=far, near=near: far.link and near.link)
                assert near.link is not None
                plane = talking(hub, near.link)
                await until(lambda plane=plane: plane.stats()["sent"] > 3)
                await asyncio.gather(one.close(), two.close())
                plane.close()
        assert hub.peers == 0
