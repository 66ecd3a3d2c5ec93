"""The private names of aiortc and aioice that ``remains`` and the seam's endings lean on."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest
from aioice import ice, stun
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.rtcdtlstransport import RTCDtlsTransport

from fakes.garbage import only_new
from fakes.virtual_loop import virtually
from transport.seam_kit import no_consent
from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport import aiortc_seam as seam
from voicecore.transport.remains import Remains, untie_receiving
from voicecore.transport.tasks import let_go


async def connection() -> tuple[RTCPeerConnection, RTCDtlsTransport]:
    """With a transceiver and a data channel, which have one transport each."""
    made = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = made.addTransceiver("audio")
    made.createDataChannel("texts")
    return made, transceiver.receiver.transport


def protocol_of(ice_connection: ice.Connection) -> ice.StunProtocol:
    protocol = ice.StunProtocol(ice_connection)
    transport: Any = Nowhere(protocol)
    protocol.connection_made(transport)
    protocol.local_candidate = ice_seam.host_candidate("192.0.2.1", 1000, 1)
    return protocol


class Nowhere:
    """A transport that loses all."""

    def __init__(self, protocol: ice.StunProtocol) -> None:
        self._protocol = protocol

    def sendto(self, data: bytes, addr: object) -> None: ...

    def close(self) -> None:
        self._protocol.connection_lost(None)


async def test_all_of_a_connection_goes_with_its_remains() -> None:
    pc, audio = await connection()
    ice_connection: Any = audio.transport._connection
    protocol = protocol_of(ice_connection)
    ice_connection._protocols.append(protocol)
    lost = protocol_of(ice_connection)
    pair = ice.CandidatePair(lost, ice_seam.host_candidate("192.0.2.2", 2000, 1))
    ice_connection._check_list.append(pair)
    assert vars(pair)["protocol"] is lost
    parts = (pc, audio, audio.transport, audio.transport.iceGatherer, ice_connection)
    left = [weakref.ref(part) for part in (*parts, pc.sctp, protocol, lost, pair)]
    remains = Remains(pc)
    await pc.close()
    assert not ice_connection._protocols, "closing forgets them"
    with only_new():
        await remains.dissolve()
        del pc, audio, parts, ice_connection, protocol, lost, pair, remains
        await asyncio.sleep(0)
        assert [ref() for ref in left if ref() is not None] == []


async def test_the_task_that_receives_is_under_its_name(dtls: RTCDtlsTransport) -> None:
    assert vars(dtls)["_task"] is None


async def test_what_ends_the_reception_comes_through_the_instance(dtls: RTCDtlsTransport) -> None:
    inside: Any = dtls

    async def lost() -> None:
        raise ConnectionError

    inside._recv_next = lost
    untie_receiving(dtls)
    with pytest.raises(ConnectionError) as caught:
        await inside._recv_next()
    names = [entry.name for entry in caught.traceback]
    assert names[-1] == "receive_next"
    assert "lost" not in names

    class NeverDone:
        def do_handshake(self) -> None:
            raise seam.SSL.WantReadError

        def bio_read(self, size: int) -> bytes:
            raise seam.SSL.WantReadError

    inside._ssl = NeverDone()
    await inside._do_handshake()
    assert dtls.state == "failed", "the handshake asks the instance"
    await inside._RTCDtlsTransport__run()
    assert dtls.state == "closed", "so does what follows it"


def test_a_check_without_an_answer_is_no_knot() -> None:
    async def main() -> None:
        asked: Any = ice.Connection(ice_controlling=True)
        protocol = ice_seam.CallProtocol(asked, lambda _: None, lambda: None, no_consent())
        transport: Any = Nowhere(protocol)
        protocol.connection_made(transport)
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        asking = asyncio.ensure_future(
            protocol.request(message, ("192.0.2.2", 2000), integrity_key=b"k", retransmissions=0)
        )
        await asyncio.sleep(0)
        left = weakref.ref(protocol.transactions[message.transaction_id])
        with only_new():
            with pytest.raises(stun.TransactionTimeout):
                await asking
            del asking
            assert left() is None

    virtually(main())


def test_checks_ask_by_the_protocols_own_request() -> None:
    async def main() -> None:
        asking: Any = ice.Connection(ice_controlling=True)
        asking.remote_username, asking.remote_password = "far", "password"
        protocol = protocol_of(asking)
        asked: list[Any] = []

        async def request(*details: Any, **options: Any) -> Any:
            asked.append((details, options))
            raise stun.TransactionTimeout

        protocol.request = request  # type: ignore[method-assign]
        pair = ice.CandidatePair(protocol, ice_seam.host_candidate("192.0.2.2", 2000, 1))
        asking._check_list.append(pair)
        asking.check_start_task(pair)
        assert pair.task is not None
        await pair.task
        assert len(asked) == 1
        assert pair.state == ice.CandidatePair.State.FAILED

    virtually(main())


async def test_connecting_that_swallows_a_cancellation_is_cancelled_again() -> None:
    pc, _ = await connection()
    inside: Any = pc
    begun = asyncio.Event()

    async def stubborn() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)

    inside._RTCPeerConnection__connect = stubborn
    tasks = seam.ConnectTasks(pc, lambda _: None)
    task = asyncio.ensure_future(inside._RTCPeerConnection__connect())
    await begun.wait()
    await tasks.cancel()
    assert task.cancelled()
    await pc.close()


async def test_a_cancelled_task_keeps_nothing_once_let_go() -> None:
    class Holder:
        task: asyncio.Task[None]

        async def run(self) -> None:
            await asyncio.sleep(3600)

    holder = Holder()
    holder.task = asyncio.ensure_future(holder.run())
    holder.task.add_done_callback(let_go)
    await asyncio.sleep(0)
    holder.task.cancel()
    await asyncio.gather(holder.task, return_exceptions=True)
    left = weakref.ref(holder)
    with only_new():
        del holder
        assert left() is None
