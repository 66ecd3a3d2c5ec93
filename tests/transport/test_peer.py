"""Two peers of ours over real sockets of this machine, and descriptions nobody should send."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

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

from transport.kit import loud, media_hub, over, tone, until
from voicecore.errors import PeerError
from voicecore.transport import sdp as sdp_tools
from voicecore.transport.hub import MediaHub
from voicecore.transport.native_plane import NativePlane
from voicecore.transport.peer import CHANNEL_LABEL, AudioLink, Peer, PeerConfig
from voicecore.transport.sdp_audio import AudioWants

pytestmark = pytest.mark.realtime


class Notes:
    """All that a peer tells, and whose media threads it is on."""

    def __init__(self, hub: MediaHub | None = None) -> None:
        self.hub = hub
        self.link: AudioLink | None = None
        self.links = 0
        self.texts: list[str] = []
        self.opened = 0
        self.lost: list[str] = []

    def on_audio_link(self, link: AudioLink) -> None:
        self.link = link
        self.links += 1

    def on_message(self, text: str) -> None:
        self.texts.append(text)

    def on_channel_open(self) -> None:
        self.opened += 1

    def on_peer_lost(self, reason: str) -> None:
        self.lost.append(reason)


def descriptors() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))


REFUSALS = {"", "bad_sdp", "no_audio", "no_codec"}


async def refusal(work: Coroutine[Any, Any, object]) -> str:
    """The code of the PeerError that ``work`` ends with, or ``""``."""
    try:
        await work
    except PeerError as error:
        return error.code if error.status in (400, 422) else f"{error.code} {error.status}"
    return ""


def plane(notes: Notes) -> AbstractContextManager[NativePlane]:
    """The audio of a connected peer."""
    assert notes.link is not None
    assert notes.hub is not None
    return over(notes.link, notes.hub)


@asynccontextmanager
async def peer(**config: Any) -> AsyncIterator[tuple[Peer, Notes]]:
    """A peer; without a ``hub`` it has one to itself."""
    own = None if "hub" in config else media_hub()
    notes = Notes(config.setdefault("hub", own))
    made = Peer(PeerConfig(**config), notes)
    try:
        yield made, notes
    finally:
        await made.close()
        if own is not None:
            own.close()


@asynccontextmanager
async def pair(**config: Any) -> AsyncIterator[tuple[tuple[Peer, Notes], tuple[Peer, Notes]]]:
    """An offering and an answering peer, connected."""
    async with peer(**config) as one, peer(**config) as two:
        await one[0].answer(await two[0].accept(await one[0].offer()))
        await until(lambda: one[1].link and two[1].link and one[1].opened and two[1].opened)
        yield one, two


async def test_two_peers_connect_and_everything_flows_both_ways() -> None:
    async with pair() as sides:
        for (peer_a, notes_a), (_, notes_b) in (sides, reversed(sides)):
            assert notes_a.link is not None
            assert peer_a.state == "connected"
            assert peer_a.link is notes_a.link
            assert notes_a.link.format.codec == "opus"
            assert notes_a.link.format.pcmu_pt == 0
            assert notes_a.link.format.pcma_pt == 8
            assert peer_a.send_texts(["hello"])
            await until(lambda notes=notes_b: notes.texts)
            assert notes_b.texts == ["hello"]
            assert set(notes_a.link.selected_types()) <= {"host", "prflx"}
        assert [notes.links for _, notes in sides] == [1, 1]
        (_, one), (_, two) = sides
        with plane(one) as here, plane(two) as there:
            for mouth, ear in ((here, there), (there, here)):
                mouth.play(tone(0.3), mouth.generation)
                await until(lambda ear=ear: loud(ear))
            await until(lambda: here.stats()["round_trip_ms"] > 0)


async def test_many_calls_share_one_port_and_open_no_socket() -> None:
    hub = media_hub()
    numbers = {port.udp_port for port in hub.ports()}
    async with AsyncExitStack() as stack:
        fars = [await stack.enter_async_context(peer()) for _ in range(5)]
        offers = [await far.offer() for far, _ in fars]
        before = descriptors()
        nears = [await stack.enter_async_context(peer(hub=hub)) for _ in range(5)]
        for (far, _), (near, _), offer in zip(fars, nears, offers, strict=True):
            await far.answer(await near.accept(offer))
        await until(lambda: all(notes.link for _, notes in nears + fars))
        assert descriptors() == before
        assert hub.peers == 5
        planes = [
            (stack.enter_context(plane(far)), stack.enter_context(plane(near)))
            for (_, far), (_, near) in zip(fars, nears, strict=True)
        ]
        # One at a time: whoever speaks is heard in his own call alone.
        for number, (there, here) in enumerate(planes):
            there.play(tone(0.3), there.generation)
            await until(lambda here=here: loud(here))
            assert [loud(ear) for _, ear in planes] == [i <= number for i in range(len(planes))]
        for _, near in nears:
            assert near.link is not None
            assert near.link.path.pair is not None
            assert near.link.path.pair.udp_port not in numbers
    assert hub.peers == 0
    hub.close()


async def test_a_call_may_end_while_its_packets_are_in_flight() -> None:
    hub = media_hub()
    for _ in range(3):
        async with peer() as (one, far), peer(hub=hub) as (two, near):
            await one.answer(await two.accept(await one.offer()))
            await until(lambda far=far, near=near: far.link and near.link)
            with plane(far) as there, plane(near) as here:
                await until(lambda h=here, t=there: h.stats()["received"] and t.stats()["received"])
                await asyncio.gather(one.close(), two.close())
    assert hub.peers == 0
    hub.close()


async def test_both_sides_have_the_same_keys() -> None:
    async with pair() as ((one, notes), (_, far)):
        assert notes.link is not None
        assert far.link is not None
        assert notes.link.keys.profile == far.link.keys.profile
        assert notes.link.keys.transmit == far.link.keys.receive
        assert notes.link.keys.receive == far.link.keys.transmit
        assert len(notes.link.keys.transmit) in (28, 30, 44)
        assert one.link is notes.link


async def test_the_answering_side_lets_the_caller_open_dtls_and_chooses_the_cipher() -> None:
    async with peer() as (one, _):
        offer = await stock_offer()
        assert "a=setup:passive" in await one.accept(offer)
    async with peer() as (one, _):
        # A client that can't open DTLS itself, such as some muxers.
        assert "a=setup:active" in await one.accept(offer.replace("actpass", "passive"))


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


async def test_public_addresses_are_in_the_offer() -> None:
    async with peer(public_addresses=("203.0.113.7",)) as (one, _):
        sdp = await one.offer()
    hosts = [line.split()[4] for line in sdp.split("\r\n") if line.startswith("a=candidate:")]
    assert hosts[0] == "203.0.113.7"
    assert len(set(hosts)) > 1
    assert "c=IN IP4 203.0.113.7" in sdp


async def test_an_end_of_ice_is_told_as_a_lost_peer() -> None:
    async with pair() as ((_, one_notes), (two, two_notes)):
        assert two_notes.link is not None
        # What aioice does when consent has expired (RFC 7675).
        await lose_consent(two)
        await until(lambda: two_notes.lost)
        assert two_notes.link.path.pair is None
        assert two_notes.link.selected_types() == ("none", "none")
        assert not two_notes.link.path.send(b"\x80")
        del one_notes


async def lose_consent(lost: Peer) -> None:
    connection: Any = lost._path._connection
    await connection.close()


async def test_opus_is_asked_for_with_fec_and_mono_and_g722_is_not_offered() -> None:
    async with peer() as (one, _), peer() as (two, _):
        offer = await one.offer()
        answer = await two.accept(offer)
    for sdp in (offer, answer):
        assert "useinbandfec=1" in sdp
        assert "stereo=0" in sdp
        assert "G722" not in sdp
    assert f"{CHANNEL_LABEL}" not in offer, "labels travel in the channel, not in the text"
    assert "m=application" in offer


async def test_a_closed_far_end_is_told_once_and_nothing_comes_after_close() -> None:
    async with pair() as ((one, one_notes), (two, two_notes)):
        await one.close()
        await until(lambda: two_notes.lost)
        assert one_notes.lost == []
        assert len(two_notes.lost) == 1
        assert one_notes.link is not None
        assert not one_notes.link.path.send(b"\x80")
        assert not one.send_texts(["anyone?"])
        assert two.state in ("closed", "failed")


async def test_long_and_binary_messages_are_not_handed_on() -> None:
    async with pair() as ((one, _), (_, notes)):
        for text in ("x" * 5000, "kept"):
            one.send_texts([text])
        await until(lambda: notes.texts)
        assert notes.texts == ["kept"]


async def test_ports_come_from_the_range_in_turn() -> None:
    ports = iter(range(45_000, 45_100))
    async with peer(port_min=45_000, port_max=45_099, next_port=lambda: next(ports)) as (one, _):
        sdp = await one.offer()
    found = {int(line.split()[5]) for line in sdp.splitlines() if "a=candidate:" in line}
    assert found
    assert all(45_000 <= port < 45_100 for port in found)


async def test_no_free_port_in_the_range_gives_an_offer_without_candidates() -> None:
    async with AsyncExitStack() as stack:
        first, _ = await stack.enter_async_context(
            peer(port_min=45_200, port_max=45_200, next_port=lambda: 45_200)
        )
        await first.offer()
        second, _ = await stack.enter_async_context(
            peer(port_min=45_200, port_max=45_200, next_port=lambda: 45_200)
        )
        assert "a=candidate" not in await second.offer()


# -- what stock clients offer ---------------------------------------------------------


async def stock_offer(*, video: bool = False, codecs: tuple[str, ...] = ()) -> str:
    pc = RTCPeerConnection()
    try:
        transceiver = pc.addTransceiver("audio", direction="sendrecv")
        if codecs:
            known = RTCRtpSender.getCapabilities("audio").codecs
            transceiver.setCodecPreferences([c for c in known if c.mimeType in codecs])
        if video:
            pc.addTransceiver("video", direction="sendrecv")
        pc.createDataChannel("chat")
        await pc.setLocalDescription(await pc.createOffer())
        return str(pc.localDescription.sdp)
    finally:
        await pc.close()


def direction_of(sdp: str, kind: str) -> str:
    section = sdp[sdp.index(f"m={kind}") :].split("\r\nm=")[0]
    return next(
        line[2:]
        for line in section.split("\r\n")
        if line in ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
    )


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


async def test_closing_in_every_stage_leaves_no_socket() -> None:
    async with pair():
        pass  # whatever is loaded once is loaded now
    before = descriptors()
    async with peer():
        pass
    async with peer() as (one, _):
        await one.offer()
    async with peer() as (one, _):
        await one.accept(await stock_offer())
    async with peer() as (one, _):
        with pytest.raises(PeerError):
            await one.accept("v=0\r\nm=audio 9 RTP/AVP 0\r\n")
    async with pair():
        pass
    await until(lambda: descriptors() <= before)
