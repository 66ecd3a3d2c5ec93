"""What stock clients offer and name, and descriptions nobody should send."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceTransport,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from transport.kit import until
from transport.peer_kit import REFUSALS, peer, refusal, stock_offer
from voicecore.errors import PeerError
from voicecore.transport import sdp as sdp_tools
from voicecore.transport.peer import CHANNEL_LABEL
from voicecore.transport.sdp_audio import AudioWants

# -- what stock clients offer ---------------------------------------------------------


def direction_of(sdp: str, kind: str) -> str:
    section = sdp[sdp.index(f"m={kind}") :].split("\r\nm=")[0]
    return next(
        line[2:]
        for line in section.split("\r\n")
        if line in ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
    )


@pytest.mark.parametrize("name", ["chromium", "chromium_video", "firefox", "aiortc"])
async def test_recorded_offers_are_answered(name: str) -> None:
    offer = (Path(__file__).parent / "offers" / f"{name}.sdp").read_bytes().decode()
    async with peer() as (one, notes):
        answer = await one.accept(offer)
    assert notes.lost == []
    assert direction_of(answer, "audio") == "sendrecv"
    assert answer.count("\r\nm=") == offer.count("\r\nm=")
    for line in answer.split("\r\n"):
        if line.startswith("a=extmap:"):
            assert line in offer, "an extension keeps the number it was offered with"


@pytest.mark.parametrize("name", ["chromium", "chromium_red", "firefox"])
async def test_recorded_answers_are_taken(name: str) -> None:
    answer = (Path(__file__).parent / "answers" / f"{name}.sdp").read_bytes().decode()
    async with peer(wants=AudioWants(red_first=name == "chromium_red")) as (one, notes):
        offer = await one.offer()
        types = next(line for line in offer.split("\r\n") if line.startswith("m=audio")).split()[3:]
        assert types[:2] == (["63", "96"] if name == "chromium_red" else ["96", "63"])
        await one.answer(answer)
    assert notes.lost == []


async def test_an_offer_with_its_data_channel_first_is_answered_in_its_order() -> None:
    caller = RTCPeerConnection(
        RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
    )
    caller.addTransceiver("audio")
    channel = caller.createDataChannel(CHANNEL_LABEL)
    await caller.setLocalDescription(await caller.createOffer())
    usual = [0, 1]
    offer = sdp_tools.in_order(caller.localDescription.sdp, [1, 0])
    assert sdp_tools.audio_first(offer) != usual
    async with peer() as (answering, notes):
        answer = await answering.accept(offer)
        assert re.findall(r"^m=(\w+)|^a=group:BUNDLE (.*)$", answer, re.MULTILINE) == [
            ("", "1 0\r"), ("application", ""), ("audio", ""),
        ]  # fmt: skip
        assert sdp_tools.in_order(sdp_tools.in_order(answer, [1, 0]), [1, 0], back=True) == answer
        turned = RTCSessionDescription(sdp_tools.in_order(answer, [1, 0]), "answer")
        await caller.setRemoteDescription(turned)
        await until(lambda: notes.link and notes.opened and channel.readyState == "open")
        await caller.close()


async def test_a_candidate_of_any_bundled_section_is_the_transports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []

    async def take(_: RTCIceTransport, candidate: RTCIceCandidate | None) -> None:
        taken.append(candidate.port if candidate else 0)

    caller = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    caller.addTransceiver("audio")
    caller.createDataChannel(CHANNEL_LABEL)
    await caller.setLocalDescription(await caller.createOffer())
    async with peer() as (answering, _):
        await answering.accept(sdp_tools.in_order(caller.localDescription.sdp, [1, 0]))
        monkeypatch.setattr(RTCIceTransport, "addRemoteCandidate", take)
        for port, mid in ((5000, "1"), (5001, "0"), (5002, None), (5003, "another")):
            text = f"candidate:1 1 udp 1 192.0.2.9 {port} typ host"
            await answering.add_candidate(text, mid, None)
        assert taken == [5000, 5001, 5002]
    await caller.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 7 0 1"),
        ("a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0 2"),
        ("a=mid:1", "a=mid:0"),
        ("a=mid:0", "a=mid:0\r\na=mid:1"),
        ("\r\nm=application", "\r\na=x"),
    ],
)
async def test_sections_that_cant_be_told_apart_are_refused(old: str, new: str) -> None:
    offer = await stock_offer()
    assert old in offer
    async with peer() as (answering, _):
        assert await refusal(answering.accept(offer.replace(old, new, 1))) == "bad_sdp"
        await answering.close()
        assert answering.state == "closed"


async def test_a_video_section_is_answered_as_inactive() -> None:
    async with peer() as (one, _):
        answer = await one.accept(await stock_offer(video=True))
    assert direction_of(answer, "audio") == "sendrecv"
    assert direction_of(answer, "video") == "inactive"


@pytest.mark.parametrize(("name", "payload_type"), [("PCMU", "0"), ("PCMA", "8")])
async def test_a_client_of_one_g711_codec_gets_it(name: str, payload_type: str) -> None:
    async with peer() as (one, _):
        answer = await one.accept(await stock_offer(codecs=(f"audio/{name}",)))
    (media,) = [line for line in answer.split("\r\n") if line.startswith("m=audio")]
    assert media.split()[3:] == [payload_type]


async def test_a_client_of_g711_connects_with_it() -> None:
    pc = RTCPeerConnection()
    known = RTCRtpSender.getCapabilities("audio").codecs
    async with peer() as (one, notes):
        try:
            transceiver = pc.addTransceiver("audio", direction="sendrecv")
            transceiver.setCodecPreferences([c for c in known if c.mimeType == "audio/PCMU"])
            await pc.setLocalDescription(await pc.createOffer())
            answer = await one.accept(pc.localDescription.sdp)
            await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: notes.link)
            assert notes.link is not None
            form = notes.link.format
            assert (form.codec, form.payload_type, form.opus_pt, form.pcmu_pt) == ("pcmu", 0, -1, 0)
        finally:
            await pc.close()


async def test_mdns_candidates_are_passed_over() -> None:
    async with peer() as (one, _), peer() as (two, notes):
        offer = await one.offer()
        lines = []
        for line in offer.split("\r\n"):
            if line.startswith("a=candidate:"):
                fields = line.split()
                fields[4] = "3f1c7d58-0b7a-4a3e-9d11-6b8a5a1f0d11.local"
                line = " ".join(fields)
            lines.append(line)
        answer = await two.accept("\r\n".join(lines))
        name = "candidate:9 1 udp 2113937151 1f0d1111-aaaa.local 50000 typ host"
        await two.add_candidate(name, "0", 0)
        # The offering side knows real addresses: its checks reveal where it is.
        await one.answer(answer)
        await until(lambda: notes.link)


async def test_trickled_candidates() -> None:
    async with peer() as (one, _):
        await one.accept(await stock_offer())
        good = "candidate:1 1 udp 2122260223 127.0.0.1 50000 typ host"
        for text in (good, f"a={good}", good.removeprefix("candidate:"), "", " "):
            await one.add_candidate(text, "0", 0)
        tcp = "candidate:1 1 tcp 2122260223 127.0.0.1 9 typ host tcptype active"
        await one.add_candidate(tcp, None, None)
        for bad in ("candidate:1", "candidate:1 x udp y z w typ host", "nonsense " * 20):
            with pytest.raises(PeerError) as caught:
                await one.add_candidate(bad, "0", 0)
            assert caught.value.code == "bad_candidate"
        codes = [await refusal(one.add_candidate(good, "0", 0)) for _ in range(100)]
        assert set(codes) == {"", "too_many_candidates"}
        assert codes.count("") < 64


@pytest.mark.parametrize(
    "candidate",
    [
        "candidate:1 1 udp 1 127.0.0.1 99999999 typ host",
        "candidate:1 1 udp 1 not-an-address 5000 typ host",
        "candidate:1 1 udp 1 127.0.0.1 5000 typ martian",
        "candidate:1 77 udp 1 127.0.0.1 5000 typ host",
        "candidate:1 1 udp 1 :: 5000 typ host",
    ],
)
async def test_odd_candidates_are_refused_or_ignored(candidate: str) -> None:
    async with peer() as (one, _):
        await one.accept(await stock_offer())
        assert await refusal(one.add_candidate(candidate, "0", 0)) in {"", "bad_candidate"}


# -- descriptions nobody should send ----------------------------------------------------


def broken(sdp: str) -> list[str]:
    """``sdp`` with one thing wrong each."""
    lines = sdp.split("\r\n")

    def without(prefix: str) -> str:
        return "\r\n".join(line for line in lines if not line.startswith(prefix))

    return [
        "",
        "garbage",
        "v=0",
        "v=0\r\nm=audio 9 RTP/AVP 0\r\n",
        without("a=fingerprint"),
        without("a=ice-ufrag"),
        without("a=mid"),
        sdp.replace("a=setup:actpass", "a=setup:upside-down"),
        sdp.replace("a=mid:0", "a=mid:7"),
        sdp.replace("opus/48000/2", "opus/x/2"),
        sdp.replace("m=audio", "m=video"),
        sdp.replace("a=fingerprint:sha-256 ", "a=fingerprint:"),
        sdp.replace("a=candidate:", "a=candidate:x y z "),
        sdp[: len(sdp) // 2],
        sdp.replace("\r\n", ""),
    ]


async def test_broken_offers_are_peer_errors_or_answered() -> None:
    whole = await stock_offer()
    for number, sdp in enumerate(broken(whole)):
        async with peer() as (one, _):
            assert await refusal(one.accept(sdp)) in REFUSALS, number


async def test_broken_answers_are_peer_errors_or_taken() -> None:
    async with peer() as (one, _), peer() as (two, _):
        whole = await two.accept(await one.offer())
    for number, sdp in enumerate(broken(whole)):
        async with peer() as (one, _):
            await one.offer()
            assert await refusal(one.answer(sdp)) in REFUSALS, number
