"""Every private name of aiortc that ``adoption`` leans on, and what its exchange must keep."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
    rtcpeerconnection,
    rtcrtpreceiver,
    rtcrtpsender,
    rtcrtptransceiver,
)
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.sdp import candidate_from_sdp

from transport.seam_kit import Handshaken
from voicecore.errors import MisuseError
from voicecore.transport import adoption
from voicecore.transport import aiortc_seam as seam
from voicecore.transport.srtp_keys import SrtpKeys


class Notes:
    """Hooks that note what they hear."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.made: list[Any] = []

    def on_transport(self, transport: Any) -> None:
        self.heard.append("transport")
        self.made.append(transport)

    def on_transceiver(self, transceiver: Any) -> None:
        self.heard.append(transceiver.kind)
        self.made.append(transceiver)

    def describe(self, made: RTCSessionDescription) -> RTCSessionDescription:
        self.heard.append(f"describe {made.type}")
        return RTCSessionDescription(sdp=made.sdp.replace("s=-", "s=ours"), type=made.type)

    def before_remote(self, theirs: RTCSessionDescription) -> RTCSessionDescription:
        self.heard.append(f"remote {theirs.type}")
        return theirs

    def on_described(self) -> None:
        self.heard.append("described")

    async def before_close(self) -> None:
        self.heard.append("closing")

    def after_close(self) -> None:
        self.heard.append("closed")


@pytest.fixture
async def stock():
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    yield pc
    await pc.close()


@pytest.fixture
async def adopted():
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    notes = Notes()
    adoption.adopt(pc, notes)
    yield pc, notes
    await pc.close()


async def test_adopted_methods_override_those_of_the_same_signature() -> None:
    for name, mine in vars(adoption._Adopted).items():
        if inspect.isfunction(mine):
            theirs = getattr(RTCPeerConnection, name)
            assert list(inspect.signature(mine).parameters) == list(
                inspect.signature(theirs).parameters
            ), name
            assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(theirs), name


def test_aiortc_calls_what_is_overridden_through_the_instance() -> None:
    source = inspect.getsource(RTCPeerConnection)
    for call, times in (
        ("self.__createDtlsTransport()", 2),
        ("self.__createTransceiver(", 3),
        ("self.__createSctpTransport()", 3),
        ("await self.createAnswer()", 1),
        ("await self.createOffer()", 1),
    ):
        assert source.count(call) == times, call
    assert source.count("RTCDtlsTransport(iceTransport, self.__certificates)") == 1


async def test_only_that_connection_changes_and_stays_what_it_is(stock, adopted) -> None:
    pc, _ = adopted
    assert type(stock) is RTCPeerConnection
    assert isinstance(pc, RTCPeerConnection)
    assert adoption.is_adopted(pc)
    assert not adoption.is_adopted(stock)
    assert type(pc).__name__ == "RTCPeerConnection"


async def test_one_transport_serves_all_media_without_touching_the_callers_object() -> None:
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_COMPAT)
    pc = RTCPeerConnection(configuration)
    notes = Notes()
    assert adoption.adopt(pc, notes) is configuration
    assert configuration.bundlePolicy == RTCBundlePolicy.MAX_COMPAT
    pc.addTransceiver("audio")
    pc.addTransceiver("video")
    pc.createDataChannel("x")
    assert notes.heard == ["transport", "audio", "video"]
    await pc.close()


@pytest.mark.parametrize("first", ["audio", "video", "channel"])
async def test_whatever_is_made_first_the_one_transport_survives_a_bundle(stock, first) -> None:
    """aiortc would stop it as that of a section that moved."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    notes = Notes()
    adoption.adopt(pc, notes)
    for kind in sorted(("audio", "video", "channel"), key=lambda kind: kind != first):
        if kind == "channel":
            pc.createDataChannel("x")
        else:
            pc.addTransceiver(kind)
    (transport,) = [made for made in notes.made if isinstance(made, RTCDtlsTransport)]
    await pc.setLocalDescription()
    await stock.setRemoteDescription(pc.localDescription)
    await stock.setLocalDescription(await stock.createAnswer())
    await pc.setRemoteDescription(stock.localDescription)
    assert transport.transport.state != "closed"
    for section in (*(t.receiver for t in pc.getTransceivers()), pc.sctp):
        assert section.transport is transport
    await pc.close()


@pytest.mark.parametrize("mid", ["0", "1"])
async def test_a_trickled_candidate_is_the_transports_whatever_it_names(
    stock, adopted, mid
) -> None:
    pc, _ = adopted
    stock.addTransceiver("audio")
    stock.createDataChannel("x")
    offer = await stock.createOffer()
    await stock.setLocalDescription(offer)
    await pc.setRemoteDescription(offer)
    candidate = candidate_from_sdp("1 1 udp 2130706431 192.0.2.7 5000 typ host")
    candidate.sdpMid = mid
    await pc.addIceCandidate(candidate)
    transport = pc.getTransceivers()[0].receiver.transport.transport
    assert [c.ip for c in transport.getRemoteCandidates()] == ["192.0.2.7"]
    await pc.addIceCandidate(None)


async def test_every_step_is_told_in_order(stock, adopted) -> None:
    pc, notes = adopted
    pc.addTransceiver("audio")
    await pc.setLocalDescription()
    assert "s=ours" in pc.localDescription.sdp
    await stock.setRemoteDescription(pc.localDescription)
    await stock.setLocalDescription(await stock.createAnswer())
    await pc.setRemoteDescription(stock.localDescription)
    await pc.close()
    assert notes.heard == [
        "transport", "audio", "describe offer", "described", "remote answer", "described",
        "closing", "closed",
    ]  # fmt: skip


async def test_the_exchanged_halves_are_what_the_transceiver_gives(stock) -> None:
    transceiver = stock.addTransceiver("audio")
    stream = transceiver.sender._stream_id
    transport = transceiver.receiver.transport
    sender, receiver = RTCRtpSender("audio", transport), RTCRtpReceiver("audio", transport)
    adoption.exchange_halves(transceiver, sender, receiver)
    assert (transceiver.sender, transceiver.receiver) == (sender, receiver)
    offer = await stock.createOffer()
    assert f"a=msid:{stream} {sender._track_id}" in offer.sdp
    assert f"a=ssrc:{sender._ssrc} cname:" in offer.sdp


def test_what_aiortc_sets_on_halves_by_private_names() -> None:
    """``_track`` and ``_enabled`` are properties of ours, ``_track_id`` is ours to set."""
    source = inspect.getsource(rtcpeerconnection)
    assert source.count("receiver._track = RemoteStreamTrack(") == 1
    assert "track=transceiver.receiver.track" in source
    assert "id=description.webrtc_track_id(media)" in source
    source = inspect.getsource(rtcrtptransceiver)
    assert source.count("receiver._enabled = ") == source.count("sender._enabled = ") == 4
    assert "self._track_id = track.id" in inspect.getsource(rtcrtpsender)
    assert "self._queue" in inspect.getsource(rtcrtpreceiver.RemoteStreamTrack)


@pytest.mark.parametrize("half", [RTCRtpReceiver, RTCRtpSender])
def test_a_half_that_was_not_started_runs_nothing(half: Any) -> None:
    source = inspect.getsource(half.__init__)
    for work in ("ensure_future", ".start(", "create_task"):
        assert work not in source


async def test_decrypted_packets_go_where_aiortc_puts_its_own(stock) -> None:
    transport = stock.addTransceiver("video").receiver.transport
    got: list[Any] = []

    async def rtp(data: bytes, arrival_time_ms: int) -> None:
        got.append((data, arrival_time_ms))

    async def rtcp(data: bytes) -> None:
        got.append(data)

    for name, mine in (("_handle_rtp_data", rtp), ("_handle_rtcp_data", rtcp)):
        theirs = getattr(RTCDtlsTransport, name)
        assert inspect.iscoroutinefunction(theirs)
        assert list(inspect.signature(theirs).parameters)[1:] == list(
            inspect.signature(mine).parameters
        )
        setattr(transport, name, mine)
    media, report = bytes([0x80, 97]) + bytes(20), bytes([0x80, 200]) + bytes(26)
    await adoption.take_media(transport, media)
    await adoption.take_media(transport, report)
    (first, at_ms), second = got
    assert (first, second) == (media, report)
    assert at_ms > 0


async def test_an_aiortc_without_our_names_is_refused_untouched(stock, monkeypatch) -> None:
    monkeypatch.delattr(RTCPeerConnection, "_RTCPeerConnection__createTransceiver")
    with pytest.raises(MisuseError):
        adoption.adopt(stock, Notes())
    assert type(stock) is RTCPeerConnection


async def test_transport_stats_are_a_report(stock) -> None:
    transport = stock.addTransceiver("audio").receiver.transport
    (stats,) = adoption.transport_stats(transport).values()
    assert stats.id == f"transport_{id(transport)}"


async def test_keys_beside_aiortcs_own_sessions(stock) -> None:
    transport: Any = stock.addTransceiver("audio").receiver.transport
    got: list[SrtpKeys] = []
    seam.capture_keys(transport, got.append, beside=True)
    transport._ssl = Handshaken(b"SRTP_AES128_CM_SHA1_80")
    transport._set_role("server")
    transport._setup_srtp()
    assert len(got) == 1
    assert transport._tx_srtp is not None
    assert transport._rx_srtp is not None
