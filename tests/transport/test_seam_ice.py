"""Private names of aioice that ``aioice_seam`` leans on, one test each; and what strangers send."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aioice import ice, stun, turn
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aiortc import rtcicetransport

from fakes.virtual_loop import virtually
from transport.networks import turn_server
from transport.seam_kit import hostile_stun, ice_of, rig_protocol
from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport import aiortc_seam as seam
from voicecore.transport.ice_servers import TurnServer


async def test_ice_transports_are_under_a_mangled_name(connection) -> None:
    connection.addTransceiver("audio")
    transports = vars(connection)["_RTCPeerConnection__iceTransports"]
    assert [t._connection for t in transports] == [ice_of(connection)]


async def test_ice_connection_has_protocols_and_nominated_pairs(connection) -> None:
    connection.addTransceiver("audio")
    assert ice_of(connection)._protocols == []
    assert ice_of(connection)._nominated == {}
    assert isinstance(ice_of(connection), ice.Connection)


async def test_gathering_goes_through_a_method_that_an_instance_can_take_over(connection) -> None:
    assert "self._connection.gather_candidates()" in inspect.getsource(rtcicetransport)
    connection.addTransceiver("audio")
    asked: list[bool] = []

    async def gather() -> list[Candidate]:
        asked.append(True)
        return [ice_seam.host_candidate("192.0.2.2", 3479, 9)]

    told: list[bool] = []
    inside = ice_of(connection)
    ice_seam.prepare_ice(inside, ufrag="abcdefgh", gather=gather, on_pair=lambda: told.append(True))
    await connection.setLocalDescription(await connection.createOffer())
    await inside.gather_candidates()
    assert asked == [True]
    assert "192.0.2.2 3479 typ host" in connection.localDescription.sdp
    assert "a=ice-ufrag:abcdefgh" in connection.localDescription.sdp
    assert inside.local_username == "abcdefgh"
    assert told == []


def test_what_gathering_marks() -> None:
    fresh = ice.Connection(ice_controlling=True)
    assert fresh._local_candidates_start is fresh._local_candidates_end is False
    assert fresh._local_candidates == []
    source = inspect.getsource(ice.Connection.gather_candidates)
    for name in ("_local_candidates_start", "_local_candidates_end", "_local_candidates "):
        assert f"self.{name}" in source
    assert "self._local_candidates_end" in inspect.getsource(ice.Connection.connect)


def test_nominated_pairs_are_set_and_cleared_in_two_ways_alone() -> None:
    """``_Nominated`` tells of ``[component] = pair`` and of ``clear()``."""
    source = inspect.getsource(ice)
    allowed = {"values", "get", "clear"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            assert node.value.attr != "_nominated" or node.attr in allowed
        if isinstance(node, ast.Delete):
            assert "_nominated" not in ast.unparse(node)
    assert source.count("self._nominated = ") == 0
    assert source.count("self._nominated: dict[int, CandidatePair] = {}") == 1


async def test_each_change_of_the_nominated_pair_is_told_once() -> None:
    inside = ice.Connection(ice_controlling=True)
    told: list[Any] = []

    async def nothing() -> list[Candidate]:
        return []

    ice_seam.prepare_ice(
        inside,
        ufrag="abcdefgh",
        gather=nothing,
        on_pair=lambda: told.append(ice_seam.nominated_pair(inside)),
    )
    one, two = object(), object()
    for pair in (one, one, two):
        inside._nominated[1] = pair
    await inside.close()
    inside._nominated.clear()
    assert told == [one, two, None]


async def nothing_gathered() -> list[Candidate]:
    return []


class Sent:
    """A transport that keeps what is sent."""

    def __init__(self) -> None:
        self.datagrams: list[tuple[bytes, tuple[str, int]]] = []

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        self.datagrams.append((data, address))


async def test_consent_is_kept_in_a_method_that_an_instance_can_take_over() -> None:
    source = inspect.getsource(ice.Connection)
    assert "create_task(self.query_consent())" in source
    inside: Any = ice.Connection(ice_controlling=True)
    assert inside._query_consent_task is None
    ice_seam.prepare_ice(inside, ufrag="abcdefgh", gather=nothing_gathered, on_pair=lambda: None)
    inside.remote_username, inside.remote_password = "far", "f" * 22
    pair = SimpleNamespace(protocol=SimpleNamespace(transport=Sent()), remote_addr=("192.0.2.9", 9))
    inside._nominated[1] = pair
    loop = asyncio.get_running_loop()
    inside._query_consent_task = loop.create_task(inside.query_consent())
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(inside._query_consent_task), 0.01)
    await inside.close()
    assert inside._query_consent_task.cancelled()


def test_what_a_check_says_of_us() -> None:
    """Our own checks carry what aioice's carry."""

    async def main() -> None:
        inside: Any = ice.Connection(ice_controlling=True)
        ice_seam.prepare_ice(
            inside, ufrag="abcdefgh", gather=nothing_gathered, on_pair=lambda: None
        )
        inside.remote_username, inside.remote_password = "far", "f" * 22
        sent = Sent()
        protocol = SimpleNamespace(
            transport=sent, local_candidate=ice_seam.host_candidate("192.0.2.2", 9, 1)
        )
        remote = ice_seam.host_candidate("192.0.2.9", 9, 1)
        remote._network_host = remote.host
        inside._nominated[1] = pair = ice.CandidatePair(protocol, remote)
        keeping = asyncio.ensure_future(inside.query_consent())
        await asyncio.sleep(7)
        keeping.cancel()
        ((data, address),) = sent.datagrams
        assert address == ("192.0.2.9", 9)
        ours = stun.parse_message(data)
        assert ours.check_message_integrity(b"f" * 22)
        theirs = inside.build_request(pair, nominate=False).attributes
        assert {name: ours.attributes[name] for name in theirs} == theirs
        await inside.close()

    virtually(main())


def test_a_local_name_can_be_given_afterwards() -> None:
    inside = ice.Connection(ice_controlling=True)
    inside._local_username = "abcdefgh"
    assert inside.local_username == "abcdefgh"
    ice.validate_username("abcdefgh")


async def test_a_protocol_over_the_hub_sends_closes_and_is_one_of_the_connections() -> None:
    inside = ice.Connection(ice_controlling=True)
    protocol, _, _ = rig_protocol(inside)
    assert inside._protocols == [protocol]
    assert protocol.local_candidate.host == "192.0.2.2"
    await protocol.send_data(b"data", ("192.0.2.9", 9))
    assert protocol.hub.threads.sent[0][2:] == (b"data", "192.0.2.9", 9)
    assert protocol.transport.get_extra_info("sockname") == (
        "192.0.2.2",
        protocol.transport.port.udp_port,
    )
    await protocol.close()
    assert protocol.transport.is_closing()
    await protocol.send_data(b"late", ("192.0.2.9", 9))
    assert len(protocol.hub.threads.sent) == 1
    assert protocol.hub.threads.open, "closing a call's way leaves the port"
    protocol.hub.close()


async def test_datagrams_wait_in_a_queue_that_tells_its_size() -> None:
    inside = ice.Connection(ice_controlling=True)
    inside.data_received(b"x", 1)
    assert inside._queue.qsize() == 1


async def test_a_cancelled_check_is_forgotten_once_there_is_a_pair() -> None:
    """aioice cancels what runs when ICE is complete, and keeps it as in progress."""
    assert "check.task.cancel()" in inspect.getsource(ice.Connection.connect)
    inside: Any = ice.Connection(ice_controlling=False)
    protocol, _, _ = rig_protocol(inside)
    pair = ice.CandidatePair(protocol, ice_seam.host_candidate("192.0.2.9", 9, 1))
    pair.task = asyncio.ensure_future(asyncio.sleep(60))
    pair.state = ice.CandidatePair.State.IN_PROGRESS
    inside._check_list.append(pair)
    inside._nominated[1] = pair
    protocol.datagram_received(b"\x00", ("192.0.2.9", 9))
    assert pair.state == ice.CandidatePair.State.IN_PROGRESS, "it runs"
    pair.task.cancel()
    await asyncio.wait([pair.task])
    protocol.datagram_received(b"\x00", ("192.0.2.9", 9))
    assert (pair.task, pair.state) == (None, ice.CandidatePair.State.FAILED)
    protocol.hub.close()


def test_candidate_pair_names_protocol_remote_address_and_candidates() -> None:
    for name in ("remote_addr", "local_candidate"):
        assert isinstance(getattr(ice.CandidatePair, name), property)
    assert list(inspect.signature(ice.CandidatePair).parameters) == [
        "protocol",
        "remote_candidate",
    ]


def test_candidate_arithmetic() -> None:
    assert candidate_priority(1, "host") == (126 << 24) + (65535 << 8) + 255
    assert candidate_priority(1, "host", 3) == (126 << 24) + (3 << 8) + 255
    assert candidate_priority(1, "srflx", 3) == (100 << 24) + (3 << 8) + 255
    assert candidate_foundation("host", "udp", "10.0.0.1") != candidate_foundation(
        "srflx", "udp", "10.0.0.1"
    )
    host = ice_seam.host_candidate("10.0.0.1", 9, 3)
    assert (host.host, host.port, host.type, host.component) == ("10.0.0.1", 9, "host", 1)
    mapped = ice_seam.reflexive_candidate(("192.0.2.1", 7), ("10.0.0.1", 9), 3)
    assert (mapped.host, mapped.port, mapped.type) == ("192.0.2.1", 7, "srflx")
    assert (mapped.related_address, mapped.related_port) == ("10.0.0.1", 9)


def test_relayed_candidates_are_asked_for_as_we_do() -> None:
    relayed = inspect.signature(ice.relayed_candidate)
    assert set(relayed.parameters) == {
        "component", "hide_related_address", "protocol_factory", "turn_server",
        "turn_username", "turn_password", "turn_ssl", "turn_transport",
    }  # fmt: skip
    assert inspect.iscoroutinefunction(ice.relayed_candidate)
    source = inspect.getsource(ice.relayed_candidate)
    assert "ssl=turn_ssl" in source, "a context is handed on"
    assert "if hide_related_address:" in source


def test_a_tls_context_reaches_asyncio_with_the_name_to_check() -> None:
    source = inspect.getsource(turn.create_turn_endpoint)
    assert "host=server_addr[0]" in source
    assert "ssl=ssl" in source
    assert "ssl.SSLContext" in str(inspect.signature(turn.create_turn_endpoint).parameters["ssl"])


def test_a_refusal_has_its_code_and_silence_is_an_error_of_its_own() -> None:
    message = stun.Message(message_method=stun.Method.ALLOCATE, message_class=stun.Class.ERROR)
    message.attributes["ERROR-CODE"] = (486, "Allocation Quota Reached")
    refused = stun.TransactionFailed(message)
    assert ice_seam.error_code(refused) == 486
    assert not ice_seam.is_timeout(refused)
    assert ice_seam.error_code(OSError()) is None
    assert ice_seam.is_timeout(stun.TransactionTimeout())
    assert ice_seam.error_code(stun.TransactionTimeout()) is None


def test_a_relay_is_given_back_by_closing_its_transport_twice_if_need_be() -> None:
    source = inspect.getsource(turn.TurnTransport.close)
    assert "if self.__close_task is not None" in source


async def test_a_relay_is_given_back_within_reach_and_tells_its_protocol() -> None:
    async with turn_server() as (port, server):
        ours = TurnServer("127.0.0.1", port, "udp", False, "user", "secret")
        _, protocol = await ice_seam.allocate_relay(ours, ice_seam.StunQueries)
        relay = vars(protocol.transport)
        assert relay["_TurnTransport__inner_protocol"].transport.is_closing() is False
        await ice_seam.let_relay_go(protocol, wait_s=60)
        assert server.lifetimes == [600, 0]
        assert relay["_TurnTransport__inner_protocol"].transport.is_closing()
        await ice_seam.let_relay_go(protocol, wait_s=60)
        assert relay["_TurnTransport__close_task"] is None, "nothing goes on of its own"
        async with asyncio.timeout(60):
            await protocol.close()  # which waits for the word that it is closed
    source = inspect.getsource(turn.TurnClientMixin.delete)
    assert "finally:" in source, "also if it is cancelled"


def test_checks_over_a_relay_wait_behind_others() -> None:
    assert "await pair.protocol.request(" in inspect.getsource(ice.Connection.check_start)

    async def main() -> None:
        protocol, _, _ = rig_protocol(ice.Connection(ice_controlling=True))
        protocol.behind_s = 0.2
        began_s = asyncio.get_running_loop().time()
        ask = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
        asking = asyncio.ensure_future(protocol.request(ask, ("192.0.2.9", 9)))
        await asyncio.sleep(0.1)
        assert protocol.hub.threads.sent == []
        with pytest.raises(stun.TransactionTimeout):
            await asking
        waited_s = asyncio.get_running_loop().time() - began_s
        assert round(waited_s, 3) == 0.2 + 0.5 * (2**7 - 1), "seven requests, then it gives up"
        assert len(protocol.hub.threads.sent) == 7
        protocol.hub.close()

    virtually(main())


async def test_a_protocol_asks_and_knows_its_questions() -> None:
    queries = ice_seam.StunQueries()
    assert queries.transactions == {}
    assert list(inspect.signature(queries.request).parameters)[:2] == ["request", "addr"]
    for data in (b"", b"\x00\x01", *hostile_stun()[:50]):
        queries.datagram_received(data, ("127.0.0.1", 9))


# -- what strangers send ---------------------------------------------------------------


async def test_no_datagram_of_a_stranger_raises_or_reaches_dtls() -> None:
    inside: Any = ice.Connection(ice_controlling=True)
    queued: list[bytes] = []
    inside.data_received = lambda data, component: queued.append(data)
    protocol, media, dropped = rig_protocol(inside)
    for data in [b"", *hostile_stun()]:
        protocol.datagram_received(data, ("127.0.0.1", 9))
    assert queued == media == []
    assert len(dropped) > 300
    assert protocol.hub.threads.sent == [], "strangers get no answer"
    protocol.hub.close()


async def test_ice_of_a_half_negotiated_connection_can_be_stopped(connection) -> None:
    connection.addTransceiver("audio")
    inside = ice_of(connection)

    async def nothing() -> list[Candidate]:
        return []

    ice_seam.prepare_ice(inside, ufrag="abcdefgh", gather=nothing, on_pair=lambda: None)
    protocol, _, _ = rig_protocol(inside)
    await connection.setLocalDescription(await connection.createOffer())
    await seam.stop_ice(connection)
    assert protocol.transport.is_closing()
    protocol.hub.close()
