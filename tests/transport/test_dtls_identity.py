"""Who is not whom his description names gets no session, and nobody is heard before DTLS."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from transport.kit import until
from transport.peer_kit import peer, plane, refusal

_FINGERPRINT = re.compile(r"a=fingerprint:(\S+) (\S+)\r\n")


def _another(sdp: str) -> str:
    """One digit of the certificate's digest is another."""

    def turn(match: re.Match[str]) -> str:
        digest = match[2]
        return f"a=fingerprint:{match[1]} {'0' if digest[0] != '0' else '1'}{digest[1:]}\r\n"

    return _FINGERPRINT.sub(turn, sdp)


def _good_and_another(sdp: str) -> str:
    """The right one, and one of a certificate that nobody showed: all must be right."""
    return _FINGERPRINT.sub(lambda match: match[0] + _another(match[0]), sdp)


def _unknown_digest(sdp: str) -> str:
    return _FINGERPRINT.sub(lambda match: f"a=fingerprint:md5 {match[2][:47]}\r\n", sdp)


def _cut(sdp: str) -> str:
    return _FINGERPRINT.sub(lambda match: match[0].replace(match[2], match[2][:-3]), sdp)


FORGED: list[Callable[[str], str]] = [_another, _good_and_another, _cut]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("described", ["offer", "answer"])
async def test_another_certificate_than_the_described_gets_no_session(
    described: str, forged: Callable[[str], str]
) -> None:
    async with peer() as (one, near), peer() as (two, far):
        offer = await one.offer()
        assert _FINGERPRINT.search(offer)
        answer = await two.accept(forged(offer) if described == "offer" else offer)
        await one.answer(forged(answer) if described == "answer" else answer)
        deceived = near if described == "answer" else far
        await until(lambda: deceived.lost)
        assert deceived.lost == ["peer_failed"]
        assert (deceived.links, deceived.link, deceived.opened) == (0, None, 0)


def _without(sdp: str) -> str:
    return _FINGERPRINT.sub("", sdp)


@pytest.mark.parametrize("bare", [_without, _unknown_digest])
@pytest.mark.parametrize("described", ["offer", "answer"])
async def test_without_a_fingerprint_that_can_be_trusted_there_is_no_call(
    described: str, bare: Callable[[str], str]
) -> None:
    async with peer() as (one, near), peer() as (two, far):
        offer = await one.offer()
        if described == "offer":
            assert await refusal(two.accept(bare(offer))) == "bad_sdp"
        else:
            answer = bare(await two.accept(offer))
            assert await refusal(one.answer(answer)) == "bad_sdp"
        assert near.link is far.link is None


class HeldDtls:
    """A stock client whose DTLS begins when ``gate`` opens; its ICE doesn't wait."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTrack(AudioStreamTrack())
        self.dtls: Any = self.pc.getTransceivers()[0].sender.transport
        self._begin = self.dtls.start
        self.dtls.start = self._held

    async def _held(self, parameters: Any) -> None:
        await self.gate.wait()
        await self._begin(parameters)

    async def send(self, datagram: bytes) -> None:
        """Over the pair that ICE has found."""
        await self.dtls.transport._send(datagram)


async def test_media_before_dtls_is_dropped_and_counted() -> None:
    caller = HeldDtls()
    async with peer() as (one, near):
        await caller.pc.setLocalDescription(await caller.pc.createOffer())
        answer = await one.accept(caller.pc.localDescription.sdp)
        await caller.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        await until(lambda: caller.dtls.transport.state == "completed")
        assert near.hub is not None
        known = near.hub.threads.counters()
        for number in range(50):
            rtp = bytes([0x80, 111, 0, number]) + bytes(8) + bytes(60)
            await caller.send(rtp)
            await caller.send(bytes([0x80, 200, 0, 6]) + bytes(24))

        def arrived() -> bool:
            assert near.hub is not None
            now = near.hub.threads.counters()
            return int(str(now["received"])) >= int(str(known["received"])) + 100

        await until(arrived)
        assert near.link is None
        assert near.hub.threads.counters()["unknown_address"] == known["unknown_address"]
        caller.gate.set()
        await until(lambda: near.link)
        with plane(near) as audio:
            await until(lambda: audio.stats()["received"] > 5)
            stats = audio.stats()
            assert stats["rejected"] >= 100, "each was told apart from the caller's own"
            assert audio.ring.position <= stats["received"] * 320 * 3
        await caller.pc.close()
