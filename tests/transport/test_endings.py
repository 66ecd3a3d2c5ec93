"""However a connection ends, reference counts free all of it: the collector finds nothing.

Two peers of ours, joined in memory; time is virtual.
"""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aioice.turn import TurnTransport
from aiortc import RTCDataChannel, RTCIceServer

from fakes.garbage import no_knots, only_new
from fakes.virtual_loop import virtually
from fakes.wire import Wire
from transport.kit import LoudnessScorer, media_hub, over, tone
from transport.networks import turn_server
from transport.restarting import Mover
from voicecore._native.speech_gate import SpeechGate
from voicecore.errors import PeerError
from voicecore.transport import aioice_seam as ice_seam
from voicecore.transport.ice_restart import PATIENCE_S
from voicecore.transport.native_plane import NativePlane
from voicecore.transport.peer import Peer
from voicecore.transport.peer_config import PeerConfig
from voicecore.transport.scored_vad import ScoredHearing

HANDSHAKE = 26
"""More datagrams than two peers exchange until both are connected and have the channel."""


class Heard:
    """What one peer told."""

    def __init__(self) -> None:
        self.linked = asyncio.Event()
        self.opened = asyncio.Event()
        self.lost = asyncio.Event()

    def on_audio_link(self, link: Any) -> None:
        self.linked.set()

    def on_message(self, text: str) -> None: ...

    def on_channel_open(self) -> None:
        self.opened.set()

    def on_peer_lost(self, reason: str) -> None:
        self.lost.set()


class Ends:
    """The near end, which offers and whose ending is looked at, and the far one."""

    def __init__(self, **config: Any) -> None:
        self.wire = Wire()
        self.hubs = [self.wire.hub(host) for host in ("192.0.2.1", "192.0.2.2")]
        self.heard = [Heard(), Heard()]
        self.near = Peer(PeerConfig(self.hubs[0], **config), self.heard[0])
        self.far = Peer(PeerConfig(self.hubs[1]), self.heard[1])
        self.config = PeerConfig(self.hubs[0], **config)
        self.answer = ""
        self.mover: Mover | None = None

    async def answered(self, change: Callable[[str], str] = str) -> None:
        """Offer and take the answer as ``change`` makes it."""
        answer = self.answer = await self.far.accept(await self.near.offer())
        await self.near.answer(change(answer))

    async def connected(self) -> None:
        await self.answered()
        for heard in self.heard:
            await heard.linked.wait()
            await heard.opened.wait()

    async def restart(self, *, moved: bool = True) -> None:
        """The far end restarts ICE; ``moved``: and finds its way."""
        self.mover = self.mover or Mover(self.far, self.answer)
        answer = await self.near.restart(await self.mover.offer(), self.config)
        if moved:
            await self.mover.answered(answer)
            await self.mover.moved()
            await asyncio.sleep(1)

    async def close(self) -> None:
        if self.mover is not None:
            await self.mover.close()
        await self.near.close()
        await self.far.close()
        for hub in self.hubs:
            hub.close()
        self.wire.close()


def loudness(plane: NativePlane) -> ScoredHearing:
    return ScoredHearing(plane, LoudnessScorer(), object(), SpeechGate())


Ending = Callable[[Ends], Awaitable[None]]


async def hung_up(ends: Ends) -> None:
    await ends.connected()
    assert ends.near.send_texts(["bye"])


async def hung_up_by_the_far_end(ends: Ends) -> None:
    await ends.connected()
    await ends.far.close()
    await ends.heard[0].lost.wait()


async def hung_up_by_both(ends: Ends) -> None:
    await ends.connected()
    await asyncio.gather(ends.far.close(), ends.near.close())


async def vanished(ends: Ends) -> None:
    await ends.connected()
    ends.wire.cut()
    # Six checks of five seconds, RFC 7675.
    await ends.heard[0].lost.wait()


async def closed_while_the_vanished_is_looked_for(ends: Ends) -> None:
    await ends.connected()
    ends.wire.cut()
    await asyncio.sleep(11)


async def channel_closed_first(ends: Ends) -> None:
    await ends.connected()
    channels = [thing for thing in gc.get_objects() if isinstance(thing, RTCDataChannel)]
    assert len(channels) == 2
    channels[0].close()
    await asyncio.sleep(1)
    assert not ends.near.send_texts(["too late"])


async def restarted(ends: Ends) -> None:
    await ends.connected()
    await restarted_thrice(ends)


async def restarted_thrice(ends: Ends) -> None:
    for _ in range(3):
        await ends.restart()
        assert ends.near.send_texts(["still here"])


async def restarted_and_hung_up_by_the_far_end(ends: Ends) -> None:
    await restarted(ends)
    await ends.far.close()
    await ends.heard[0].lost.wait()


async def restarted_and_vanished(ends: Ends) -> None:
    await restarted(ends)
    ends.wire.cut()
    await ends.heard[0].lost.wait()


async def closed_while_a_restart_is_under_way(ends: Ends) -> None:
    await ends.connected()
    await ends.restart(moved=False)
    await asyncio.sleep(3)


async def closed_while_a_restart_gathers(ends: Ends) -> None:
    await ends.connected()
    restarting = asyncio.ensure_future(ends.restart(moved=False))
    for _ in range(3):
        await asyncio.sleep(0)
    await ends.near.close()
    assert isinstance((await asyncio.gather(restarting, return_exceptions=True))[0], PeerError)


async def a_restart_failed(ends: Ends) -> None:
    await ends.connected()
    await ends.restart(moved=False)
    await asyncio.sleep(PATIENCE_S + 1)


async def a_restart_was_replaced(ends: Ends) -> None:
    await ends.connected()
    await ends.restart(moved=False)
    await asyncio.sleep(3)
    await ends.restart()


async def a_restart_was_refused(ends: Ends) -> None:
    await ends.connected()
    with pytest.raises(PeerError):
        await ends.near.restart(ends.answer, ends.config)


async def vanished_while_a_restart_was_under_way(ends: Ends) -> None:
    await ends.connected()
    ends.wire.cut()
    await asyncio.sleep(20)
    await ends.restart(moved=False)
    await ends.heard[0].lost.wait()


RESTARTS = [
    restarted,
    restarted_and_hung_up_by_the_far_end,
    restarted_and_vanished,
    closed_while_a_restart_is_under_way,
    closed_while_a_restart_gathers,
    a_restart_failed,
    a_restart_was_replaced,
    a_restart_was_refused,
    vanished_while_a_restart_was_under_way,
]


async def never_begun(ends: Ends) -> None:
    pass


async def offered_only(ends: Ends) -> None:
    await ends.near.offer()


async def offered_for_long(ends: Ends) -> None:
    await ends.near.offer()
    await asyncio.sleep(60)


async def answered_with_nonsense(ends: Ends) -> None:
    await ends.near.offer()
    for sdp in ("nonsense", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"):
        with pytest.raises(PeerError):
            await ends.near.answer(sdp)


async def answered_by_another(ends: Ends) -> None:
    offer = await ends.near.offer()
    answer = await ends.far.accept(offer)
    # A section more than was offered: refused when half of it is taken.
    more = answer[answer.index("m=audio") :].replace("a=mid:", "a=mid:9")
    with pytest.raises(PeerError, match="can't be used"):
        await ends.near.answer(answer + more)


async def refused(ends: Ends) -> None:
    for sdp in ("nonsense", "v=0\r\nm=video 9 RTP/AVP 96\r\n"):
        with pytest.raises(PeerError):
            await ends.near.accept(sdp)


async def never_reached(ends: Ends) -> None:
    ends.wire.cut()
    await ends.answered()
    await asyncio.sleep(30)


async def reached_by_another(ends: Ends) -> None:
    """ICE fails: the checks' passwords don't fit."""
    await ends.answered(lambda sdp: re.sub("ice-pwd:....", "ice-pwd:none", sdp))
    await asyncio.sleep(30)


async def of_another_certificate(ends: Ends) -> None:
    """DTLS fails: it is not who signaled."""

    def forged(sdp: str) -> str:
        return re.sub("(fingerprint:sha-256) ..:..", r"\1 00:00", sdp)

    await ends.answered(forged)
    await ends.heard[0].lost.wait()


@pytest.mark.parametrize(
    "ending",
    [
        hung_up,
        hung_up_by_the_far_end,
        hung_up_by_both,
        vanished,
        closed_while_the_vanished_is_looked_for,
        channel_closed_first,
        never_begun,
        offered_only,
        offered_for_long,
        answered_with_nonsense,
        answered_by_another,
        refused,
        never_reached,
        reached_by_another,
        of_another_certificate,
        *RESTARTS,
    ],
)
def test_nothing_is_left_of_a_call_that_was(ending: Ending) -> None:
    async def main() -> None:
        with no_knots():
            ends = Ends()
            await ending(ends)
            await ends.close()
            left = weakref.ref(ends.near)
            del ends
            await asyncio.sleep(1)
            assert left() is None

    virtually(main())


def test_nothing_is_left_of_a_way_that_was() -> None:
    """While the call goes on, by its fourth way."""

    def held() -> int:
        kinds = (ice_seam.IceConnection, ice_seam.CallProtocol)
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    async def main() -> None:
        with no_knots():
            ends = Ends()
            await ends.connected()
            before = held()
            await restarted_thrice(ends)
            # aiortc's own connection stays, with nothing of it.
            assert held() == before + 2
            await ends.close()
            del ends
            await asyncio.sleep(1)

    virtually(main())


@pytest.mark.parametrize("patience_s", [None, 10, 60])
def test_nothing_is_left_wherever_the_set_up_ends(patience_s: float | None) -> None:
    """Closed at once, or cut off and closed so much later: ICE is lost by a minute's end."""

    async def main() -> None:
        connected = lost = 0
        for count in range(HANDSHAKE):
            with no_knots():
                ends = Ends()
                if patience_s:
                    ends.wire.cut(at=count)
                await ends.answered()
                await ends.wire.reached(count)
                if patience_s:
                    await asyncio.sleep(patience_s)
                connected += ends.heard[0].opened.is_set()
                lost += ends.heard[0].lost.is_set()
                began_s = asyncio.get_running_loop().time()
                await ends.close()
                assert asyncio.get_running_loop().time() - began_s < 1
                del ends
                await asyncio.sleep(1)
        assert 0 < connected < HANDSHAKE
        assert bool(lost) == (patience_s == 60)

    virtually(main())


@pytest.mark.parametrize("ending", [offered_only, hung_up, vanished, restarted, a_restart_failed])
def test_nothing_is_left_of_a_relay(ending: Ending) -> None:

    def held() -> int:
        kinds = (ice_seam.IceConnection, ice_seam.CallProtocol, TurnTransport)
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    async def main() -> None:
        async with turn_server() as (port, server):
            url = f"turn:127.0.0.1:{port}"
            relay = RTCIceServer(urls=url, username="user", credential="secret")
            with only_new():
                ends = Ends(ice_servers=(relay,))
                await ending(ends)
                # The refused first ALLOCATE is a knot of aioice's own, long dead by now.
                gc.collect()
                assert server.relays
                assert held() >= 4
                await ends.close()
                del ends
                await asyncio.sleep(1)
                assert held() == 0

    virtually(main())


@pytest.mark.parametrize("scored", [False, True], ids=["native", "python"])
async def test_nothing_is_left_of_a_plane(scored: bool) -> None:
    """On real media threads, whoever judges voice activity."""
    hubs = media_hub("127.0.0.1"), media_hub("127.0.0.1")
    with no_knots():
        heard = [Heard(), Heard()]
        one, two = (Peer(PeerConfig(hub), each) for hub, each in zip(hubs, heard, strict=True))
        await one.answer(await two.accept(await one.offer()))
        async with asyncio.timeout(10):
            await heard[0].linked.wait()
        assert one.link is not None
        with over(one.link, hubs[0], hearing=loudness if scored else None) as plane:
            assert plane.play(tone(0.1), plane.generation).accepted
        del plane
        await one.close()
        await two.close()
        left = weakref.ref(one)
        del one, two, heard
        assert left() is None
    for hub in hubs:
        hub.close()
