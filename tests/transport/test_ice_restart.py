"""Calls that go on by another way: two peers of ours joined in memory, in virtual time."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiortc import RTCIceServer

from fakes.virtual_loop import virtually
from fakes.wire import Wire
from loopback import LOOPBACK
from transport.kit import loud, media_hub, tone, until
from transport.networks import turn_server
from transport.peer_kit import Notes, peer, plane, refusal
from transport.restarting import Mover
from voicecore._native.plane import MediaThreads
from voicecore.errors import CapacityError
from voicecore.transport.hub import MediaHub
from voicecore.transport.ice_restart import PATIENCE_S
from voicecore.transport.media_path import SelectedPair
from voicecore.transport.peer import Peer
from voicecore.transport.peer_config import PeerConfig

SERVER, CALLER, ELSEWHERE = "192.0.2.1", "192.0.2.2", "198.51.100.7"
SEED = 20_261_130


class Pairs:
    """What a path tells its plane: which pair is in use."""

    def __init__(self) -> None:
        self.told: list[SelectedPair | None] = []

    def on_pair(self, pair: SelectedPair | None) -> None:
        self.told.append(pair)

    def on_packet(self, data: bytes) -> None: ...

    def on_media(self, kind: int, *details: Any) -> None: ...

    def hosts(self) -> list[str | None]:
        return [pair.host if pair else None for pair in self.told]


class Talk:
    """A server's peer and a caller's, connected; the caller is first reached at CALLER alone."""

    def __init__(self, *, server_offers: bool, **config: Any) -> None:
        self.wire = Wire()
        self.wire.dead = {ELSEWHERE}
        self.hubs = [self.wire.hub(SERVER), self.wire.hub(CALLER, ELSEWHERE)]
        self.results: list[str] = []
        self.notes, self.caller_notes = Notes(), Notes()
        self.config = PeerConfig(self.hubs[0], on_restart=self.results.append, **config)
        self.server = Peer(self.config, self.notes)
        self.caller = Peer(PeerConfig(self.hubs[1]), self.caller_notes)
        self.server_offers = server_offers
        self.pairs = Pairs()
        self.mover: Mover
        self.their_sdp = self.our_sdp = ""

    async def connect(self) -> None:
        offering, answering = self.server, self.caller
        if not self.server_offers:
            offering, answering = answering, offering
        offer = await offering.offer()
        answer = await answering.accept(offer)
        await offering.answer(answer)
        self.our_sdp, self.their_sdp = offer, answer
        if not self.server_offers:
            self.our_sdp, self.their_sdp = answer, offer
        for notes in (self.notes, self.caller_notes):
            await until(lambda notes=notes: notes.link and notes.opened)  # type: ignore[misc]
        assert self.server.link is not None
        self.server.link.path.attach(self.pairs)
        self.mover = Mover(self.caller, self.their_sdp)

    def move(self) -> None:
        """The caller's network changes."""
        self.wire.dead = {CALLER} if ELSEWHERE in self.wire.dead else {ELSEWHERE}

    async def restart(self) -> str:
        answer = await self.server.restart(await self.mover.offer(), self.config)
        await self.mover.answered(answer)
        return answer

    async def moved(self) -> None:
        """Wait until both ends have settled it."""
        await self.mover.moved()
        threads: Any = self.hubs[0].threads
        await until(lambda: len(threads.names) == 1)

    async def texts_flow(self) -> None:
        """Both ways, over the data channel of the first minute; what was sent before, too."""
        for mouth, notes in ((self.server, self.caller_notes), (self.caller, self.notes)):
            text = f"text {len(notes.texts)}"
            assert mouth.send_texts([text])
            await until(lambda heard=notes.texts, text=text: text in heard, 5)  # type: ignore[misc]

    async def close(self) -> None:
        await self.mover.close()
        await self.server.close()
        await self.caller.close()
        for hub in self.hubs:
            assert hub.peers == 0
            hub.close()
        self.wire.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        assert not running, "no task outlives a call"


@asynccontextmanager
async def talk(*, server_offers: bool = True, **config: Any) -> AsyncIterator[Talk]:
    made = Talk(server_offers=server_offers, **config)
    await made.connect()
    try:
        yield made
    finally:
        await made.close()


both_flows = pytest.mark.parametrize("server_offers", [True, False], ids=["ours", "theirs"])


@both_flows
def test_a_call_goes_on_by_the_new_way(server_offers: bool) -> None:
    async def main() -> None:
        async with talk(server_offers=server_offers) as call:
            link = call.server.link
            call.move()
            assert call.server.send_texts(["said into the void"])
            await call.restart()
            await call.moved()
            await call.texts_flow()
            assert "said into the void" in call.caller_notes.texts
            assert call.pairs.hosts() == [CALLER, ELSEWHERE]
            assert call.results == ["connected"]
            assert call.server.link is link, "the same keys, the same media"
            assert (call.notes.links, call.notes.opened, call.notes.lost) == (1, 1, [])
            await asyncio.sleep(100)
            assert call.server.state == "connected", "consent is kept on the new way"

    virtually(main())


@both_flows
def test_restarts_may_follow_one_another(server_offers: bool) -> None:
    async def main() -> None:
        async with talk(server_offers=server_offers) as call:
            for number in range(4):
                call.move()
                await call.restart()
                await call.moved()
                await call.texts_flow()
                assert len(call.results) == number + 1
            assert call.pairs.hosts() == [CALLER, ELSEWHERE, CALLER, ELSEWHERE, CALLER]
            assert set(call.results) == {"connected"}

    virtually(main())


@both_flows
def test_under_loss(server_offers: bool) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)

    async def main() -> None:
        async with talk(server_offers=server_offers) as call:
            call.wire.lose = lambda data: rng.random() < 0.3
            for _ in range(5):
                call.move()
                await call.restart()
                await call.moved()
            call.wire.lose = lambda data: False
            assert call.results == ["connected"] * 5
            await call.texts_flow()

    virtually(main())


def test_the_old_way_is_used_until_the_new_one_has_a_pair() -> None:
    async def main() -> None:
        async with talk() as call:
            offer = await call.mover.offer()
            answer = await call.server.restart(offer, call.config)
            await asyncio.sleep(10)
            await call.texts_flow()
            assert call.pairs.hosts() == [CALLER], "it gave signs of life: nothing was held"
            await call.mover.answered(answer)
            await call.moved()
            await call.texts_flow()
            assert call.results == ["connected"]

    virtually(main())


def test_a_restart_that_fails_leaves_the_old_way() -> None:
    async def main() -> None:
        async with talk() as call:
            await call.server.restart(await call.mover.offer(), call.config)
            await asyncio.sleep(PATIENCE_S + 1)
            assert call.results == ["failed"]
            await call.texts_flow()
            assert call.pairs.hosts() == [CALLER]
            await call.restart()
            await call.moved()
            assert call.results == ["failed", "connected"]
            await call.texts_flow()

    virtually(main())


def test_nothing_is_said_into_a_dead_way_and_it_comes_back_if_it_lives() -> None:
    async def main() -> None:
        async with talk() as call:
            call.wire.dead = {CALLER, ELSEWHERE}
            await call.server.restart(await call.mover.offer(), call.config)
            await asyncio.sleep(1.5)
            assert call.pairs.hosts() == [CALLER, None]
            assert call.server.link is not None
            assert not call.server.link.path.send(b"\x80")
            call.wire.dead = {ELSEWHERE}
            await asyncio.sleep(2.5)
            assert call.pairs.hosts() == [CALLER, None, CALLER]
            await call.texts_flow()

    virtually(main())


@pytest.mark.parametrize("found", [True, False], ids=["found", "lost"])
def test_consent_that_runs_out_during_a_restart_waits_for_it(found: bool) -> None:
    async def main() -> None:
        async with talk() as call:
            call.wire.dead = {CALLER, ELSEWHERE}
            await asyncio.sleep(20)
            offer = await call.mover.offer()
            answer = await call.server.restart(offer, call.config)
            await asyncio.sleep(20)
            assert call.notes.lost == [], "40 s without consent, but a restart is under way"
            if found:
                call.wire.dead = {CALLER}
                await call.mover.answered(answer)
                await call.moved()
                await call.texts_flow()
                assert call.results == ["connected"]
                await asyncio.sleep(60)
            else:
                await asyncio.sleep(PATIENCE_S)
                assert call.results == ["failed"]
            assert call.notes.lost == ([] if found else ["peer_closed"])

    virtually(main())


def test_without_a_restart_a_call_is_over_after_30_s_without_consent() -> None:
    async def main() -> None:
        async with talk() as call:
            call.move()
            await asyncio.sleep(29)
            assert call.notes.lost == []
            await asyncio.sleep(8)
            assert call.notes.lost == ["peer_closed"]
            offer = await call.mover.offer()
            await call.server.close()
            assert await refusal(call.server.restart(offer, call.config)) == "not_connected 409"

    virtually(main())


def test_the_newest_restart_replaces_one_that_has_no_pair_yet() -> None:
    async def main() -> None:
        async with talk() as call:
            await call.server.restart(await call.mover.offer(), call.config)
            await asyncio.sleep(3)
            call.move()
            await call.restart()
            await call.moved()
            assert call.results == ["replaced", "connected"]
            await call.texts_flow()

    virtually(main())


def test_a_relay_that_does_not_let_go_holds_no_restart_up() -> None:
    async def main() -> None:
        async with turn_server() as (port, server):
            relay = RTCIceServer(f"turn:127.0.0.1:{port}", "user", "secret")
            async with talk(ice_servers=(relay,)) as call:
                assert server.relays
                server.close()
                loop = asyncio.get_running_loop()
                for _ in range(3):
                    call.move()
                    began_s = loop.time()
                    await call.restart()
                    await call.mover.moved()
                    assert loop.time() - began_s < 1
                    await call.texts_flow()
                assert call.results == ["connected"] * 3

    virtually(main())


def test_a_restart_without_the_relay_that_it_needs_is_tried_no_further() -> None:
    """Its offer has no answer, so nothing may come of it."""

    async def main() -> None:
        async with talk() as call:
            nobody = RTCIceServer("turn:127.0.0.1:9", "user", "secret")
            relayed = replace(
                call.config, ice_servers=(nobody,), relay_required=True, relay_only=True
            )
            with pytest.raises(CapacityError, match="none gives a relay") as no:
                await call.server.restart(await call.mover.offer(), relayed)
            assert no.value.code == "turn_timeout"
            threads: Any = call.hubs[0].threads
            assert len(threads.names) == 1
            call.move()
            await call.restart()
            await call.moved()
            await call.texts_flow()
            assert call.results == ["connected"]

    virtually(main())


def test_who_asks_and_goes_leaves_the_call_as_it_was() -> None:
    """After a restart that had found the old way dead, too."""

    async def main() -> None:
        async with talk() as call:
            call.wire.dead = {CALLER, ELSEWHERE}
            await call.server.restart(await call.mover.offer(), call.config)
            await asyncio.sleep(2.5)
            assert call.pairs.hosts() == [CALLER, None]
            call.wire.dead = {ELSEWHERE}
            asking = asyncio.ensure_future(
                call.server.restart(await call.mover.offer(), call.config)
            )
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert call.pairs.hosts() == [CALLER, None, CALLER]
            assert call.results == ["replaced"]
            await call.texts_flow()

    virtually(main())


def test_of_two_restarts_at_once_one_is_refused() -> None:
    async def main() -> None:
        async with talk() as call:
            offers = [await call.mover.offer() for _ in range(2)]
            outcomes = await asyncio.gather(
                *(refusal(call.server.restart(offer, call.config)) for offer in offers)
            )
            assert outcomes == ["", "restart_under_way 409"]
            await call.texts_flow()

    virtually(main())


@both_flows
def test_roles_stay(server_offers: bool) -> None:
    """RFC 8445, section 6.1.1: who controlled does, whoever offers the restart."""

    async def main() -> None:
        async with talk(server_offers=server_offers) as call:
            assert call.server.link is not None
            for _ in range(2):
                call.move()
                await call.restart()
                await call.moved()
                assert call.server.link.path.way.connection.ice_controlling is server_offers
                assert call.mover.path.way.connection.ice_controlling is not server_offers

    virtually(main())


def test_of_a_lite_end_we_are_in_control() -> None:
    async def main() -> None:
        async with talk(server_offers=False) as call:
            offer = (await call.mover.offer()).replace("t=0 0", "t=0 0\r\na=ice-lite")
            await call.server.restart(offer, call.config)
            assert call.server.link is not None
            trial = call.server.link.path.ways_from_newest()[0].connection
            assert (trial.ice_controlling, trial.remote_is_lite) == (True, True)

    virtually(main())


@both_flows
def test_whatever_is_refused_the_call_goes_on(server_offers: bool) -> None:
    """Offers of a restart, damaged line by line."""
    print(f"seed {SEED}")
    rng = random.Random(SEED)

    def damaged(offer: str) -> str:
        lines = offer.split("\r\n")
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(lines))
            match rng.randrange(5):
                case 0:
                    del lines[at]
                case 1:
                    lines.insert(at, rng.choice(lines))
                case 2:
                    lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
                case 3:
                    lines[at] = lines[at].replace(rng.choice("0123456789 :="), rng.choice("7x: "))
                case _:
                    lines[at] += rng.choice((" ", "\t", "\0", "9", "é", "a=setup:active"))
        return "\r\n".join(lines)

    async def main() -> None:
        async with talk(server_offers=server_offers) as call:
            offer = await call.mover.offer()
            codes = set()
            for _ in range(150):
                codes.add(await refusal(call.server.restart(damaged(offer), call.config)))
            await call.texts_flow()
            print(sorted(codes))
            assert codes >= {"", "bad_sdp", "other_certificate", "other_sections"}
            assert all(code.partition("_")[0] in ("", "bad", "no", "other") for code in codes)
            call.move()
            await call.restart()
            await call.moved()
            await call.texts_flow()
            assert call.results[-1] == "connected"

    virtually(main())


@both_flows
def test_candidates_trickle_to_the_way_they_name(server_offers: bool) -> None:
    async def main() -> None:
        async with talk(server_offers=server_offers) as call:
            offer = await call.mover.offer()
            ufrag = re.findall(r"a=ice-ufrag:(\w+)", offer)[0]
            found = re.findall(r"a=candidate:(.*)\r", offer)
            offer = re.sub(r"a=candidate:.*\r\n", "", offer)
            call.move()
            answer = await call.server.restart(offer, call.config)
            add = call.server.add_candidate
            assert call.server.link is not None
            way = call.server.link.path.ways_from_newest()[0]
            await add(found[0] + " ufrag gone", "0", 0)
            assert way.connection.remote_candidates == []
            await add(found[0], "0", 0)
            await add(found[1] + f" ufrag {ufrag}", "0", 0)
            assert len(way.connection.remote_candidates) == 2
            for bad in ("1 1 udp", "a b c d e f typ host"):
                assert await refusal(add(bad, "0", 0)) == "bad_candidate"
            for _ in range(64):
                code = await refusal(add(found[0], "0", 0))
            assert code == "too_many_candidates"
            await call.mover.answered(answer)
            await call.moved()
            await call.texts_flow()

    virtually(main())


@pytest.mark.slow
async def test_audio_goes_on_by_another_address() -> None:
    """On real media threads: the same rings and positions before and after."""
    here, first, then = LOOPBACK, _next(LOOPBACK, 1), _next(LOOPBACK, 2)
    addresses, now = [first], [0.0]
    hubs = [
        media_hub(here),
        MediaHub(MediaThreads(), addresses=lambda: list(addresses), now_s=lambda: now[0]),
    ]
    async with peer(hub=hubs[0]) as (server, near), peer(hub=hubs[1]) as (caller, far):
        described = await caller.accept(await server.offer())
        await server.answer(described)
        await until(lambda: near.link and far.link and near.opened and far.opened)
        with plane(near) as ours, plane(far) as theirs:
            mover, pcm = Mover(caller, described), tone(0.3)
            for number, host in enumerate((first, then)):
                if number:
                    addresses[:], now[0] = [host], now[0] + 60
                    answer = await server.restart(await mover.offer(), PeerConfig(hubs[0]))
                    await mover.answered(answer)
                    await mover.moved()
                await until(lambda host=host: near.link.path.pair.host == host)  # type: ignore[misc]
                for mouth, ear in ((ours, theirs), (theirs, ours)):
                    before, played = ear.ring.position, mouth.played
                    mouth.play(pcm, mouth.generation)
                    await until(lambda ear=ear, at=before: loud(ear, at))  # type: ignore[misc]
                    await until(lambda m=mouth, at=played: m.played >= at + len(pcm))  # type: ignore[misc]
            assert ours.stats()["rejected"] == theirs.stats()["rejected"] == 0
            await mover.close()
    for hub in hubs:
        hub.close()


def _next(host: str, step: int) -> str:
    head, _, last = host.rpartition(".")
    return f"{head}.{(int(last) + step) % 256}"
