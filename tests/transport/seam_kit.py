"""What the tests of the seam share."""

from __future__ import annotations

import random
from typing import Any

from aioice import stun
from aiortc import RTCPeerConnection

from fakes.media_threads import HandThreads
from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport.consent import Consent, Names
from voicecore.transport.hub import MediaHub
from voicecore.transport.hub_transport import HubTransport


def ice_of(pc: RTCPeerConnection) -> Any:
    return pc.getTransceivers()[0].receiver.transport.transport._connection


def no_consent() -> Consent:
    """Of a connection without a pair."""

    def names() -> Names:
        raise AssertionError("there is no pair")

    return Consent(names, lambda way, address: False, lambda data: None)


def rig_protocol(connection: Any) -> tuple[Any, list[bytes], list[bool]]:
    """A protocol of the seam over a hub in the test's hand: it, its media, its drops."""
    media: list[bytes] = []
    dropped: list[bool] = []
    threads = HandThreads()
    hub = MediaHub(threads, addresses=lambda: ["192.0.2.2"])
    (port,) = hub.ports()
    peer = hub.add_peer("abcdefgh", object())  # type: ignore[arg-type]
    protocol = ice_seam.CallProtocol(
        connection, media.append, lambda: dropped.append(True), no_consent()
    )
    protocol.connection_made(HubTransport(hub, peer, port, protocol))
    ice_seam.add_protocol(
        connection, protocol, ice_seam.host_candidate(port.host, port.udp_port, 9)
    )
    protocol.hub = hub
    return protocol, media, dropped


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


class Handshaken:
    """An OpenSSL connection after the handshake."""

    def __init__(self, profile: bytes) -> None:
        self.profile = profile

    def get_selected_srtp_profile(self) -> bytes:
        return self.profile

    def export_keying_material(self, label: bytes, size: int) -> bytes:
        assert label == b"EXTRACTOR-dtls_srtp"
        return bytes(range(size))
