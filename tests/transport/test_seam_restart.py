"""Private names of aioice and aiortc that ICE restarts lean on, one test each."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aioice import ice
from aioice.candidate import Candidate
from aiortc import rtcdtlstransport, rtcicetransport

from fakes.virtual_loop import virtually
from transport.networks import binding_request
from transport.seam_kit import ice_of, no_consent, rig_protocol
from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport import aiortc_seam as seam
from voicecore.transport.aioice_seam import FarIce
from voicecore.transport.remains import IceRemains

FAR = ("192.0.2.9", 9)


async def nothing_gathered() -> list[Candidate]:
    return []


def prepared(connection: ice.Connection) -> Any:
    ice_seam.prepare_ice(
        connection, ufrag="abcdefgh", gather=nothing_gathered, on_pair=lambda: None
    )
    return connection


def test_aiortc_reads_and_sends_by_the_connection_it_was_made_with() -> None:
    """So that one stays, and is given the pair of each that follows it."""
    source = inspect.getsource(rtcicetransport.RTCIceTransport)
    assert "self._recv = self._connection.recv" in source
    assert "self._send = self._connection.send" in source
    sending = inspect.getsource(ice.Connection.sendto)
    assert "self._nominated.get(component)" in sending
    assert "active_pair.protocol.send_data(data, active_pair.remote_addr)" in sending
    assert "self._queue.get()" in inspect.getsource(ice.Connection.recvfrom)


async def test_a_pair_handed_on_is_the_one_that_is_sent_by() -> None:
    first: Any = prepared(ice.Connection(ice_controlling=True))
    protocol, _, _ = rig_protocol(ice.Connection(ice_controlling=True))
    remote = ice_seam.host_candidate(*FAR, 1)
    remote._network_host = remote.host
    ice_seam.hand_on(first, ice.CandidatePair(protocol, remote))
    await first.send(b"data")
    assert protocol.hub.threads.sent[0][2:] == (b"data", *FAR)
    await first.close()
    protocol.hub.close()


async def test_what_is_dtlss_goes_to_the_first_connection() -> None:
    first: Any = ice.Connection(ice_controlling=True)
    second: Any = ice.Connection(ice_controlling=True)
    made = ice_seam.CallProtocol(second, lambda data: None, lambda: None, no_consent(), first)
    made.local_candidate = ice_seam.host_candidate("192.0.2.2", 3479, 9)
    made.datagram_received(b"\x16 hello", FAR)
    assert (first._queue.qsize(), second._queue.qsize()) == (1, 0)


@pytest.mark.parametrize("controlling", [True, False])
def test_a_second_connection_keeps_the_role_and_knows_the_far_end(controlling: bool) -> None:
    first = ice.Connection(ice_controlling=controlling)
    second = ice_seam.second_connection(first, FarIce("their", "p" * 22))
    assert second.ice_controlling is controlling
    assert second.remote_is_lite is False
    assert (second.remote_username, second.remote_password) == ("their", "p" * 22)
    assert second.local_password != first.local_password
    assert second._tie_breaker != first._tie_breaker
    lite = ice_seam.second_connection(first, FarIce("their", "p" * 22, lite=True))
    assert (lite.ice_controlling, lite.remote_is_lite) == (True, True)


async def test_a_retired_connection_does_nothing_of_its_own_and_is_not_closed() -> None:
    first: Any = prepared(ice.Connection(ice_controlling=True))
    old, _, _ = rig_protocol(first)
    new, _, _ = rig_protocol(ice.Connection(ice_controlling=True))
    remote = ice_seam.host_candidate(*FAR, 1)
    remote._network_host = remote.host
    pair = ice.CandidatePair(old, remote)
    pair.task = checking = asyncio.ensure_future(asyncio.sleep(60))
    first._check_list.append(pair)
    first._query_consent_task = keeping = asyncio.ensure_future(asyncio.sleep(60))
    ice_seam.hand_on(first, ice.CandidatePair(new, remote))
    reading = asyncio.ensure_future(first.recv())
    remains = IceRemains(first)
    await ice_seam.retire(first)
    remains.dissolve(also_connection=False)
    assert checking.cancelled()
    assert keeping.cancelled()
    assert vars(old) == vars(pair) == {}
    assert (first._protocols, first._check_list, first.remote_candidates) == ([], [], [])
    assert not first._closed
    first.data_received(b"still read", 1)
    assert await reading == b"still read"
    await first.send(b"still sent")
    assert new.hub.threads.sent[-1][2:] == (b"still sent", *FAR)
    await first.close()
    new.hub.close()


def test_a_check_from_the_far_end_comes_by_a_method_that_an_instance_can_take_over() -> None:
    source = inspect.getsource(ice.Connection)
    assert "self.check_incoming(message, addr, protocol)" in source
    assert "self.check_incoming(*early_check)" in source
    parameters = list(inspect.signature(ice.Connection.check_incoming).parameters)
    assert parameters == ["self", "message", "addr", "protocol"]
    states = ice.CandidatePair.State
    assert {"FAILED", "IN_PROGRESS", "WAITING"} <= {state.name for state in states}


def test_a_check_that_waits_for_long_is_made_anew_when_the_far_ends_comes() -> None:
    async def main() -> None:
        inside: Any = prepared(ice.Connection(ice_controlling=True, local_password="l" * 22))
        inside.remote_username, inside.remote_password = "far", "f" * 22
        protocol, _, _ = rig_protocol(inside)
        inside._early_checks_done = True
        remote = ice_seam.host_candidate(*FAR, 1)
        await inside.add_remote_candidate(remote)
        (pair,) = inside._check_list
        inside.check_start_task(pair)
        await asyncio.sleep(0)
        first = pair.task
        sent = protocol.hub.threads.sent
        inside.check_incoming(SimpleNamespace(attributes={}), FAR, protocol)
        assert pair.task is first, "it has just begun"
        await asyncio.sleep(2.1)
        before = len(sent)
        inside.check_incoming(SimpleNamespace(attributes={}), FAR, protocol)
        await asyncio.sleep(0.01)
        assert pair.task is not first
        assert first.cancelled()
        assert len(sent) == before + 1
        assert sent[-1][2][8:20] != sent[0][2][8:20], "a transaction of its own"
        await inside.close()
        protocol.hub.close()

    virtually(main())


async def test_a_stun_message_is_known_by_its_receivers_name_or_its_transaction() -> None:
    inside: Any = prepared(ice.Connection(ice_controlling=True))
    protocol, _, _ = rig_protocol(inside)
    assert protocol.expects(binding_request("abcdefgh", "l" * 22))
    assert not protocol.expects(binding_request("another", "l" * 22))
    answer = b"\x01\x01\x00\x00\x21\x12\xa4\x42" + b"t" * 12
    assert not protocol.expects(answer)
    protocol.transactions[b"t" * 12] = object()
    assert protocol.expects(answer)
    for short in (b"\x00", b"\x00\x01" + bytes(18), answer[:3]):
        assert not protocol.expects(short)
    protocol.hub.close()


async def test_dtls_knows_its_role(connection: Any) -> None:
    assert "self._role = role" in inspect.getsource(rtcdtlstransport.RTCDtlsTransport._set_role)
    dtls = connection.addTransceiver("audio").receiver.transport
    seam.be_dtls_server(dtls)
    assert not seam.is_dtls_client(dtls)
    dtls._set_role("client")
    assert seam.is_dtls_client(dtls)
    assert ice_of(connection) is dtls.transport._connection
