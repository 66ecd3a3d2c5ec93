"""Two peers of ours over real sockets of this machine."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from transport.kit import loud, media_hub, tone, until
from transport.peer_kit import descriptors, pair, peer, plane, refusal, stock_offer
from voicecore.errors import PeerError
from voicecore.transport.peer import CHANNEL_LABEL, Peer


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


async def test_candidates_may_overtake_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with peer() as (one, near), peer() as (two, far):
        answer = await two.accept(await one.offer())
        lines = answer.split("\r\n")
        found = [line.removeprefix("a=") for line in lines if line.startswith("a=candidate:")]
        assert found
        for text in found:
            await one.add_candidate(text, "0", 0)
        with pytest.raises(PeerError, match="parsed"):
            await one.add_candidate("candidate:nonsense", "0", 0)
        await one.answer("\r\n".join(line for line in lines if "candidate" not in line))
        await until(lambda: near.link and far.link)
        codes = [await refusal(one.add_candidate(found[0], "0", 0)) for _ in range(100)]
        assert codes.count("") == 64 - len(found) - 1, "each counts once"
    assert "without remote description" not in caplog.text


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
