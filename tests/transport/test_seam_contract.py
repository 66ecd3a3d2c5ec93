"""Every private name of aiortc and aioice that ``aiortc_seam`` leans on, one test each."""

from __future__ import annotations

import ast
import asyncio
import inspect
import random
import socket
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from aioice import ice, stun
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    rtcdtlstransport,
    rtcicetransport,
    rtcpeerconnection,
    rtcrtptransceiver,
    rtcsctptransport,
)
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters, RTCRtpSendParameters
from aiortc.utils import random32

from voicecore.transport import aiortc_seam as seam


@pytest.fixture
async def connection():
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    yield pc
    await pc.close()


def ice_of(pc: RTCPeerConnection) -> Any:
    return pc.getTransceivers()[0].receiver.transport.transport._connection


def attributes_of(module: Any, *owners: str) -> set[str]:
    """Attributes that ``module`` asks of expressions ending in one of ``owners``."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Attribute)
            and node.value.attr in owners
        ):
            found.add(node.attr)
    return found


@pytest.mark.parametrize(("package", "version"), [("aiortc", "1.16.0"), ("aioice", "0.13.0")])
def test_the_tapped_packages_are_the_pinned_ones(package: str, version: str) -> None:
    assert metadata.version(package) == version
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert f"{package}=={version}" in project["project"]["optional-dependencies"]["service"]


# -- what is exchanged: receiver and sender -------------------------------------------


async def test_transceiver_keeps_receiver_and_sender_under_mangled_names(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    inside = vars(transceiver)
    assert inside["_RTCRtpTransceiver__receiver"] is transceiver.receiver
    assert inside["_RTCRtpTransceiver__sender"] is transceiver.sender


async def test_exchanged_receiver_and_sender_are_what_the_properties_give(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    before = transceiver.sender._stream_id
    sender = seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    assert transceiver.sender is sender
    assert isinstance(transceiver.receiver, seam.NativeReceiver)
    assert transceiver.sender._stream_id == before


@pytest.mark.parametrize("module", [rtcpeerconnection, rtcrtptransceiver])
async def test_our_receiver_has_all_that_aiortc_asks_of_it(connection, module) -> None:
    transceiver = connection.addTransceiver("audio")
    seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    asked = attributes_of(module, "receiver", "__receiver")
    assert asked, "aiortc's source no longer names its receivers so"
    assert not [name for name in asked if not hasattr(transceiver.receiver, name)]


@pytest.mark.parametrize("module", [rtcpeerconnection, rtcrtptransceiver])
async def test_our_sender_has_all_that_aiortc_asks_of_it(connection, module) -> None:
    transceiver = connection.addTransceiver("audio")
    seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    asked = attributes_of(module, "sender", "__sender")
    assert asked, "aiortc's source no longer names its senders so"
    assert not [name for name in asked if not hasattr(transceiver.sender, name)]


async def test_receiver_and_sender_calls_have_the_signatures_aiortc_uses(connection) -> None:
    theirs = connection.addTransceiver("audio")
    for ours, other in (
        (seam.NativeReceiver, theirs.receiver),
        (seam.NativeSender, theirs.sender),
    ):
        for name in ("setTransport", "stop", "getStats", "receive", "send", "replaceTrack"):
            if not hasattr(ours, name):
                continue
            mine = getattr(ours, name)
            real = getattr(type(other), name)
            assert len(inspect.signature(mine).parameters) == len(
                inspect.signature(real).parameters
            ), name
            assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(real), name


async def test_negotiated_parameters_carry_codecs_with_name_and_payload_type() -> None:
    for kind in (RTCRtpReceiveParameters, RTCRtpSendParameters):
        assert kind().codecs == []


async def test_our_receiver_and_sender_pass_on_what_was_negotiated(connection) -> None:
    got: list[Any] = []
    transceiver = connection.addTransceiver("audio")
    seam.take_over_audio(transceiver, got.append, got.append)
    sent, received = RTCRtpSendParameters(), RTCRtpReceiveParameters()
    await transceiver.sender.send(sent)
    await transceiver.receiver.receive(received)
    assert got == [sent, received]


async def test_stats_of_our_halves_are_reports(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    assert len(await connection.getStats()) == 0


async def test_sender_ssrc_appears_in_the_offer(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    sender = seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    offer = await connection.createOffer()
    assert f"a=ssrc:{sender._ssrc} cname:" in offer.sdp


async def test_send_is_awaited_before_receive() -> None:
    """Peer waits one loop turn after ``send`` to know both."""
    source = inspect.getsource(rtcpeerconnection.RTCPeerConnection._RTCPeerConnection__connect)
    assert 0 < source.index(".sender.send(") < source.index(".receiver.receive(")


def test_random32_is_a_32_bit_number() -> None:
    assert all(0 <= random32() < 1 << 32 for _ in range(50))


# -- what is tapped: transports, keys, sockets -------------------------------------------


async def test_ice_transports_are_under_a_mangled_name(connection) -> None:
    connection.addTransceiver("audio")
    transports = vars(connection)["_RTCPeerConnection__iceTransports"]
    assert [t._connection for t in transports] == [ice_of(connection)]


async def test_ice_connection_has_protocols_and_nominated_pairs(connection) -> None:
    connection.addTransceiver("audio")
    assert ice_of(connection)._protocols == []
    assert ice_of(connection)._nominated == {}
    assert isinstance(ice_of(connection), ice.Connection)


async def test_ice_connection_knows_its_servers(connection) -> None:
    connection.addTransceiver("audio")
    names = ("stun_server", "turn_server", "turn_username", "turn_password")
    for name in (*names, "turn_ssl", "turn_transport"):
        assert hasattr(ice_of(connection), name), name


async def test_an_empty_list_of_ice_servers_asks_nobody(connection) -> None:
    connection.addTransceiver("audio")
    assert ice_of(connection).stun_server is None
    assert ice_of(connection).turn_server is None


async def test_gathering_goes_through_get_component_candidates(connection) -> None:
    theirs = inspect.signature(ice.Connection.get_component_candidates).parameters
    assert list(theirs)[:3] == ["self", "component", "addresses"]
    calls: list[dict[str, Any]] = []

    async def gather(**arguments: Any) -> list[Candidate]:
        calls.append(arguments)
        return []

    connection.addTransceiver("audio")
    ice_of(connection).get_component_candidates = gather
    await connection.setLocalDescription(await connection.createOffer())
    assert [sorted(call) for call in calls] == [["addresses", "component"]]


async def test_bound_ports_come_from_the_range(connection) -> None:
    connection.addTransceiver("audio")
    ports: list[int] = []

    def next_port() -> int:
        with_free = ice_free_port()
        ports.append(with_free)
        return with_free

    seam.bind_to(connection, port_min=1, port_max=20, next_port=next_port)
    await connection.setLocalDescription(await connection.createOffer())
    candidates = ice_of(connection).local_candidates
    assert candidates
    assert {c.port for c in candidates} <= set(ports)
    assert {p.local_candidate.port for p in ice_of(connection)._protocols} <= set(ports)


def ice_free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_stun_protocol_has_transport_and_takes_datagrams_by_attribute() -> None:
    loop = asyncio.get_running_loop()
    connection = ice.Connection(ice_controlling=True)
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: ice.StunProtocol(connection), local_addr=("127.0.0.1", 0)
    )
    assert protocol.transport is transport
    got = asyncio.Event()
    protocol.datagram_received = lambda data, addr: got.set()
    transport.sendto(b"\x80", transport.get_extra_info("sockname"))
    async with asyncio.timeout(5):
        await got.wait()
    await protocol.close()


def test_candidate_pair_names_protocol_remote_address_and_candidates() -> None:
    for name in ("remote_addr", "local_candidate"):
        assert isinstance(getattr(ice.CandidatePair, name), property)
    assert list(inspect.signature(ice.CandidatePair).parameters) == [
        "protocol",
        "remote_candidate",
    ]


def test_host_candidate_arithmetic() -> None:
    assert candidate_priority(1, "host") == (126 << 24) + (65535 << 8) + 255
    assert candidate_foundation("host", "udp", "10.0.0.1") == candidate_foundation(
        "host", "udp", "10.0.0.1"
    )
    candidate = Candidate(
        foundation="1", component=1, transport="udp", priority=1, host="10.0.0.1", port=9,
        type="host",
    )  # fmt: skip
    assert (candidate.host, candidate.port, candidate.type) == ("10.0.0.1", 9, "host")


def test_reflexive_and_relayed_candidates_are_asked_as_we_do() -> None:
    reflexive = inspect.signature(ice.server_reflexive_candidate)
    assert list(reflexive.parameters) == ["protocol", "stun_server"]
    assert inspect.iscoroutinefunction(ice.server_reflexive_candidate)
    relayed = inspect.signature(ice.relayed_candidate)
    assert set(relayed.parameters) == {
        "component", "hide_related_address", "protocol_factory", "turn_server",
        "turn_username", "turn_password", "turn_ssl", "turn_transport",
    }  # fmt: skip
    assert inspect.iscoroutinefunction(ice.relayed_candidate)


async def test_dtls_transport_has_key_slots_and_its_ice_transport(connection) -> None:
    dtls = connection.addTransceiver("audio").receiver.transport
    assert isinstance(dtls, rtcdtlstransport.RTCDtlsTransport)
    assert dtls._rx_srtp is None
    assert dtls._tx_srtp is None
    assert isinstance(dtls.transport, rtcicetransport.RTCIceTransport)


def test_srtp_sessions_protect_and_unprotect() -> None:
    from pylibsrtp import Session

    for name in ("protect", "protect_rtcp", "unprotect", "unprotect_rtcp"):
        assert callable(getattr(Session, name))


async def test_a_tap_leaves_stun_and_dtls_to_aioice(connection) -> None:
    connection.addTransceiver("audio")
    seam.bind_to(connection, port_min=0, port_max=0, next_port=lambda: 0)
    await connection.setLocalDescription(await connection.createOffer())
    protocols = ice_of(connection)._protocols
    passed: list[bytes] = []
    for protocol in protocols:
        protocol.datagram_received = lambda data, addr: passed.append(data)
    packets: list[bytes] = []
    dtls = connection.getTransceivers()[0].receiver.transport
    tap = seam.DatagramTap(dtls, packets.append, packets.append)
    for data in (b"\x00\x01", b"\x16\xfe", b"\x7f", b"\xc0", b""):
        protocols[0].datagram_received(data, ("127.0.0.1", 9))
    for data in (b"\x80", b"\x80\x6f" + bytes(10), b"\xbf\xc8" + bytes(30)):
        protocols[0].datagram_received(data, ("127.0.0.1", 9))
    assert passed == [b"\x00\x01", b"\x16\xfe", b"\x7f", b"\xc0"]
    assert packets == []
    assert (tap.received, tap.rejected) == (3, 4)


async def test_a_tap_without_pair_or_keys_sends_nothing_and_says_so(connection) -> None:
    dtls = connection.addTransceiver("audio").receiver.transport
    tap = seam.DatagramTap(dtls, lambda _: None, lambda _: None)
    assert tap.send(b"\x80" * 20) is False
    assert tap.unsent == 1
    assert tap.selected_types() == ("none", "none")


async def test_data_that_comes_too_late_to_be_sent_is_dropped(connection) -> None:
    assert "self.__transport._send_data(" in inspect.getsource(rtcsctptransport)
    dtls = connection.addTransceiver("audio").receiver.transport
    with pytest.raises(ConnectionError):
        await dtls._send_data(b"late")
    seam.DatagramTap(dtls, lambda _: None, lambda _: None)
    await dtls._send_data(b"late")


# -- what strangers send ---------------------------------------------------------------


def hostile_stun() -> list[bytes]:
    """Well-formed headers with attributes of the wrong length, and mutated ones."""
    rng = random.Random(7)
    whole = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    whole.attributes["USERNAME"] = "a:b"
    whole.attributes["PRIORITY"] = 1
    whole.attributes["ICE-CONTROLLING"] = 1
    good = bytes(whole)
    short = good[:2] + (8).to_bytes(2, "big") + good[4:20]
    out = [short + kind + b"\x00\x03abc\x00" for kind in (b"\x00\x24", b"\x80\x2a", b"\x00\x06")]
    for _ in range(400):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 5)):
            data[rng.randrange(2, len(data))] = rng.randrange(256)
        out.append(bytes(data[: rng.randrange(1, len(data) + 1)]))
    return out


async def test_no_datagram_of_a_stranger_raises_or_reaches_dtls_empty(connection) -> None:
    connection.addTransceiver("audio")
    seam.bind_to(connection, port_min=0, port_max=0, next_port=lambda: 0)
    await connection.setLocalDescription(await connection.createOffer())
    queued: list[bytes] = []
    ice_of(connection).data_received = lambda data, component: queued.append(data)
    protocol = ice_of(connection)._protocols[0]
    for data in [b"", *hostile_stun()]:
        protocol.datagram_received(data, ("127.0.0.1", 9))
    assert b"" not in queued, "aiortc's DTLS task ends at an empty datagram"


async def test_connecting_runs_in_a_method_that_an_instance_can_take_over(connection) -> None:
    method = rtcpeerconnection.RTCPeerConnection._RTCPeerConnection__connect
    assert inspect.iscoroutinefunction(method)
    assert list(inspect.signature(method).parameters) == ["self"]
    connection.addTransceiver("audio")
    failures: list[Exception] = []
    ran = asyncio.Event()

    async def connect() -> None:
        ran.set()
        raise RuntimeError("no way")

    vars(connection)["_RTCPeerConnection__connect"] = connect
    tasks = seam.ConnectTasks(connection, failures.append)
    await connection.setLocalDescription(await connection.createOffer())
    async with asyncio.timeout(5):
        await ran.wait()
    await tasks.cancel()
    assert [str(error) for error in failures] == ["no way"]


async def test_sockets_of_a_half_negotiated_connection_can_be_closed(connection) -> None:
    connection.addTransceiver("audio")
    seam.bind_to(connection, port_min=0, port_max=0, next_port=lambda: 0)
    await connection.setLocalDescription(await connection.createOffer())
    protocols = list(ice_of(connection)._protocols)
    assert protocols
    await seam.close_sockets(connection)
    assert all(protocol.transport.is_closing() for protocol in protocols)
