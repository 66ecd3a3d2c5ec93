"""Every private name of aiortc and aioice that ``aiortc_seam`` leans on, one test each."""

from __future__ import annotations

import ast
import asyncio
import inspect
import random
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
from OpenSSL import SSL

from fakes.media_threads import HandThreads
from voicecore.transport import aiortc_seam as seam
from voicecore.transport.halves import NativeReceiver, NativeSender
from voicecore.transport.hub import MediaHub
from voicecore.transport.hub_transport import HubTransport
from voicecore.transport.srtp_keys import SrtpKeys


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


async def test_stream_and_track_ids_of_the_sender_are_in_the_description(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    sender = seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    offer = await connection.createOffer()
    assert f"a=msid:{sender._stream_id} {sender._track_id}" in offer.sdp


async def test_exchanged_receiver_and_sender_are_what_the_properties_give(connection) -> None:
    transceiver = connection.addTransceiver("audio")
    before = transceiver.sender._stream_id
    sender = seam.take_over_audio(transceiver, lambda _: None, lambda _: None)
    assert transceiver.sender is sender
    assert isinstance(transceiver.receiver, NativeReceiver)
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
        (NativeReceiver, theirs.receiver),
        (NativeSender, theirs.sender),
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


async def test_gathering_goes_through_a_method_that_an_instance_can_take_over(connection) -> None:
    assert "self._connection.gather_candidates()" in inspect.getsource(rtcicetransport)
    connection.addTransceiver("audio")
    asked: list[bool] = []

    async def gather() -> list[Candidate]:
        asked.append(True)
        return [seam.host_candidate("192.0.2.2", 3479, 9)]

    told: list[bool] = []
    inside = ice_of(connection)
    seam.prepare_ice(inside, ufrag="abcdefgh", gather=gather, on_pair=lambda: told.append(True))
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

    seam.prepare_ice(
        inside,
        ufrag="abcdefgh",
        gather=nothing,
        on_pair=lambda: told.append(seam.nominated_pair(inside)),
    )
    one, two = object(), object()
    for pair in (one, one, two):
        inside._nominated[1] = pair
    await inside.close()
    inside._nominated.clear()
    assert told == [one, two, None]


def test_a_local_name_can_be_given_afterwards() -> None:
    inside = ice.Connection(ice_controlling=True)
    inside._local_username = "abcdefgh"
    assert inside.local_username == "abcdefgh"
    ice.validate_username("abcdefgh")


def rig_protocol(connection: Any) -> tuple[Any, list[bytes], list[bool]]:
    """A protocol of the seam over a hub in the test's hand: it, its media, its drops."""
    media: list[bytes] = []
    dropped: list[bool] = []
    threads = HandThreads()
    hub = MediaHub(threads, addresses=lambda: ["192.0.2.2"])
    (port,) = hub.ports()
    peer = hub.add_peer("abcdefgh", object())  # type: ignore[arg-type]
    protocol = seam.CallProtocol(connection, media.append, lambda: dropped.append(True))
    protocol.connection_made(HubTransport(hub, peer, port, protocol))
    seam.add_protocol(connection, protocol, seam.host_candidate(port.host, port.udp_port, 9))
    protocol.hub = hub
    return protocol, media, dropped


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
    pair = ice.CandidatePair(protocol, seam.host_candidate("192.0.2.9", 9, 1))
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
    host = seam.host_candidate("10.0.0.1", 9, 3)
    assert (host.host, host.port, host.type, host.component) == ("10.0.0.1", 9, "host", 1)
    mapped = seam.reflexive_candidate(("192.0.2.1", 7), ("10.0.0.1", 9), 3)
    assert (mapped.host, mapped.port, mapped.type) == ("192.0.2.1", 7, "srflx")
    assert (mapped.related_address, mapped.related_port) == ("10.0.0.1", 9)


def test_relayed_candidates_are_asked_for_as_we_do() -> None:
    relayed = inspect.signature(ice.relayed_candidate)
    assert set(relayed.parameters) == {
        "component", "hide_related_address", "protocol_factory", "turn_server",
        "turn_username", "turn_password", "turn_ssl", "turn_transport",
    }  # fmt: skip
    assert inspect.iscoroutinefunction(ice.relayed_candidate)


async def test_a_protocol_asks_and_knows_its_questions() -> None:
    queries = seam.StunQueries()
    assert queries.transactions == {}
    assert list(inspect.signature(queries.request).parameters)[:2] == ["request", "addr"]
    for data in (b"", b"\x00\x01", *hostile_stun()[:50]):
        queries.datagram_received(data, ("127.0.0.1", 9))


# -- DTLS ---------------------------------------------------------------------------------


async def test_the_constructor_makes_its_certificate_by_a_name_of_its_module() -> None:
    source = inspect.getsource(RTCPeerConnection.__init__)
    assert source.count("RTCCertificate.generateCertificate()") == 1
    before = rtcpeerconnection.RTCCertificate
    one, two = (seam.new_connection(RTCConfiguration(iceServers=[])) for _ in range(2))
    assert rtcpeerconnection.RTCCertificate is before, "nothing global is changed"
    certificates = [vars(pc)["_RTCPeerConnection__certificates"] for pc in (one, two)]
    assert certificates[0] == certificates[1]
    assert isinstance(certificates[0][0], seam.ProcessCertificate)
    stock = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    (theirs,) = vars(stock)["_RTCPeerConnection__certificates"]
    assert not isinstance(theirs, seam.ProcessCertificate)
    for pc in (one, two, stock):
        await pc.close()


async def test_one_context_and_one_fingerprint_serve_all_calls() -> None:
    certificate = seam.ProcessCertificate.generateCertificate()
    assert certificate is seam.ProcessCertificate.generateCertificate()
    profiles = rtcdtlstransport.SRTP_PROFILES
    context = certificate._create_ssl_context(srtp_profiles=profiles)
    assert isinstance(context, SSL.Context)
    assert certificate._create_ssl_context(srtp_profiles=profiles) is context
    assert context.get_session_cache_mode() == SSL.SESS_CACHE_OFF
    (fingerprint,) = certificate.getFingerprints()
    assert fingerprint.value == rtcdtlstransport.certificate_digest(certificate._cert, "sha-256")
    stock = rtcdtlstransport.RTCCertificate.generateCertificate()
    assert fingerprint.algorithm in {entry.algorithm for entry in stock.getFingerprints()}


class Handshaken:
    """An OpenSSL connection after the handshake."""

    def __init__(self, profile: bytes) -> None:
        self.profile = profile

    def get_selected_srtp_profile(self) -> bytes:
        return self.profile

    def export_keying_material(self, label: bytes, size: int) -> bytes:
        assert label == b"EXTRACTOR-dtls_srtp"
        return bytes(range(size))


@pytest.mark.parametrize("profile", rtcdtlstransport.SRTP_PROFILES, ids=lambda p: p.openssl_profile)
async def test_captured_keys_are_those_that_aiortc_would_use(connection, profile) -> None:
    got: list[SrtpKeys] = []
    dtls = connection.addTransceiver("audio").receiver.transport
    assert (
        inspect.getsource(rtcdtlstransport.RTCDtlsTransport.start).count("self._setup_srtp()") == 1
    )
    seam.capture_keys(dtls, got.append)
    dtls._ssl = Handshaken(profile.openssl_profile)
    for role in ("server", "client"):
        dtls._set_role(role)
        dtls._setup_srtp()
    server, client = got
    size, salt = profile.key_length, profile.salt_length
    material = bytes(range(2 * (size + salt)))
    of_client = material[:size] + material[2 * size : 2 * size + salt]
    of_server = material[size : 2 * size] + material[2 * size + salt :]
    assert (client.transmit, client.receive) == (of_client, of_server)
    assert (server.transmit, server.receive) == (of_server, of_client)
    assert server.profile.encode() == profile.openssl_profile
    assert dtls._rx_srtp is None, "SRTP that reaches aiortc is dropped"
    dtls._ssl = None
    assert "transmit" not in repr(server)


async def test_without_a_profile_dtls_fails(connection) -> None:
    dtls = connection.addTransceiver("audio").receiver.transport
    got: list[SrtpKeys] = []
    seam.capture_keys(dtls, got.append)
    dtls._ssl = Handshaken(b"")
    dtls._setup_srtp()
    dtls._ssl = None
    assert dtls.state == "failed"
    assert got == []


async def test_a_role_can_be_taken_before_the_answer(connection) -> None:
    dtls = connection.addTransceiver("audio").receiver.transport
    assert dtls._role == "auto"
    seam.be_dtls_server(dtls)
    assert dtls._role == "server"


async def test_dtls_transport_has_key_slots_and_its_ice_transport(connection) -> None:
    dtls = connection.addTransceiver("audio").receiver.transport
    assert isinstance(dtls, rtcdtlstransport.RTCDtlsTransport)
    assert dtls._rx_srtp is None
    assert dtls._srtp_profiles is rtcdtlstransport.SRTP_PROFILES
    assert isinstance(dtls.transport, rtcicetransport.RTCIceTransport)
    assert seam.ice_of(dtls) is ice_of(connection)


async def test_data_that_comes_too_late_to_be_sent_is_dropped(connection) -> None:
    assert "self.__transport._send_data(" in inspect.getsource(rtcsctptransport)
    dtls = connection.addTransceiver("audio").receiver.transport
    with pytest.raises(ConnectionError):
        await dtls._send_data(b"late")
    seam.forgive_late_data(dtls)
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
    async with asyncio.timeout(60):
        await ran.wait()
    await tasks.cancel()
    assert [str(error) for error in failures] == ["no way"]


async def test_ice_of_a_half_negotiated_connection_can_be_stopped(connection) -> None:
    connection.addTransceiver("audio")
    inside = ice_of(connection)

    async def nothing() -> list[Candidate]:
        return []

    seam.prepare_ice(inside, ufrag="abcdefgh", gather=nothing, on_pair=lambda: None)
    protocol, _, _ = rig_protocol(inside)
    await connection.setLocalDescription(await connection.createOffer())
    await seam.stop_ice(connection)
    assert protocol.transport.is_closing()
    protocol.hub.close()
