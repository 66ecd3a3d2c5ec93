"""Private names of aiortc's DTLS and SCTP that ``aiortc_seam`` leans on, one test each."""

from __future__ import annotations

import inspect

import pytest
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    rtcdtlstransport,
    rtcicetransport,
    rtcpeerconnection,
    rtcsctptransport,
)
from OpenSSL import SSL

from transport.seam_kit import Handshaken, ice_of
from voicecore.transport import aiortc_seam as seam
from voicecore.transport.srtp_keys import SrtpKeys


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
