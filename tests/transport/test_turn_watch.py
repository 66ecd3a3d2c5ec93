"""Whether TURN servers give relays: when it is looked at, what is told, what is left behind."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fakes.virtual_loop import virtually
from transport.networks import turn_server
from transport.path_kit import seconds, silence
from voicecore.transport.ice_servers import TurnServer
from voicecore.transport.server_notes import ServerFault, ServerNotes, TurnState
from voicecore.transport.turn_watch import TurnWatch


class Even(Random):
    """Draws the middle: pauses are what they are on average."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def at(port: int, password: str = "secret") -> TurnServer:
    return TurnServer("127.0.0.1", port, "udp", False, "user", password)


class Looked:
    """Gives servers, and notes when it was asked for them."""

    def __init__(self, *servers: TurnServer) -> None:
        self.servers = list(servers)
        self.at_s: list[float] = []

    def __call__(self) -> list[TurnServer]:
        self.at_s.append(asyncio.get_running_loop().time())
        return self.servers

    def pauses_s(self) -> list[float]:
        """Between the looks; the first call was for the names alone."""
        looks = self.at_s[1:]
        return [round(b - a, 3) for a, b in pairwise(looks)]


def watch_of(servers: Callable[[], list[TurnServer]], **options: Any) -> TurnWatch:
    now_s = asyncio.get_running_loop().time
    return TurnWatch(servers, ServerNotes(now_s), **({"random": Even()} | options))


def descriptors() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))


def test_all_is_well_once_a_minute_and_nothing_is_kept() -> None:
    async def main() -> None:
        async with turn_server() as (port, server):
            looked = Looked(at(port))
            watch = watch_of(looked)
            assert watch.states() == [TurnState(1, "udp", up=None)]
            assert await watch.fault() is None
            before, tasks = descriptors(), len(asyncio.all_tasks())
            watch.start()
            watch.start()
            assert await watch.fault(4.0) is None
            assert watch.states() == [TurnState(1, "udp", up=True)]
            await asyncio.sleep(200)
            assert looked.pauses_s() == [60, 60, 60]
            assert server.lifetimes == [600, 0] * 4, "each was given back"
            assert len(asyncio.all_tasks()) == tasks + 1
            assert descriptors() == before + len(server.relays), "the fake keeps its own"
            await watch.close()
            await watch.close()
            watch.start()
            assert len(asyncio.all_tasks()) == tasks

    virtually(main())


def test_what_is_wrong_is_looked_at_soon_and_then_ever_more_seldom() -> None:
    async def main() -> None:
        async with turn_server() as (port, _):
            looked = Looked(at(port, "wrong"))
            watch = watch_of(looked)
            watch.start()
            assert await watch.fault(4.0) is ServerFault.REFUSED
            await asyncio.sleep(70)
            assert looked.pauses_s() == [5, 10, 20, 20], "while none works"
            looked.servers = [at(port)]
            await asyncio.sleep(20)
            assert await watch.fault() is None
            looked.servers = [at(port, "wrong")]
            await asyncio.sleep(60)
            assert await watch.fault() is ServerFault.REFUSED
            await watch.close()

    virtually(main())


def test_one_that_is_dead_beside_one_that_works_is_looked_at_less_and_less() -> None:
    async def main() -> None:
        async with turn_server() as (port, _):
            with silence() as dead:
                looked = Looked(dead, at(port))
                watch = watch_of(looked)
                watch.start()
                assert await seconds(watch.fault(9.0)) == 0.0, "one that works is enough to know"
                await asyncio.sleep(200)
                # Each look has 4 s of patience with the dead one.
                assert looked.pauses_s() == [9, 14, 24, 44, 64]
                assert watch.states() == [
                    TurnState(1, "udp", up=False, fault=ServerFault.TIMEOUT),
                    TurnState(2, "udp", up=True),
                ]
                assert await watch.fault() is None
                await watch.close()

    virtually(main())


def test_of_several_that_are_wrong_the_fault_that_says_most_is_told() -> None:
    async def main() -> None:
        async with turn_server() as (port, _):
            with silence() as dead:
                watch = watch_of(Looked(dead, at(port, "wrong")))
                watch.start()
                assert await seconds(watch.fault(9.0)) == 4.0, "the other may work"
                assert await watch.fault() is ServerFault.REFUSED
                await watch.close()

    virtually(main())


def test_credentials_are_new_for_each_look_and_an_end_that_is_past_is_told() -> None:
    async def main() -> None:
        async with turn_server() as (port, server):
            now_s = 1_700_000_000.0
            user = f"{now_s - 1:.0f}:someone"
            ended = TurnServer("127.0.0.1", port, "udp", False, user, "secret")
            looked = Looked(ended)
            watch = watch_of(looked, wall_s=lambda: now_s)
            watch.start()
            assert await watch.fault(4.0) is ServerFault.EXPIRED
            looked.servers = [at(port)]
            await asyncio.sleep(6)
            assert await watch.fault() is None
            assert server.lifetimes == [600, 0]
            await watch.close()

    virtually(main())


def test_a_call_that_found_none_has_it_looked_at_soon() -> None:
    async def main() -> None:
        async with turn_server() as (port, _):
            looked = Looked(at(port))
            watch = watch_of(looked)
            watch.start()
            await asyncio.sleep(30)
            watch.doubt()
            await asyncio.sleep(1)
            assert looked.pauses_s() == [30]
            for _ in range(40):
                watch.doubt()
                await asyncio.sleep(0.5)
            assert looked.pauses_s() == [30, 5, 5, 5, 5], "every call's doubt is not too often"
            await watch.close()

    virtually(main())


def test_pauses_are_spread() -> None:
    seed = 5
    print("seed", seed)

    async def main() -> None:
        async with turn_server() as (port, _):
            looked = Looked(at(port))
            watch = watch_of(looked, random=Random(seed))
            watch.start()
            await asyncio.sleep(3600)
            pauses_s = looked.pauses_s()
            assert min(pauses_s) >= 48
            assert max(pauses_s) <= 72
            assert max(pauses_s) - min(pauses_s) > 15
            await watch.close()

    virtually(main())


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with turn_server() as (port, _):
            looked = Looked(at(port))
            watch = watch_of(looked)
            watch.start()
            await asyncio.sleep(70)
            assert caplog.messages == [], "nothing to tell of what works from the start"
            looked.servers = [at(port, "wrong")]
            await asyncio.sleep(200)
            looked.servers = [at(port)]
            await asyncio.sleep(100)
            await watch.close()
            wrong, right = caplog.messages
            assert wrong.startswith(f"turn:127.0.0.1:{port}?transport=udp: it refuses our user")
            assert right.endswith("works again")

    with caplog.at_level(logging.INFO, "voicecore"):
        virtually(main())


def test_who_does_not_take_its_relay_back_holds_nothing_up() -> None:
    async def main() -> None:
        async with turn_server() as (port, server):
            server.answers_refreshes = False
            looked = Looked(at(port))
            before, tasks = descriptors(), len(asyncio.all_tasks())
            watch = watch_of(looked)
            watch.start()
            assert await seconds(watch.fault(9.0)) == 0.0
            await asyncio.sleep(10)
            assert descriptors() == before + len(server.relays)
            assert len(asyncio.all_tasks()) == tasks + 1
            await asyncio.sleep(60)
            assert looked.pauses_s() == [61]
            await watch.close()

    virtually(main())


@pytest.mark.parametrize("taken", [False, True])
def test_closed_in_the_middle_it_leaves_no_socket_and_no_task(taken: bool) -> None:
    async def main() -> None:
        async with turn_server() as (port, server):
            with silence() as dead:
                server.answers_refreshes = False
                before, tasks = descriptors(), len(asyncio.all_tasks())
                watch = watch_of(Looked(at(port) if taken else dead))
                watch.start()
                await asyncio.sleep(0.7)
                assert descriptors() > before + len(server.relays), "it is at it"
                await watch.close()
                await asyncio.sleep(0.01)
                assert descriptors() == before + len(server.relays)
                assert len(asyncio.all_tasks()) == tasks

    virtually(main())


async def test_without_servers_nothing_is_looked_at() -> None:
    tasks = len(asyncio.all_tasks())
    watch = watch_of(list)
    watch.start()
    assert len(asyncio.all_tasks()) == tasks
    assert watch.states() == []
    assert await watch.fault(9.0) is None
    await watch.close()
